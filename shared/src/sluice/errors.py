"""Errors sorted by what a consumer does with them: bury the message, or try again."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, ClassVar


class SluiceError(Exception):
    """Base of every error that Sluice raises on purpose.

    `str(error)` is shown to people: it says what is wrong and what to do, and never repeats a secret.
    """

    type: ClassVar[str] = "internal-error"
    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str, *, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []

    def problem(self, request_id: str) -> dict[str, Any]:
        """The error as problem+json (RFC 9457)."""
        return {
            "type": f"urn:sluice:problem:{self.type}",
            "title": self.type.replace("-", " ").capitalize(),
            "status": int(self.status),
            "detail": self.detail,
            "errors": self.errors,
            "request_id": request_id,
        }


class PermanentError(SluiceError):
    """Trying again cannot help: the message goes to the dead letters."""

    type = "cannot-be-done"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TransientError(SluiceError):
    """Trying again may help: the message is retried with backoff, at the earliest after `retry_after`."""

    type = "temporarily-unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class BrokerUnavailableError(TransientError):
    """Redis is away, or out of memory: no fault of the message, which is tried again until its deadline."""


class RemoteUnavailableError(TransientError):
    """A server that somebody named in a request is away: worth a few tries, but not worth waiting for all day."""


class DataKeyUnavailableError(TransientError):
    """The data key of a tenant and level cannot be had now: its file is away, damaged, or wrapped for somebody else."""

    type = "data-key-unavailable"


class InvalidMessageError(PermanentError):
    type = "invalid-message"


class InvalidPassportError(PermanentError):
    """The passport is missing, or not good for its message; each way has a type of its own."""

    type = "invalid-passport"
    status = HTTPStatus.FORBIDDEN


class PassportMissingError(InvalidPassportError):
    type = "passport-missing"


class PassportMalformedError(InvalidPassportError):
    type = "passport-malformed"


class PassportKeyUnknownError(InvalidPassportError):
    type = "passport-key-unknown"


class PassportForgedError(InvalidPassportError):
    """The signature is not that of the key which the passport names."""

    type = "passport-forged"


class PassportJobError(InvalidPassportError):
    type = "passport-of-another-request"


class PassportContentError(InvalidPassportError):
    type = "passport-of-another-content"


class PassportStreamError(InvalidPassportError):
    type = "passport-of-another-stream"


class PassportLaneError(InvalidPassportError):
    type = "passport-of-another-lane"


class PassportTenantError(InvalidPassportError):
    type = "passport-of-another-tenant"


class AccessDeniedError(PermanentError):
    type = "access-denied"
    status = HTTPStatus.FORBIDDEN


class DeadlineExceededError(PermanentError):
    type = "deadline-exceeded"
    status = HTTPStatus.GATEWAY_TIMEOUT


class TooManyAttemptsError(PermanentError):
    type = "too-many-attempts"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class SealBrokenError(PermanentError):
    """A sealed row does not open under a data key that is there: another place, or changed bytes."""

    type = "seal-broken"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class UnreadableDocumentError(PermanentError):
    """A document cannot be read; the detail says why and what to do."""

    type = "unreadable-document"


class ConfigurationError(SluiceError):
    """The service must not start like this; the detail says which setting to change."""

    type = "configuration-error"
