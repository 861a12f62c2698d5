"""Sealing of rows at rest: AES-256-GCM (NIST SP 800-38D), the row's place as associated data."""

import os
import struct
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from prometheus_client import Counter

from sluice.access import Level
from sluice.errors import DataKeyUnavailableError, SealBrokenError
from sluice.sealing.datakeys import DataKeys
from sluice.sealing.wrapping import KeyWrapper, read_wrappers

_NONCE_BYTES = 12
_VERSION = 1
_HEADER = struct.Struct(">BI")  # version, number of the data key
_SEALS_TOTAL = Counter("sluice_seals_total", "What was sealed with the data keys of a level.", ["level"])
_AWAY_TOTAL = Counter("sluice_data_keys_away_total", "Times that a data key could not be had.", ["level"])
_SEALS, _AWAY = ({level: counter.labels(level) for level in Level} for counter in (_SEALS_TOTAL, _AWAY_TOTAL))


class Keyring:
    """Seals and opens rows of the levels whose key-encryption keys this process was given, and of no other.

    Data keys lie in `folder`, which every process that seals or opens shares. Where they are away, nothing is sealed or
    opened: that raises DataKeyUnavailableError, and is no fault of the row.
    """

    def __init__(self, wrappers: Mapping[Level, Sequence[KeyWrapper]], folder: Path) -> None:
        self._keys = DataKeys(wrappers, folder)
        self._ciphers: dict[tuple[str, Level, int], AESGCM] = {}

    @classmethod
    def from_files(cls, key_files: Mapping[Level, Sequence[Path]], folder: Path) -> Self:
        """Raises ConfigurationError for a file that is missing or is not 32 bytes."""
        return cls(read_wrappers(key_files), folder)

    @property
    def levels(self) -> frozenset[Level]:
        return self._keys.levels

    def begin(self, tenant: str) -> None:
        """Makes the first data keys of a tenant that is made now; for one that was there nobody does."""
        self._keys.begin(tenant)

    def seal(self, plaintext: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        """Version (1 byte), the data key's number (4), nonce (12), ciphertext and tag (16).

        The row opens only at the same tenant, level and id, with the same key.
        """
        with _counted(level):
            number = self._keys.newest(tenant, level)
            cipher = self._cipher(tenant, level, number)
        header, nonce = _HEADER.pack(_VERSION, number), os.urandom(_NONCE_BYTES)
        _SEALS[level].inc()
        return header + nonce + cipher.encrypt(nonce, plaintext, _place(header, tenant, level, row_id))

    def open(self, sealed: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        """Raises SealBrokenError when the row was moved or changed."""
        header, nonce = sealed[: _HEADER.size], sealed[_HEADER.size :][:_NONCE_BYTES]
        with _counted(level):
            cipher = self._cipher(tenant, level, _number(header))
        try:
            ciphertext = sealed[_HEADER.size + _NONCE_BYTES :]
            return cipher.decrypt(nonce, ciphertext, _place(header, tenant, level, row_id))
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError(f"a sealed {level} row does not open: changed or moved") from error

    def secret(self, name: str, *, tenant: str, level: Level, make: bool) -> bytes:
        """32 bytes of the tenant and level for another use than sealing; never rotated.

        Raises DataKeyUnavailableError where there is none and none is to be made.
        """
        with _counted(level):
            return self._keys.key(tenant, level, name, make=make)

    def _cipher(self, tenant: str, level: Level, number: int) -> AESGCM:
        place = (tenant, level, number)
        if place not in self._ciphers:
            self._ciphers[place] = AESGCM(self._keys.key(tenant, level, str(number)))
        return self._ciphers[place]


@contextmanager
def _counted(level: Level) -> Generator[None]:
    try:
        yield
    except DataKeyUnavailableError:
        _AWAY[level].inc()
        raise


def _number(header: bytes) -> int:
    if len(header) < _HEADER.size or header[0] != _VERSION:
        raise SealBrokenError("this is no row that was sealed here")
    return _HEADER.unpack(header)[1]


def _place(header: bytes, tenant: str, level: Level, row_id: str) -> bytes:
    return header + "\0".join((tenant, level, row_id)).encode()
