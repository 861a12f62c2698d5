"""Whether Redis has memory for more work, and how much of a kind stands on the queue."""

from redis.exceptions import OutOfMemoryError, RedisError

from sluice.access import Level
from sluice.connection import RedisClient
from sluice.errors import BrokerUnavailableError
from sluice.messages import Message
from sluice.workstream import Keys

_PROBE = "sluice:probe"
_FULL = 0.95
"""The rest is for what was accepted: its progress, its answers and its acknowledgements take memory too."""


class Room:
    """Looks at Redis without changing it."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def admit(self) -> None:
        """Raises BrokerUnavailableError when Redis is out of memory, or nearly. One that is away is no matter here."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.setrange(_PROBE, 0, "")  # writes nothing, and is refused when a write would be
        pipeline.info("memory")
        try:
            probe, memory = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError):
            return
        if isinstance(probe, OutOfMemoryError) or _nearly_full(memory):
            raise BrokerUnavailableError("the message broker is out of memory; nothing was accepted, try again later")

    async def standing(self, kind: type[Message], lane: Level) -> int:
        """How many messages of the kind wait, are being handled, or are to be tried again. Raises redis.RedisError."""
        keys = Keys(kind.stream_of(lane))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xlen(keys.stream)
        pipeline.zcard(keys.delayed)
        return sum(await pipeline.execute())


def _nearly_full(memory: object) -> bool:
    match memory:
        case {"used_memory": int(used), "maxmemory": int(most)} if most > 0:
            return used > most * _FULL
        case _:
            return False
