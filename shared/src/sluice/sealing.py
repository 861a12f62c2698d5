"""Sealing of rows at rest: AES-256-GCM (NIST SP 800-38D), a key a level, the row's place as associated data."""

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sluice.access import Level
from sluice.errors import AccessDeniedError, ConfigurationError, SealBrokenError

_NONCE_BYTES = 12
_KEY_BYTES = 32


class Keyring:
    """The keys that this process was given; a level whose key is missing can be neither sealed nor opened."""

    def __init__(self, keys: Mapping[Level, bytes]) -> None:
        self._ciphers = {level: AESGCM(key) for level, key in keys.items()}

    @classmethod
    def from_files(cls, files: Mapping[Level, Path]) -> "Keyring":
        """Raises ConfigurationError for a file that is missing or is not 32 bytes."""
        return cls({level: read_key(path) for level, path in files.items()})

    @property
    def levels(self) -> frozenset[Level]:
        return frozenset(self._ciphers)

    def seal(self, plaintext: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        """Nonce (12 bytes), ciphertext and tag (16 bytes). The row opens only at the same tenant, level and id."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(level).encrypt(nonce, plaintext, _place(tenant, level, row_id))

    def open(self, sealed: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        """Raises SealBrokenError when the row was moved or changed, or was sealed with another key."""
        try:
            return self._cipher(level).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(tenant, level, row_id)
            )
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError(f"a sealed {level} row does not open: changed, moved, or another key") from error

    def _cipher(self, level: Level) -> AESGCM:
        if level not in self._ciphers:
            raise AccessDeniedError(f"this process holds no {level} key")
        return self._ciphers[level]


def read_key(path: Path) -> bytes:
    """A raw 32-byte key. Raises ConfigurationError for a file that is missing or has another length."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the key file {path} cannot be read ({error.strerror}); `sluice up` makes it"
        ) from error
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"the key file {path} has {len(key)} bytes, not {_KEY_BYTES}")
    return key


def _place(tenant: str, level: Level, row_id: str) -> bytes:
    return "\0".join((tenant, level, row_id)).encode()
