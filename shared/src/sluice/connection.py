"""The connection to Redis or Valkey."""

import asyncio
from typing import Any

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.connection import HiredisRespSerializer

_AGAIN_SECONDS = 1.0
RedisClient = Any
"""redis.asyncio.Redis, whose own annotations are partly unknown to a strict checker."""


class _Packing:
    """Packs commands in C, as the client without asyncio does: it takes a quarter of the time."""

    _serializer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        return self._serializer.pack(*args)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportArgumentType]


def connect(url: SecretStr) -> RedisClient:
    """A client with bytes in and out; calls beyond the pool's 64 connections wait for up to 10 s."""
    pool: Any = BlockingConnectionPool.from_url(url.get_secret_value(), max_connections=64, timeout=10)  # pyright: ignore[reportUnknownMemberType]
    kind: type[Any] = pool.connection_class
    pool.connection_class = type(kind.__name__, (_Packing, kind), {})
    return Redis.from_pool(pool)


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancels them again and again: redis-py swallows a cancellation that meets it while it connects."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_SECONDS)
