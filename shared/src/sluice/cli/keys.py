"""The keys of a system on one machine: made once, never overwritten."""

import base64
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sluice.passportkeys import PUBLIC_KEYS

KEEP_A_COPY = (
    "Keep a copy of these keys, away from the data: without a level key nothing of its level ever opens again, and with"
    " it whoever has the data can read it."
)


def create_keys(folder: Path) -> list[str]:
    """Make the keys that are missing, readable by their owner alone; the names of those made.

    `passport.key` (raw Ed25519 private key) with `passport.pub` derived from it, `level-internal.key` and
    `level-external.key` (32 random bytes), `operator.token` (url-safe text), `page-cookie.key` (base64 of 32 bytes).
    """
    made = [
        create(folder / "passport.key", Ed25519PrivateKey.generate().private_bytes_raw()),
        create(folder / "level-internal.key", secrets.token_bytes(32)),
        create(folder / "level-external.key", secrets.token_bytes(32)),
        create(folder / "operator.token", secrets.token_urlsafe(32).encode()),
        create(folder / "page-cookie.key", base64.b64encode(secrets.token_bytes(32))),
    ]
    private = Ed25519PrivateKey.from_private_bytes((folder / "passport.key").read_bytes())
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if public not in [file.read_bytes() for file in folder.glob(PUBLIC_KEYS)]:
        made.append(create(folder / "passport.pub", public))
    return [name for name in made if name]


def create(path: Path, content: bytes) -> str | None:
    """The name, if the file was not there. It appears whole or not at all, also when the power fails."""
    if path.exists():
        return None
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return None
    finally:
        draft.unlink()
    return path.name
