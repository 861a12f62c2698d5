"""The connection to Redis or Valkey."""

from typing import Any

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis

RedisClient = Any
"""redis.asyncio.Redis, whose own annotations are partly unknown to a strict checker."""


def connect(url: SecretStr) -> RedisClient:
    """A client with bytes in and out; calls beyond the pool's 64 connections wait for up to 10 s."""
    pool: Any = BlockingConnectionPool.from_url(url.get_secret_value(), max_connections=64, timeout=10)  # pyright: ignore[reportUnknownMemberType]
    return Redis.from_pool(pool)
