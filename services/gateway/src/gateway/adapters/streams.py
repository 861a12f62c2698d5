"""The broker as the use cases see it: what goes wrong with Redis is a TransientError."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta

from redis.exceptions import RedisError

from sluice.access import Level
from sluice.broker import Broker
from sluice.deadletters import DeadLetter, DeadLetters
from sluice.depths import Depth, Depths
from sluice.errors import SluiceError, TransientError
from sluice.messages import Message
from sluice.places import Place
from sluice.replies import Event, ReplyLog
from sluice.topology import GROUPS
from sluice.workstream import Keys

_LOOK_SECONDS = 0.05


class BrokerPublisher:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, message: Message) -> bool:
        with translated():
            return await self._broker.publish(message)


class BrokerGate:
    def __init__(self, broker: Broker) -> None:
        self._room = broker.room

    async def admit(self) -> None:
        await self._room.admit()

    async def standing(self, kind: type[Message], lane: Level) -> int:
        with translated():
            return await self._room.standing(kind, lane)


class BrokerDepths:
    """Of all the streams that there are."""

    def __init__(self, broker: Broker) -> None:
        self._depths = Depths(broker.redis, GROUPS)

    async def __call__(self) -> dict[str, Depth]:
        with translated():
            return await self._depths()


class BrokerReplies:
    def __init__(self, replies: ReplyLog) -> None:
        self._replies = replies

    async def finish(self, tenant: str, lane: Level, request_id: str, event: Event) -> bool:
        with translated():
            return await self._replies.finish(tenant, lane, request_id, event)

    async def fail(self, tenant: str, lane: Level, request_id: str, error: SluiceError) -> bool:
        with translated():
            return await self._replies.fail(tenant, lane, request_id, error)

    async def finished(self, lane: Level, request_id: str) -> bool:
        with translated():
            return await self._replies.finished(lane, request_id)

    async def listened(self, lane: Level, request_id: str) -> bool:
        with translated():
            return await self._replies.listened(lane, request_id)

    async def cancel(self, lane: Level, request_id: str) -> None:
        with translated():
            await self._replies.cancel(lane, request_id)

    async def read(self, tenant: str, lane: Level, request_id: str, after: str | None = None) -> AsyncGenerator[Event]:
        with translated():
            async with aclosing(self._replies.read(tenant, lane, request_id, after)) as events:
                async for event in events:
                    yield event


class BrokerNews:
    def __init__(self, broker: Broker) -> None:
        self._redis = broker.redis

    async def heard(self, kind: type[Message], within: timedelta) -> bool:
        with translated():
            seconds, microseconds = await self._redis.time()
            now, end = seconds * 1000 + microseconds // 1000, time.monotonic() + within.total_seconds()
            while time.monotonic() < end:
                oldest = await self._redis.xrange(kind.stream, count=1)
                passed = not oldest or int(oldest[0][0].partition(b"-")[0]) > now
                if passed and not await self._redis.zcard(Keys(kind.stream).delayed):
                    return True
                await asyncio.sleep(_LOOK_SECONDS)
        return False


class BrokerPlaces:
    def __init__(self, broker: Broker) -> None:
        self._places = broker.places

    async def find(self, stream: str, message_id: str) -> Place | None:
        with translated():
            return await self._places.find(stream, message_id)


class BrokerDeadLetters:
    def __init__(self, broker: Broker) -> None:
        self._letters = DeadLetters(broker.redis)

    async def counts(self) -> dict[str, int]:
        with translated():
            return await self._letters.counts()

    async def page(
        self, streams: Sequence[str], limit: int, before: tuple[int, int, str] | None = None
    ) -> list[DeadLetter]:
        with translated():
            return await self._letters.page(streams, limit, before)

    async def get(self, stream: str, letter_id: str) -> DeadLetter | None:
        with translated():
            return await self._letters.get(stream, letter_id)

    async def discard(self, letter: DeadLetter) -> bool:
        with translated():
            return await self._letters.discard(letter)

    async def put_back(self, letter: DeadLetter) -> bool:
        with translated():
            return await self._letters.put_back(letter)


@contextmanager
def translated() -> Generator[None]:
    """What goes wrong with Redis as a TransientError."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise TransientError("the message broker is not available right now; try again") from error
