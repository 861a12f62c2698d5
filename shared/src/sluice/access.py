"""Who may see what: levels, rights, the signed passport, and the scope made from it."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache, total_ordering
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sluice.errors import AccessDeniedError, InvalidPassportError


@total_ordering
class Level(StrEnum):
    """A document's access level, a person's clearance and a worker's lane; INTERNAL is above EXTERNAL."""

    EXTERNAL = "EXTERNAL"
    INTERNAL = "INTERNAL"

    def __lt__(self, other: str) -> bool:
        return self is Level.EXTERNAL and other == Level.INTERNAL

    @property
    def readable(self) -> tuple["Level", ...]:
        """The levels that this clearance may read."""
        return (Level.EXTERNAL, Level.INTERNAL) if self is Level.INTERNAL else (Level.EXTERNAL,)


class Right(StrEnum):
    """What a person was granted; never derived from their address."""

    READ = "read"
    UPLOAD = "upload"
    TEACH = "teach"
    LOGS = "logs"
    ADMIN = "admin"
    OPERATOR = "operator"


_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")


def normalise_email(address: str) -> str:
    """The address in lower case: ASCII, exactly one `@`, an unquoted local part of at most 64, a dotted domain.

    Raises:
        ValueError: for every other shape.
    """
    local, at, domain = address.partition("@")
    domain = domain.lower()
    if not at or len(local) > 64 or not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise ValueError("not an e-mail address that Sluice takes: name@domain.tld, ASCII, exactly one @")
    return f"{local.lower()}@{domain}"


def clearance_of(address: str, internal_domains: Collection[str], *, verified: bool) -> Level:
    """INTERNAL for a verified address at exactly one of the internal domains, else EXTERNAL."""
    try:
        domain = normalise_email(address).partition("@")[2]
    except ValueError:
        return Level.EXTERNAL
    return Level.INTERNAL if verified is True and domain in internal_domains else Level.EXTERNAL


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in its canonical form."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Scope:
    """What one verified passport may touch: a tenant, and the levels up to its clearance.

    The index and the blob store take nothing else, and nothing but a passport makes one.
    """

    __slots__ = ("clearance", "tenant")

    def __init__(self, passport: "Passport") -> None:
        self.tenant = passport.tenant
        self.clearance = passport.clearance

    @property
    def levels(self) -> tuple[Level, ...]:
        return self.clearance.readable

    def at(self, level: Level) -> Level:
        """The level itself, if it lies within the scope.

        Raises:
            AccessDeniedError: if it does not.
        """
        if level not in self.levels:
            raise AccessDeniedError(f"{level} lies above the clearance {self.clearance}")
        return level


@dataclass(frozen=True, kw_only=True)
class Passport:
    """Who asks, made by the gateway for one request or job.

    `asked` is the digest of what was asked, `streams` the stream families that it may travel.
    """

    tenant: str
    subject: str
    clearance: Level
    rights: frozenset[Right]
    job: str
    asked: str
    streams: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime

    @property
    def scope(self) -> Scope:
        return Scope(self)

    def to_json(self) -> bytes:
        claims = {
            "tenant": self.tenant,
            "subject": self.subject,
            "clearance": self.clearance,
            "rights": sorted(self.rights),
            "job": self.job,
            "asked": self.asked,
            "streams": self.streams,
            "iat": int(self.issued_at.timestamp()),
            "exp": int(self.expires_at.timestamp()),
        }
        return json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        claims = json.loads(data)
        return cls(
            tenant=claims["tenant"],
            subject=claims["subject"],
            clearance=Level(claims["clearance"]),
            rights=frozenset(Right(right) for right in claims["rights"]),
            job=claims["job"],
            asked=claims["asked"],
            streams=tuple(claims["streams"]),
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )


_REMEMBERED = 1024  # passports whose signature was verified


class PassportExpiredError(InvalidPassportError):
    """Everything about the passport was right, but its time is over."""

    type = "passport-expired"

    def __init__(self, passport: Passport) -> None:
        super().__init__("the time for this request is over")
        self.passport = passport


class PassportSigner:
    """Signs passports (Ed25519, RFC 8032). Only the gateway holds one."""

    def __init__(self, private_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)

    @property
    def verifier(self) -> "PassportVerifier":
        """Of its own signatures."""
        return PassportVerifier(self._key.public_key().public_bytes_raw())

    def sign(self, passport: Passport) -> str:
        """`claims.signature`, both base64url."""
        claims = passport.to_json()
        return f"{_encode(claims)}.{_encode(self._key.sign(claims))}"


class PassportVerifier:
    """Verifies passports with the public key alone; the signature of each once, all else each time."""

    def __init__(self, public_key: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public_key)
        self._signed = lru_cache(_REMEMBERED)(self._read)

    def verify(self, token: str, *, stream: str, job: str, asked: str) -> Passport:
        """The passport, if it was signed for this job, this content and this stream family, and has not expired.

        Raises:
            PassportExpiredError: it has expired, and all else holds.
            InvalidPassportError: otherwise.
        """
        passport = self._signed(token)
        if passport.job != job:
            raise InvalidPassportError("the passport was made for another request")
        if passport.asked != asked:
            raise InvalidPassportError("what was asked is not what the passport was made for")
        if stream not in passport.streams:
            raise InvalidPassportError(f"the passport may not travel {stream}")
        if passport.expires_at <= datetime.now(UTC):
            raise PassportExpiredError(passport)
        return passport

    def _read(self, token: str) -> Passport:
        """What was signed. An exception is not remembered: who floods with forgeries pushes nothing out."""
        try:
            claims, signature = (_decode(part) for part in token.split("."))
            self._key.verify(signature, claims)
            return Passport.from_json(claims)
        except (ValueError, KeyError, TypeError, InvalidSignature) as error:
            raise InvalidPassportError("the passport was not signed by this system") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
