"""Where a message stands, on a real Valkey and a real Redis."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.errors import PermanentError, TransientError
from sluice.messages import QuestionAsked
from sluice.places import COUNTED, Place
from sluice.settings import CommonSettings
from sluice.workstream import Keys
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

STREAM = "questions.asked.v1.external"


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


@asynccontextmanager
async def working(server: RedisServer, office: Office, handler: Any = None, **options: Any) -> AsyncIterator[Broker]:
    """A broker; with a handler it consumes."""
    settings = CommonSettings(
        redis_url=server.url,
        port=0,
        lease_seconds=5,
        retry={"attempts": 3, "first_seconds": 300, "longest_seconds": 300},
    )
    broker = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)
    if handler is not None:
        broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def question(office: Office) -> QuestionAsked:
    return office.message(QuestionAsked, question="How long?", search_query="How long?")


async def place(broker: Broker, message: QuestionAsked) -> Place | None:
    return await broker.places.find(STREAM, message.message_id)


async def in_state(broker: Broker, message: QuestionAsked, state: str) -> Place:
    async def found() -> Place | None:
        there = await place(broker, message)
        return there if there and there.state == state else None

    return await until(found, seconds=20, what=f"a message that is {state}")


def is_now(time: datetime | None) -> bool:
    return time is not None and abs(datetime.now(UTC) - time) < timedelta(seconds=20)


async def test_a_waiting_message_knows_how_many_stand_before_it(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    messages = [question(office) for _ in range(3)]
    async with working(any_redis, office) as broker:
        assert await place(broker, messages[0]) is None
        for message in messages:
            await broker.publish(message)
        found = [await place(broker, message) for message in messages]
    assert [(there.state, there.ahead, there.attempt) for there in found if there] == [
        ("waiting", 0, 1),
        ("waiting", 1, 1),
        ("waiting", 2, 1),
    ]
    assert found[0] is not None
    assert is_now(found[0].since)


@pytest.mark.parametrize(("queued", "told"), [("1700000000123", True), ("", False), ("9" * 30, False), ("-5", False)])
async def test_what_was_put_back_waits_since_it_first_was_on_the_stream(
    any_redis: RedisServer, office: Office, client: Any, queued: str, told: bool
) -> None:
    entry = await client.xadd(STREAM, {"__data__": "{}", "id": "m", "failures": 1, "queued": queued})
    await client.hset(Keys(STREAM).places, "m", b"stream " + entry)
    async with working(any_redis, office) as broker:
        found = await broker.places.find(STREAM, "m")
    assert found is not None
    assert (found.state, found.attempt, found.entry_id) == ("waiting", 2, entry.decode())
    assert is_now(found.since) is not told


async def test_no_more_than_a_bounded_number_is_counted_before_a_message(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    filling = client.pipeline(transaction=False)
    for _ in range(COUNTED + 10):
        filling.xadd(STREAM, {"__data__": "{}"})
    await filling.execute()
    message = question(office)
    async with working(any_redis, office) as broker:
        await broker.publish(message)
        found = await place(broker, message)
    assert found is not None
    assert found.ahead == COUNTED


async def test_a_message_that_is_worked_on_names_its_worker_and_what_was_read_ahead_still_waits(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    release = asyncio.Event()

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        await release.wait()

    first, second = question(office), question(office)
    async with working(any_redis, office) as publisher:
        await publisher.publish(first)
        await publisher.publish(second)
    async with working(any_redis, office, handler, prefetch=1) as broker:
        running = await in_state(broker, first, "running")
        await until(lambda: _taken(client, 2), seconds=20, what="both taken")
        behind = await place(broker, second)
        release.set()
        await until(lambda: _gone(broker, first), seconds=20, what="a message that stands nowhere")
    assert running.worker is not None
    assert str(os.getpid()) in running.worker
    assert is_now(running.since)
    assert behind is not None
    assert (behind.state, behind.ahead) == ("waiting", 1)


async def _taken(client: Any, count: int) -> bool:
    return (await client.xpending(STREAM, "retriever"))["pending"] == count


async def _gone(broker: Broker, message: QuestionAsked) -> bool:
    return await place(broker, message) is None


async def test_a_delayed_message_tells_when_it_is_tried_again_and_why(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    async def handler(_: QuestionAsked, __: Delivery) -> None:
        raise TransientError("the index does not answer")

    messages = [question(office), question(office)]
    async with working(any_redis, office, handler) as broker:
        for message in messages:
            await broker.publish(message)
        found = [await in_state(broker, message, "delayed") for message in messages]
        again = await broker.publish(messages[0])
    for there in found:
        assert (there.reason, there.attempt) == ("the index does not answer", 2)
        assert there.due is not None
        assert timedelta(seconds=100) < there.due - datetime.now(UTC) <= timedelta(seconds=300)
    assert not again


async def test_a_dead_message_tells_why_it_was_given_up(any_redis: RedisServer, office: Office, client: Any) -> None:
    async def handler(_: QuestionAsked, __: Delivery) -> None:
        raise PermanentError("the document cannot be read")

    message = question(office)
    async with working(any_redis, office, handler) as broker:
        await broker.publish(message)
        there = await in_state(broker, message, "dead")
    assert (there.reason, there.attempt) == ("the document cannot be read", 1)
    assert is_now(there.since)
    assert await client.xrange(Keys(STREAM).dead, there.entry_id, there.entry_id)


@pytest.mark.parametrize("lost", [STREAM, Keys(STREAM).delayed, Keys(STREAM).dead])
async def test_a_place_whose_message_is_gone_is_none(
    any_redis: RedisServer, office: Office, client: Any, lost: str
) -> None:
    """Else a message that a flush or an operator took away would look as if it still waited."""

    async def handler(message: QuestionAsked, __: Delivery) -> None:
        if lost.endswith(":dead"):
            raise PermanentError("no")
        raise TransientError("not now")

    message = question(office)
    async with working(any_redis, office, None if lost == STREAM else handler) as broker:
        await broker.publish(message)
        await until(lambda: client.exists(lost), seconds=20, what=lost)
        assert await place(broker, message) is not None
        await client.delete(lost)
        assert await place(broker, message) is None
        assert await client.hlen(Keys(STREAM).places) == 1
