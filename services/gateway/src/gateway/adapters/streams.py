"""The broker as the use cases see it: what goes wrong with Redis is a TransientError."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager

from redis.exceptions import RedisError

from sluice.access import Level
from sluice.broker import Broker
from sluice.errors import SluiceError, TransientError
from sluice.messages import Message
from sluice.replies import Event


class BrokerPublisher:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, message: Message) -> None:
        with _translated():
            await self._broker.publish(message)


class BrokerGate:
    def __init__(self, broker: Broker) -> None:
        self._room = broker.room

    async def admit(self) -> None:
        await self._room.admit()

    async def standing(self, kind: type[Message], lane: Level) -> int:
        with _translated():
            return await self._room.standing(kind, lane)


class BrokerReplies:
    def __init__(self, broker: Broker) -> None:
        self._replies = broker.replies

    async def finish(self, lane: Level, request_id: str, event: Event) -> bool:
        with _translated():
            return await self._replies.finish(lane, request_id, event)

    async def fail(self, lane: Level, request_id: str, error: SluiceError) -> bool:
        with _translated():
            return await self._replies.fail(lane, request_id, error)

    async def finished(self, lane: Level, request_id: str) -> bool:
        with _translated():
            return await self._replies.finished(lane, request_id)

    async def listened(self, lane: Level, request_id: str) -> bool:
        with _translated():
            return await self._replies.listened(lane, request_id)

    async def cancel(self, lane: Level, request_id: str) -> None:
        with _translated():
            await self._replies.cancel(lane, request_id)

    async def read(self, lane: Level, request_id: str, after: str | None = None) -> AsyncGenerator[Event]:
        with _translated():
            async with aclosing(self._replies.read(lane, request_id, after)) as events:
                async for event in events:
                    yield event


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise TransientError("the message broker is not available right now; try again") from error
