"""Argon2id (RFC 9106), off the event loop and a few at a time: each takes 64 MiB."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError


class Argon2Passwords:
    def __init__(self, hasher: PasswordHasher, *, at_once: int = 2) -> None:
        self._hasher = hasher
        self._decoy = hasher.hash(secrets.token_urlsafe())
        self._slots = asyncio.Semaphore(at_once)

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        async with self._slots:
            matches = await asyncio.to_thread(self._verify, password, password_hash or self._decoy)
        return matches and bool(password_hash)

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
