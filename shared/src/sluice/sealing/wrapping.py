"""Key-encryption keys: they wrap data keys and seal nothing else. Here they are files; a KMS would stand beside."""

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sluice.access import Level
from sluice.errors import ConfigurationError, DataKeyUnavailableError

_NONCE_BYTES = 12
_KEY_BYTES = 32
_LEAST_DIFFERENT = 10


class KeyWrapper(Protocol):
    """One key-encryption key, wherever it lies. `place` is associated data: what was wrapped opens there alone."""

    @property
    def key_id(self) -> str:
        """Names the key, and tells nothing of it."""
        ...

    def wrap(self, key: bytes, place: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        """Raises DataKeyUnavailableError."""
        ...


class KeyFile:
    """A key-encryption key in memory, from a file of 32 bytes: AES-256-GCM."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.key_id = hmac.new(key, b"sluice key id", hashlib.sha256).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ConfigurationError for a file that is missing or is not 32 bytes."""
        return cls(read_key(path))

    def wrap(self, key: bytes, place: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, place)

    def unwrap(self, wrapped: bytes, place: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            raise DataKeyUnavailableError("a wrapped data key does not open: changed or moved") from error


def read_wrappers(key_files: Mapping[Level, Sequence[Path]]) -> dict[Level, Sequence[KeyWrapper]]:
    """Raises ConfigurationError for a file that is missing or is not 32 bytes."""
    return {level: [KeyFile.read(path) for path in paths] for level, paths in key_files.items()}


def read_key(path: Path) -> bytes:
    """A raw 32-byte key. Raises ConfigurationError: the file is missing, has another length, or could be guessed."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} cannot be read ({error.strerror}); `sluice up` makes it"
        ) from error
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"the key file {path} has {len(key)} bytes, not {_KEY_BYTES}")
    if len(set(key)) < _LEAST_DIFFERENT:
        raise ConfigurationError(f"the key file {path} could be guessed: it needs {_KEY_BYTES} random bytes")
    return key
