"""Vectors turned by a secret orthogonal matrix a tenant and level: all distances stay the same.

This is obfuscation, not encryption: it keeps the vectors of two tenants or levels from being compared, and those of a
known model from being read as they are. Whoever has enough vectors together with their texts can compute the matrix.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.sealing import Keyring

Matrix = NDArray[np.float32]
_NAME = "vectors"
_CACHED_BYTES = 256 * 1024 * 1024  # 430 matrices of 384 dimensions, 27 of 1,536


class Turning:
    """The matrix is made from a secret that lies wrapped beside the data keys, and is never rotated: another one means
    another place for every vector, so the index has to be rebuilt then."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._matrices: OrderedDict[tuple[str, Level, int], Matrix] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, scope: Scope, level: Level) -> None:
        """Makes the secret where there is none yet."""
        self._keyring.secret(_NAME, tenant=scope.tenant, level=scope.at(level), make=True)

    async def turn(self, scope: Scope, level: Level, vectors: Sequence[Vector], *, make: bool) -> list[Vector]:
        """The vectors as they are stored; `make` the secret where there is none yet.

        Raises:
            AccessDeniedError: the level lies above the scope, or this process was not given its key.
            DataKeyUnavailableError: there is no secret, and none is to be made.
        """
        if not vectors:
            return []
        given = np.asarray(vectors, dtype=np.float32)
        place = (scope.tenant, scope.at(level), given.shape[1])
        matrix = self._cached(place)
        if matrix is None:
            secret = self._keyring.secret(_NAME, tenant=scope.tenant, level=level, make=make)
            matrix = await asyncio.to_thread(self._made, place, secret)
        return (given @ matrix).tolist()

    def _cached(self, place: tuple[str, Level, int]) -> Matrix | None:
        with self._lock:
            if place in self._matrices:
                self._matrices.move_to_end(place)
            return self._matrices.get(place)

    def _made(self, place: tuple[str, Level, int], secret: bytes) -> Matrix:
        matrix = orthogonal(secret, place[2])
        with self._lock:
            self._matrices[place] = matrix
            while sum(each.nbytes for each in self._matrices.values()) > max(_CACHED_BYTES, matrix.nbytes):
                self._matrices.popitem(last=False)
        return matrix


def orthogonal(secret: bytes, dimensions: int) -> Matrix:
    """The same matrix for the same secret, on every machine, to within rounding; over all secrets Haar-distributed.

    QR of a Gaussian matrix; without R's diagonal made positive it would not be uniform (Mezzadri, 2007).
    """
    q, r = np.linalg.qr(_gaussian(secret, dimensions))
    return (q * np.sign(np.diagonal(r))).astype(np.float32)


def _gaussian(secret: bytes, dimensions: int) -> NDArray[np.float64]:
    """From a stream cipher and not from numpy's generators, whose numbers may change between versions."""
    pairs = (dimensions * dimensions + 1) // 2
    key = HKDF(SHA256(), 32, salt=None, info=b"sluice vectors %d" % dimensions).derive(secret)
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(16 * pairs))
    uniform = (np.frombuffer(stream, dtype="<u8") >> np.uint64(11)) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return normal[: dimensions * dimensions].reshape(dimensions, dimensions)
