"""Passports as the gateway makes them."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluice.access import Level, Passport, PassportSigner, PassportVerifier, Right
from sluice.messages import MESSAGES, Message, digest_of

M = TypeVar("M", bound=Message)
ALL_RIGHTS = frozenset(Right) - {Right.OPERATOR}


def passport(*, tenant: str = "tenant-a", clearance: Level = Level.EXTERNAL, **changes: Any) -> Passport:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "tenant": tenant,
        "subject": "person-1",
        "clearance": clearance,
        "rights": ALL_RIGHTS,
        "job": "job-1",
        "asked": "",
        "streams": tuple(kind.stream for kind in MESSAGES),
        "issued_at": now,
        "expires_at": now + timedelta(minutes=10),
    }
    return Passport(**{**values, **changes})


class Office:
    """Signs passports with a key of its own."""

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        self.private_key = key.private_bytes_raw()
        self.public_key = key.public_key().public_bytes_raw()
        self.signer = PassportSigner(self.private_key)
        self.verifier = PassportVerifier(self.public_key)

    def message(
        self,
        kind: type[M],
        *,
        tenant: str = "tenant-a",
        clearance: Level = Level.EXTERNAL,
        seconds: float = 60,
        **fields: Any,
    ) -> M:
        """A message of a request of its own, with a passport signed for it; `passport_*` changes the passport."""
        changes = {k.removeprefix("passport_"): fields.pop(k) for k in list(fields) if k.startswith("passport_")}
        request_id = fields.pop("request_id", uuid4().hex)
        bound = {name: fields[name] for name in kind.bound}
        claims = {"job": request_id, "asked": digest_of(kind, **bound), **changes}
        return kind(
            request_id=request_id,
            tenant=tenant,
            passport=self.signer.sign(passport(tenant=tenant, clearance=clearance, **claims)),
            deadline=datetime.now(UTC) + timedelta(seconds=seconds),
            **fields,
        )
