"""What can be wrong with a request, as problem+json has it."""

from http import HTTPStatus

from sluice.errors import PermanentError, TransientError


class NotFoundError(PermanentError):
    """It is not there, or it is not the caller's: both look the same."""

    type = "not-found"
    status = HTTPStatus.NOT_FOUND


class WithheldError(PermanentError):
    """It is the caller's, and above the clearance that they have now."""

    type = "withheld"
    status = HTTPStatus.FORBIDDEN


class ConflictError(PermanentError):
    type = "conflict"
    status = HTTPStatus.CONFLICT


class NotSetUpError(PermanentError):
    """The operator's settings leave it out."""

    type = "not-set-up"
    status = HTTPStatus.CONFLICT


class SelftestFailedError(PermanentError):
    """It came to no report."""

    type = "selftest-failed"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class KeyReusedError(PermanentError):
    """An idempotency key stands for one request only."""

    type = "idempotency-key-reused"
    status = HTTPStatus.CONFLICT


class OfferRefusedError(PermanentError):
    """Nothing comes of a producer's offer; they can read why."""

    type = "offer-refused"


class StaleOfferError(OfferRefusedError):
    """The grant's time is not that of the offer: it may be a replay."""

    type = "stale-offer"


class UnprovedOfferError(PermanentError):
    """Nobody knows who made the offer: nothing is told to anybody."""

    type = "unproved-offer"
    status = HTTPStatus.FORBIDDEN


class NotSignedInError(PermanentError):
    type = "not-signed-in"
    status = HTTPStatus.UNAUTHORIZED


class LoginRefusedError(PermanentError):
    type = "login-refused"
    status = HTTPStatus.UNAUTHORIZED


class TenantNeededError(PermanentError):
    """They may sign in to several tenants, and did not say which one is meant."""

    type = "tenant-needed"
    status = HTTPStatus.CONFLICT


class PasswordChangeRequiredError(PermanentError):
    type = "password-change-required"
    status = HTTPStatus.FORBIDDEN


class TooManyAttemptsError(PermanentError):
    type = "too-many-attempts"
    status = HTTPStatus.TOO_MANY_REQUESTS


class InvalidInputError(PermanentError):
    """A field is wrong; the message never repeats its value."""

    type = "invalid-input"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(
            "the request has a field that is not as it must be", errors=[{"field": field, "message": message}]
        )


class BacklogFullError(TransientError):
    """Nothing was accepted: what was before is to be worked off first."""

    type = "backlog-full"
    status = HTTPStatus.TOO_MANY_REQUESTS


class RateLimitedError(TransientError):
    """Somebody, or their tenant, asked too often within a window of time."""

    type = "rate-limited"
    status = HTTPStatus.TOO_MANY_REQUESTS


class StorageFullError(PermanentError):
    """The tenant's documents weigh as much as they may."""

    type = "storage-full"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BeingMovedError(TransientError):
    """Nothing was accepted: the document is on its way to another level first."""

    type = "being-moved"
    status = HTTPStatus.LOCKED


class TooLargeError(PermanentError):
    type = "content-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
