"""What an operator may see of a dead letter: who and what it was about, never what anybody wrote."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, ValidationError

from sluice.access import Passport, PassportExpiredError, PassportVerifier
from sluice.deadletters import DeadLetter
from sluice.errors import InvalidPassportError
from sluice.messages import MESSAGES, UNSIGNED, DocumentOffered, IndexPart, Message, Unsigned

KINDS: dict[str, type[Message] | type[Unsigned]] = {
    **{stream: kind for kind in MESSAGES for stream in kind.streams()},
    **{kind.stream: kind for kind in UNSIGNED},
}


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Whom the passport names. It was signed by us, or nobody is named."""

    tenant: str
    subject: str
    clearance: str
    expires_at: datetime
    expired: bool


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What the message says of itself; of a message without a valid passport, anybody may have written it."""

    request_id: str | None = None
    tenant: str | None = None
    created_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = None
    traceparent: str | None = None
    document_id: str | None = None
    generation: int | None = None
    fix_id: str | None = None
    access_level: str | None = None
    state: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A letter, read. `fault`: why its passport is not good, or why it cannot be read at all."""

    letter: DeadLetter
    kind: type[Message] | type[Unsigned]
    message: Message | Unsigned | None = None
    envelope: Envelope | None = None
    holder: Holder | None = None
    fault: str | None = None


def read(letter: DeadLetter, verifier: PassportVerifier) -> Findings:
    kind = KINDS[letter.stream]
    if letter.body is None:
        return Findings(letter=letter, kind=kind)
    try:
        message = kind.model_validate_json(letter.body)
    except ValidationError:
        return Findings(letter=letter, kind=kind, fault=f"it is not a valid {kind.stream}")
    envelope = _envelope(message)
    if not isinstance(message, Message):
        return Findings(letter=letter, kind=kind, message=message, envelope=envelope)
    holder, fault = _holder(message, verifier)
    return Findings(letter=letter, kind=kind, message=message, envelope=envelope, holder=holder, fault=fault)


def _holder(message: Message, verifier: PassportVerifier) -> tuple[Holder | None, str | None]:
    try:
        passport = verifier.verify(
            message.passport, stream=type(message).stream, job=message.request_id, asked=message.asked
        )
    except PassportExpiredError as error:
        return _named(error.passport, expired=True), None
    except InvalidPassportError as error:
        return None, error.detail
    if passport.tenant != message.tenant:
        return None, "the message names another tenant than its passport"
    return _named(passport, expired=False), None


def _named(passport: Passport, *, expired: bool) -> Holder:
    return Holder(
        tenant=passport.tenant,
        subject=passport.subject,
        clearance=passport.clearance,
        expires_at=passport.expires_at,
        expired=expired,
    )


def _envelope(message: Message | Unsigned) -> Envelope:
    """Names and numbers alone: a field that is not listed here is not shown."""
    fields: dict[str, Any] = {
        name: getattr(message, name, None)
        for name in ("request_id", "tenant", "created_at", "deadline", "traceparent", "state")
    }
    if document := getattr(message, "document", None):
        fields |= {name: getattr(document, name) for name in ("document_id", "generation", "access_level")}
    if fix := getattr(message, "fix", None):
        fields |= {"fix_id": fix.fix_id, "access_level": fix.access_level}
    if isinstance(part := getattr(message, "part", None), IndexPart):
        fields |= {"access_level": part.access_level}
    if isinstance(message, DocumentOffered):
        fields |= {"key_id": message.grant.key_id}
    return Envelope(**{name: _short(value) for name, value in fields.items()})


def _short(value: Any) -> Any:
    """A name that is longer than any of ours is no name."""
    return None if isinstance(value, str) and len(value) > 64 else value
