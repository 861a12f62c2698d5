"""What an operator may see of a dead letter: who and what it was about, never what anybody wrote."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, ValidationError

from sluice.access import Passport
from sluice.deadletters import DeadLetter
from sluice.errors import PermanentError, SluiceError
from sluice.messages import MESSAGES, UNSIGNED, DocumentOffered, IndexPart, Message, Unsigned
from sluice.messages import Envelope as Plain
from sluice.wire import Wire

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
    """A letter, read and opened. `fault`: why its passport is not good, or why it cannot be read at all."""

    letter: DeadLetter
    kind: type[Message] | type[Unsigned]
    message: Message | Unsigned | None = None
    envelope: Envelope | None = None
    holder: Holder | None = None
    fault: str | None = None


def read(letter: DeadLetter, wire: Wire) -> Findings:
    kind = KINDS[letter.stream]
    if letter.body is None:
        return Findings(letter=letter, kind=kind)
    return (
        _signed(letter, kind, letter.body, wire) if issubclass(kind, Message) else _unsigned(letter, kind, letter.body)
    )


def _unsigned(letter: DeadLetter, kind: type[Unsigned], body: bytes) -> Findings:
    try:
        message = kind.model_validate_json(body)
    except ValidationError:
        return Findings(letter=letter, kind=kind, fault=f"it is not a valid {kind.stream}")
    return Findings(letter=letter, kind=kind, message=message, envelope=_envelope(message))


def _signed(letter: DeadLetter, kind: type[Message], body: bytes, wire: Wire) -> Findings:
    """What does not open shows its envelope alone, which anybody may have written."""
    try:
        received = wire.read(kind, body)
    except PermanentError:
        return Findings(letter=letter, kind=kind, fault=f"it is not a valid {kind.stream}")
    try:
        opened = wire.open(kind, letter.stream, received)
    except SluiceError as error:
        return Findings(letter=letter, kind=kind, envelope=_envelope(received.envelope), fault=error.detail)
    holder = _named(opened.passport, expired=opened.expired is not None)
    return Findings(letter=letter, kind=kind, message=opened.message, envelope=_envelope(opened.message), holder=holder)


def _named(passport: Passport, *, expired: bool) -> Holder:
    return Holder(
        tenant=passport.tenant,
        subject=passport.subject,
        clearance=passport.clearance,
        expires_at=passport.expires_at,
        expired=expired,
    )


def _envelope(message: Plain | Unsigned) -> Envelope:
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
