"""Messages as they stand on Redis: the envelope as plain JSON, and all else sealed in one field beside it.

What is sealed opens for the tenant and the clearance of the envelope's passport, on the stream that it was written for,
and beside exactly this envelope. So Redis alone neither shows what was written nor makes a message that anybody takes:
one that was changed, moved to another stream, or given another id does not open.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from sluice.access import Passport, PassportExpiredError, PassportVerifier, digest
from sluice.errors import (
    AccessDeniedError,
    DataKeyUnavailableError,
    InvalidMessageError,
    PassportLaneError,
    PassportMissingError,
    PassportTenantError,
    PermanentError,
    SealBrokenError,
)
from sluice.messages import Envelope, Message
from sluice.sealing import Keyring

M = TypeVar("M", bound=Message)
_SEALED = "sealed"
_ENVELOPE = frozenset(Envelope.model_fields)


class SealedMessageError(PermanentError):
    """What is sealed in a message does not open: it was not written for this place, or not by this system."""

    type = "message-does-not-open"

    def __init__(self) -> None:
        super().__init__("the message does not open: it was changed, moved, or not sealed by this system")


@dataclass(frozen=True)
class Received:
    """A message whose passport nobody has looked at; `written` is all that stands beside what is sealed."""

    envelope: Envelope
    written: Mapping[str, Any]
    sealed: str | None


@dataclass(frozen=True)
class Opened(Generic[M]):
    """A message that its passport allows; `expired` where all but the time is right."""

    message: M
    passport: Passport
    expired: PassportExpiredError | None = None


class Wire:
    """Writes and reads messages with the keys that this process was given."""

    def __init__(self, keyring: Keyring, verifier: PassportVerifier) -> None:
        self._keyring = keyring
        self._verifier = verifier

    def write(self, message: Message, stream: str, passport: Passport) -> str:
        """The message for this stream. Raises AccessDeniedError without the key of the passport's level."""
        if not message.quotes:
            return message.model_dump_json()
        envelope = message.model_dump(mode="json", include=set(_ENVELOPE))
        content = message.model_dump_json(exclude=set(_ENVELOPE)).encode()
        sealed = self._keyring.seal(
            content, tenant=passport.tenant, level=passport.clearance, row_id=_row_id(stream, envelope)
        )
        return json.dumps({**envelope, _SEALED: base64.b64encode(sealed).decode()})

    def read(self, kind: type[Message], body: bytes) -> Received:
        """The envelope; nothing of it is proved yet. Raises InvalidMessageError, PassportMissingError."""
        try:
            written = dict(from_json(body))
            return Received(Envelope.model_validate(written), written, written.pop(_SEALED, None))
        except ValidationError as error:
            if [e["loc"] for e in error.errors()] == [("passport",)]:
                raise PassportMissingError("this has no passport") from None
            raise invalid(kind.stream, error) from None
        except (ValueError, TypeError):
            raise InvalidMessageError(f"not a valid {kind.stream}: (body)") from None

    def open(self, kind: type[M], stream: str, received: Received) -> Opened[M]:
        """The message, after its passport was verified, and then what it says compared with what was asked.

        Raises:
            InvalidPassportError: the passport is not good for this message.
            SealedMessageError: it does not open.
            DataKeyUnavailableError: it cannot be told now whether it opens, and its passport's time is not over.
            InvalidMessageError: what was sealed is no such message.
        """
        envelope = received.envelope
        passport = self._verifier.addressed(envelope.passport, stream=kind.stream, job=envelope.request_id)
        if envelope.tenant != passport.tenant:
            raise PassportTenantError("the message names another tenant than its passport")
        if stream not in (kind.stream, kind.stream_of(passport.clearance)):
            raise PassportLaneError(f"the passport is for the {passport.clearance} lane")
        try:
            message = self._message(kind, stream, received, passport)
        except DataKeyUnavailableError:
            if passport.expires_at <= datetime.now(UTC):  # a forger may name a key that never was: no wait without end
                raise PassportExpiredError(passport) from None
            raise
        try:
            self._verifier.verify(message.passport, stream=kind.stream, job=message.request_id, asked=message.asked)
        except PassportExpiredError as expired:
            return Opened(message, passport, expired)
        return Opened(message, passport)

    def _message(self, kind: type[M], stream: str, received: Received, passport: Passport) -> M:
        inside = self._inside(stream, received, passport) if kind.quotes else {}
        try:
            return kind.model_validate({**received.written, **inside})
        except ValidationError as error:
            raise invalid(kind.stream, error) from None

    def _inside(self, stream: str, received: Received, passport: Passport) -> dict[str, Any]:
        try:
            sealed = base64.b64decode(received.sealed or "", validate=True)
            content = self._keyring.open(
                sealed,
                tenant=passport.tenant,
                level=passport.clearance,
                row_id=_row_id(stream, received.written),
            )
        except (ValueError, TypeError, SealBrokenError, AccessDeniedError):
            raise SealedMessageError from None
        return from_json(content)


def _row_id(stream: str, envelope: Mapping[str, Any]) -> str:
    """Of the stream with its lane, and of every field that stands in plain text, also such as are not known yet."""
    return f"{stream}/{digest(dict(envelope))}"


def invalid(stream: str, error: ValidationError) -> InvalidMessageError:
    """Names the fields that are wrong, and not what they say."""
    fields = sorted({".".join(map(str, e["loc"])) or "(body)" for e in error.errors()})
    return InvalidMessageError(f"not a valid {stream}: {', '.join(fields)}")
