"""The keys of passports in files, looked at again while the process runs: rotating them restarts nobody."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sluice.access import key_id
from sluice.errors import ConfigurationError
from sluice.sealing import read_key

logger = logging.getLogger(__name__)
PUBLIC_KEYS = "passport*.pub"
LOOK_SECONDS = 1.0
"""How old the knowledge of the files may be."""
_Seen = tuple[tuple[Path, int, int], ...]


class PublicKeyFiles:
    """The public keys by their id: of all `passport*.pub` in a folder, or of one file.

    A key whose file is gone is forgotten. A folder without any is a mishap and changes nothing, for what is refused
    ends in the dead letters.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError when there is no key, or one that cannot be read."""
        self._path = path
        self._seen = self._look()
        self._looked_at = time.monotonic()
        self._keys = _read([file for file, *_ in self._seen])
        if not self._keys:
            raise ConfigurationError(f"there is no {PUBLIC_KEYS} in {path}; `sluice up` makes it")

    def __call__(self, kid: str) -> Ed25519PublicKey | None:
        """Looks at the files at most once a second."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._refresh()
        return self._keys.get(kid)

    def _refresh(self) -> None:
        try:
            seen = self._look()
            if seen == self._seen:
                return
            keys = _read([file for file, *_ in seen])
        except (
            OSError,
            ConfigurationError,
        ) as error:  # half a file: until the next look
            logger.warning("passport.keys-unread", exc_info=error)
            return
        if not keys:
            logger.error("passport.keys-gone", extra={"path": str(self._path)})
            return
        logger.info("passport.keys-changed", extra={"key_ids": sorted(keys)})
        self._seen, self._keys = seen, keys

    def _look(self) -> _Seen:
        files = sorted(self._path.glob(PUBLIC_KEYS)) if self._path.is_dir() else [self._path]
        return tuple((file, *_stamp(file)) for file in files if file.exists())


class PrivateKeyFile:
    """The key that the gateway signs with now."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError when it cannot be read."""
        self._path = path
        self._key = Ed25519PrivateKey.from_private_bytes(read_key(path))
        self._seen = _stamp(path)
        self._looked_at = time.monotonic()

    def __call__(self) -> Ed25519PrivateKey:
        """Looks at the file at most once a second."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._refresh()
        return self._key

    def _refresh(self) -> None:
        try:
            if (seen := _stamp(self._path)) != self._seen:
                self._key, self._seen = Ed25519PrivateKey.from_private_bytes(read_key(self._path)), seen
                logger.info("passport.signs-with", extra={"key_id": key_id(self._key.public_key().public_bytes_raw())})
        except (OSError, ConfigurationError) as error:
            logger.warning("passport.key-unread", exc_info=error)


def _read(files: Sequence[Path]) -> dict[str, Ed25519PublicKey]:
    contents = [read_key(file) for file in files]
    return {key_id(content): Ed25519PublicKey.from_public_bytes(content) for content in contents}


def _stamp(file: Path) -> tuple[int, int]:
    """Another one for another content."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns
