"""Who may see what: levels, rights, the signed passport, and the scope made from it."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache, total_ordering
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sluice.errors import (
    AccessDeniedError,
    InvalidPassportError,
    PassportContentError,
    PassportForgedError,
    PassportJobError,
    PassportKeyUnknownError,
    PassportMalformedError,
    PassportMissingError,
    PassportStreamError,
)


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
    DECLASSIFY = "declassify"


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

    __slots__ = ("clearance", "levels", "tenant")

    def __init__(self, passport: "Passport") -> None:
        self.tenant = passport.tenant
        self.clearance = passport.clearance
        self.levels = (passport.clearance,) if passport.single_level else passport.clearance.readable

    def at(self, level: Level) -> Level:
        """The level itself, if it lies within the scope.

        Raises:
            AccessDeniedError: if it does not.
        """
        if level not in self.levels:
            raise AccessDeniedError(f"{level} lies outside what this may touch: {', '.join(self.levels)}")
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
    single_level: bool = False
    """Whether it is good for its clearance's own level alone, as for the system's work on one collection."""

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
            **({"single_level": True} if self.single_level else {}),
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
            single_level=claims.get("single_level", False) is True,
        )


_REMEMBERED = 1024  # passports whose signature was verified


class PassportExpiredError(InvalidPassportError):
    """Everything about the passport was right, but its time is over."""

    type = "passport-expired"

    def __init__(self, passport: Passport) -> None:
        super().__init__("the time for this request is over")
        self.passport = passport


def key_id(public_key: bytes) -> str:
    """The name of a key that signs passports, made from its public half."""
    return hashlib.sha256(public_key).hexdigest()[:16]


class PassportSigner:
    """Signs passports (Ed25519, RFC 8032). Only the gateway holds one."""

    def __init__(self, private_key: bytes) -> None:
        key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._key: Callable[[], Ed25519PrivateKey] = lambda: key

    @classmethod
    def of(cls, key: Callable[[], Ed25519PrivateKey]) -> Self:
        """By a key that may be another one at any time."""
        signer = cls.__new__(cls)
        signer._key = key
        return signer

    def sign(self, passport: Passport) -> str:
        """`key id.claims.signature`, the last two base64url.

        The id says which of its own keys a verifier takes. There is one algorithm, and nothing in a token names it.
        """
        key, claims = self._key(), passport.to_json()
        return f"{key_id(key.public_key().public_bytes_raw())}.{_encode(claims)}.{_encode(key.sign(claims))}"

    def attest(self, statement: bytes) -> str:
        """`key id.signature` of what is no passport: a statement begins with its domain, claims with a brace."""
        key = self._key()
        return f"{key_id(key.public_key().public_bytes_raw())}.{_encode(key.sign(statement))}"


FindKey = Callable[[str], Ed25519PublicKey | None]


class PassportVerifier:
    """Verifies passports with public keys alone; the signature of each once, all else each time."""

    def __init__(self, *public_keys: bytes) -> None:
        keys = {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in public_keys}
        self._find: FindKey = keys.get
        self._signed = lru_cache(_REMEMBERED)(self._read)

    @classmethod
    def of(cls, find: FindKey) -> Self:
        """By keys that come and go; what one that is gone has signed is no longer good."""
        verifier = cls()
        verifier._find = find
        return verifier

    def knows(self, kid: str) -> bool:
        """Whether what this key signed is good now."""
        return self._find(kid) is not None

    def verify(self, token: str, *, stream: str, job: str, asked: str) -> Passport:
        """The passport, if it was signed for this job, this content and this stream family, and has not expired.

        Raises:
            PassportExpiredError: it has expired, and all else holds.
            InvalidPassportError: otherwise; its subclass tells what is wrong.
        """
        passport = self.addressed(token, stream=stream, job=job)
        if passport.asked != asked:
            raise PassportContentError("what was asked is not what the passport was made for")
        if passport.expires_at <= datetime.now(UTC):
            raise PassportExpiredError(passport)
        return passport

    def addressed(self, token: str, *, stream: str, job: str) -> Passport:
        """The passport of a message that was not opened yet: neither its time nor what was asked is looked at.

        Raises:
            InvalidPassportError: it was not signed by this system, or not for this job and stream family.
        """
        self._check_key(token)
        passport = self._signed(token)
        if passport.job != job:
            raise PassportJobError("the passport was made for another request")
        if stream not in passport.streams:
            raise PassportStreamError(f"the passport may not travel {stream}")
        return passport

    def attested(self, statement: bytes, signature: str) -> bool:
        """Whether this system signed the statement, with a key that it has not given up."""
        kid, _, signed = signature.partition(".")
        if (key := self._find(kid)) is None:
            return False
        try:
            key.verify(_decode(signed), statement)
        except (ValueError, InvalidSignature):
            return False
        return True

    def _check_key(self, token: str) -> Ed25519PublicKey:
        """Each time, for a key may have been withdrawn since the signature was verified."""
        if not token:
            raise PassportMissingError("this has no passport")
        kid, *rest = token.split(".")
        if len(rest) != 2:
            raise PassportMalformedError("this is no passport")
        if (key := self._find(kid)) is None:
            raise PassportKeyUnknownError("the passport was not signed by this system, or with a key it has given up")
        return key

    def _read(self, token: str) -> Passport:
        """What was signed. An exception is not remembered: who floods with forgeries pushes nothing out."""
        key = self._check_key(token)
        try:
            _, claims, signature = token.split(".")
            signed = _decode(claims)
            key.verify(_decode(signature), signed)
            return Passport.from_json(signed)
        except InvalidSignature as error:
            raise PassportForgedError("the passport was not signed by this system") from error
        except (ValueError, KeyError, TypeError) as error:
            raise PassportMalformedError("this is no passport") from error


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
