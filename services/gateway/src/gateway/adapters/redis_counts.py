"""What is counted in Redis for all gateways together."""

import asyncio

from gateway.adapters.streams import translated
from sluice.broker import Broker

_WAIT_SECONDS = 0.5


class RedisCounts:
    def __init__(self, broker: Broker) -> None:
        self._redis = broker.redis

    async def add(self, name: str, seconds: int) -> int:
        key = f"limit:{name}"
        with translated():
            async with asyncio.timeout(_WAIT_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, seconds)
                counted, _ = await pipeline.execute()
        return int(counted)
