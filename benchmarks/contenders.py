"""Three ways to take messages off a stream: through Sluice's broker, plain FastStream, plain redis-py.

Each gets the same message in the same field of a stream entry, Sluice's sealed as it always is, and a handler that does
next to nothing. FastStream and redis-py acknowledge; neither opens, verifies, retries, keeps leases or knows a second
copy.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis

from sluice.access import Level, PassportVerifier
from sluice.broker import Broker, Delivery
from sluice.messages import QuestionAsked
from sluice.settings import CommonSettings
from tests.support.identity import shared_keyring

Handle = Callable[[str], Awaitable[None]]
GROUP = "bench"
WORKERS = 16
READ_AHEAD = 100
_STREAMS = {
    "sluice": QuestionAsked.stream_of(Level.EXTERNAL),
    "faststream": "bench-faststream",
    "redis-py": "bench-redis",
}


class Contender(Protocol):
    name: str

    def consuming(self, handle: Handle) -> Any:
        """A context in which each message is handled, given its request's id."""
        ...

    async def publish(self, message: QuestionAsked) -> None: ...

    async def close(self) -> None: ...


def stream_of(name: str) -> str:
    return _STREAMS[name]


class SluiceContender:
    name = "sluice"

    def __init__(self, url: str, public_key: bytes, keys: Path) -> None:
        self._settings = CommonSettings(redis_url=url, port=0)  # pyright: ignore[reportArgumentType]
        self._verifier = PassportVerifier(public_key)
        self._keyring = shared_keyring(keys)
        self._publisher = self._broker()

    def _broker(self) -> Broker:
        return Broker(self._settings, service=GROUP, verifier=self._verifier, keyring=self._keyring)

    @asynccontextmanager
    async def consuming(self, handle: Handle) -> AsyncIterator[None]:
        async def handler(message: QuestionAsked, _: Delivery) -> None:
            await handle(message.request_id)

        broker = self._broker()
        broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL, concurrency=WORKERS, prefetch=READ_AHEAD - 1)
        await broker.start()
        try:
            yield
        finally:
            await broker.stop()

    async def publish(self, message: QuestionAsked) -> None:
        await self._publisher.publish(message)

    async def close(self) -> None:
        await self._publisher.stop()


class FastStreamContender:
    """As its documentation shows it, with several workers and a read-ahead."""

    name = "faststream"

    def __init__(self, url: str) -> None:
        self._url = url
        self._publisher = RedisBroker(url, logger=None)

    @asynccontextmanager
    async def consuming(self, handle: Handle) -> AsyncIterator[None]:
        broker = RedisBroker(self._url, logger=None)
        source = StreamSub(_STREAMS[self.name], group=GROUP, consumer="one", max_records=READ_AHEAD)

        @broker.subscriber(stream=source, max_workers=WORKERS, ack_policy=AckPolicy.REJECT_ON_ERROR)
        async def handler(message: dict[str, Any]) -> None:
            await handle(message["request_id"])

        await broker.start()
        try:
            yield
        finally:
            await broker.stop()

    async def publish(self, message: QuestionAsked) -> None:
        await self._publisher.connect()
        await self._publisher.publish(message, stream=_STREAMS[self.name])

    async def close(self) -> None:
        await self._publisher.stop()


class RedisContender:
    """A loop of XREADGROUP and one XACK for all that was read."""

    name = "redis-py"

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(url)

    @asynccontextmanager
    async def consuming(self, handle: Handle) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        loop = asyncio.create_task(self._consume(handle, stopping))
        try:
            yield
        finally:
            stopping.set()
            await loop

    async def _consume(self, handle: Handle, stopping: asyncio.Event) -> None:
        stream = _STREAMS[self.name]
        while not stopping.is_set():
            for _, entries in await self._redis.xreadgroup(GROUP, "one", {stream: ">"}, count=READ_AHEAD, block=100):
                for _, fields in entries:
                    await handle(json.loads(fields[b"__data__"])["request_id"])
                await self._redis.xack(stream, GROUP, *[entry_id for entry_id, _ in entries])

    async def publish(self, message: QuestionAsked) -> None:
        await self._redis.xadd(_STREAMS[self.name], {"__data__": message.model_dump_json()})

    async def close(self) -> None:
        await self._redis.aclose()


def contenders(url: str, public_key: bytes, keys: Path) -> Sequence[Contender]:
    return (SluiceContender(url, public_key, keys), FastStreamContender(url), RedisContender(url))
