"""Asking for the same thing twice under one key: the first one's job, turn or fix."""

from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import KeyReusedError
from gateway.ports import IdempotencyKeys
from gateway.records import Claim, Principal


@dataclass(frozen=True, kw_only=True)
class Idempotency:
    keys: IdempotencyKeys

    async def claim(self, principal: Principal, key: str, body_sha256: str) -> Claim:
        """The key as the first who used it did.

        Raises:
            KeyReusedError: it was used for another body.
        """
        known = await self.keys.claim(principal.id, key, principal.tenant.id, body_sha256, datetime.now(UTC))
        if known.body_sha256 != body_sha256:
            raise KeyReusedError("this Idempotency-Key was used for another request: take a new one for each")
        return known

    async def settle(self, claim: Claim) -> None:
        """Notes that all was made: what is deleted later is not made again by a late repetition."""
        if not claim.settled:
            await self.keys.settle(claim.owner, claim.key, claim.id())
