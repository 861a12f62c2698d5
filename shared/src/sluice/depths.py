"""How much stands on each stream, and who reads it: seen from outside, so also while all of its workers are down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sluice.connection import RedisClient
from sluice.workstream import Keys

_DEPTH = """
local length, group = redis.call('XLEN', KEYS[1]), redis.pcall('XPENDING', KEYS[1], ARGV[1])
local pending = group.err and 0 or group[1]
local now, age = redis.call('TIME'), 0
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if oldest then
  local since = oldest[1]:match('^%d+')
  for i = 1, #oldest[2], 2 do
    local value = oldest[2][i + 1]
    if oldest[2][i] == 'queued' and #value <= 13 and value:match('^%d+$') then since = value end
  end
  age = math.min(math.max(now[1] * 1000 + math.floor(now[2] / 1000) - since, 0), now[1] * 1000)
end
return {length - pending, pending, redis.call('ZCARD', KEYS[2]), redis.call('XLEN', KEYS[3]), age,
  redis.call('ZCOUNT', KEYS[4], now[1], '+inf')}
"""
"""What is done is deleted: what stands on the stream and is not pending has not been delivered, all of it while there
is no group."""
_PRESENT = """
local now = redis.call('TIME')[1]
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 1)
"""


@dataclass(frozen=True)
class Depth:
    """`lag` has not been delivered, `pending` is with a worker; `age` is that of the first entry in line."""

    lag: int
    pending: int
    delayed: int
    dead: int
    age: timedelta
    consumers: int


class Depths:
    """Looks at all the streams in one round trip, and at one entry of each."""

    def __init__(self, redis: RedisClient, groups: Mapping[str, str]) -> None:
        self._redis = redis
        self._groups = groups
        self._script = redis.register_script(_DEPTH)

    async def __call__(self) -> dict[str, Depth]:
        """By stream; one that nobody has used yet is empty. Raises redis.RedisError when the broker is away."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream, group in self._groups.items():
            keys = Keys(stream)
            names = [keys.stream, keys.delayed, keys.dead, keys.consumers]
            await self._script(keys=names, args=[group], client=pipeline)
        return {
            stream: Depth(lag, pending, delayed, dead, timedelta(milliseconds=age), consumers)
            for stream, (lag, pending, delayed, dead, age, consumers) in zip(
                self._groups, await pipeline.execute(), strict=True
            )
        }


class Presence:
    """Says that a consumer reads its streams; what says nothing for too long is not there any more."""

    def __init__(self, redis: RedisClient, consumer: str, streams: Iterable[str]) -> None:
        self._redis = redis
        self._consumer = consumer
        self._streams = tuple(streams)
        self._script = redis.register_script(_PRESENT)

    async def tell(self, lifetime: timedelta) -> None:
        """Raises redis.RedisError."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in self._streams:
            await self._script(
                keys=[Keys(stream).consumers], args=[self._consumer, int(lifetime.total_seconds())], client=pipeline
            )
        await pipeline.execute()

    async def end(self) -> None:
        """Raises redis.RedisError."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in self._streams:
            pipeline.zrem(Keys(stream).consumers, self._consumer)
        await pipeline.execute()
