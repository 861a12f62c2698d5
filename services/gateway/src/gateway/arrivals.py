"""What is kept of people on their way in."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """A sign-in that was begun at an issuer, good once, for the browser that holds what `binding_sha256` is of.

    `tenant_id`: the one that is meant, if it was told. `link_sha256`: the one-time link that it was begun from.
    """

    issuer: str
    tenant_id: str | None
    link_sha256: str | None
    nonce: str
    code_verifier: str
    binding_sha256: str
    expires_at: datetime

    @property
    def over(self) -> bool:
        return self.expires_at <= datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Asserted:
    """Whom an issuer says that somebody is. `issuer` is its address; `email` is empty when it told none."""

    issuer: str
    subject: str
    email: str
    email_verified: bool


class Purpose(StrEnum):
    INVITATION = "invitation"
    RESET = "reset"
    SIGN_UP = "sign-up"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A one-time link, of which the hash of its token is kept. `person_id` is None for who is yet to be made."""

    token_sha256: str
    purpose: Purpose
    tenant_id: str
    person_id: str | None
    email: str
    expires_at: datetime

    @property
    def over(self) -> bool:
        return self.expires_at <= datetime.now(UTC)
