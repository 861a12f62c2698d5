"""A bulk producer: an API key, what is offered with it, and what became of that."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2
import redis.asyncio

from sluice.messages import DocumentOffered
from sluice.offers import sign
from sluice.workstream import Keys
from tests.support.gateway import RunningGateway
from tests.support.waiting import until

KEYS = "/api/v1/keys"
OFFERS = "/api/v1/knowledge/offers"
STREAM = DocumentOffered.stream


@dataclass
class Producer:
    key: str
    http: httpx2.AsyncClient
    redis: Any

    async def offer(self, body: dict[str, Any] | str, *, nonce: str | None = None, at: datetime | None = None) -> str:
        """Puts one offer on the stream; the nonce, which is its idempotency key unless it has one."""
        text = body if isinstance(body, str) else json.dumps(body)
        offered = sign(self.key, text, nonce=nonce, at=at)
        await self.send(offered)
        return offered.grant.nonce

    async def send(self, offered: DocumentOffered) -> None:
        await self.redis.xadd(STREAM, {"__data__": offered.model_dump_json()})

    async def fate(self, name: str, *states: str) -> dict[str, Any]:
        """What became of it, once it has one of the states."""

        async def reached() -> Any:
            answer = await self.http.get(f"{OFFERS}/{name}")
            return answer.json() if answer.status_code == 200 and answer.json()["state"] in states else None

        return await until(reached, seconds=20, what=f"{name} is {' or '.join(states)}")

    async def letter(self) -> dict[bytes, bytes]:
        """The only dead letter of the stream, once there is one."""

        async def died() -> Any:
            return await self.redis.xrange(Keys(STREAM).dead)

        [(_, fields)] = await until(died, seconds=20, what="a dead offer")
        return fields

    async def settled(self) -> bool:
        """Nothing is on the stream or waits to come back."""
        return not await self.redis.xlen(STREAM) and not await self.redis.zcard(Keys(STREAM).delayed)


async def make_key(admin: httpx2.AsyncClient, *rights: str, clearance: str = "INTERNAL", **more: Any) -> dict[str, Any]:
    body = {"name": "crawler", "rights": list(rights or ("read", "upload")), "clearance": clearance, **more}
    answer = await admin.post(KEYS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@asynccontextmanager
async def producing(gateway: RunningGateway, *rights: str, **more: Any) -> AsyncGenerator[Producer]:
    """A producer of the first admin's tenant."""
    async with await gateway.admin() as admin:
        key = (await make_key(admin, *rights, **more))["key"]
    client = redis.asyncio.Redis.from_url(gateway.settings.redis_url.get_secret_value())
    async with gateway.client(key) as http:
        yield Producer(key, http, client)
    await client.aclose()
