"""Passports as the gateway makes them."""

import os
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluice.access import Level, Passport, PassportSigner, PassportVerifier, Right
from sluice.errors import InvalidPassportError
from sluice.messages import MESSAGES, Message, digest_of
from sluice.sealing import Keyring
from sluice.wire import Wire
from tests.support.keys import EveryTenant

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


def shared_keyring(folder: Path) -> Keyring:
    """By an office's folder of keys."""
    return EveryTenant.from_files({level: (folder / f"{level.lower()}.key",) for level in Level}, folder / "data")


class Office:
    """Signs passports with a key of its own, and has the keys that messages are sealed with."""

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        self.private_key = key.private_bytes_raw()
        self.public_key = key.public_key().public_bytes_raw()
        self.signer = PassportSigner(self.private_key)
        self.verifier = PassportVerifier(self.public_key)

    @cached_property
    def keys_folder(self) -> Path:
        """For `shared_keyring`, also in other processes."""
        self._folder = TemporaryDirectory()
        for level in Level:
            (Path(self._folder.name) / f"{level.lower()}.key").write_bytes(os.urandom(32))
        return Path(self._folder.name)

    @cached_property
    def keyring(self) -> Keyring:
        """Of a system whose services all have every key."""
        return shared_keyring(self.keys_folder)

    @property
    def wire(self) -> Wire:
        return Wire(self.keyring, self.verifier)

    def body(self, message: Message, stream: str | None = None) -> str:
        """The message as it stands on its stream; of a bad passport's, as an EXTERNAL one's would."""
        try:
            sealed_for = self.verifier.addressed(message.passport, stream=message.stream, job=message.request_id)
        except InvalidPassportError:
            sealed_for = passport(tenant=message.tenant)
        return self.wire.write(message, stream or message.stream_of(sealed_for.clearance), sealed_for)

    def opened(self, kind: type[M], stream: str, body: bytes) -> M:
        """What `body` made of it."""
        return self.wire.open(kind, stream, self.wire.read(kind, body)).message

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
