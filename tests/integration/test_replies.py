"""The reply log of a request, on a real Valkey and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from sluice.access import Level
from sluice.connection import connect
from sluice.errors import DeadlineExceededError
from sluice.replies import AttemptTakenError, CancelledByClientError, Event, ReplyLog, SupersededError
from tests.support.identity import Office
from tests.support.proxy import proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until

TENANT = "tenant-a"
LANE = Level.EXTERNAL
DONE = Event("done", {"answer_id": "r"})


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def replies(client: Any, office: Office) -> AsyncIterator[ReplyLog]:
    log = ReplyLog(client, office.keyring)
    yield log
    await log.close()


def token(text: str) -> Event:
    return Event("token", {"text": text})


async def test_a_reader_gets_what_was_written_before_and_after_it_came_in_order_and_once(replies: ReplyLog) -> None:
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    await writer.append(token("a"), token("b"))
    got: list[str] = []

    async def read() -> None:
        async for event in replies.read(TENANT, LANE, "r"):
            got.append(event.data.get("text", event.name))

    reading = asyncio.create_task(read())
    await until(lambda: len(got) == 2)
    for letter in "cdefgh":
        await writer.append(token(letter))
    await replies.finish(TENANT, LANE, "r", DONE)
    await asyncio.wait_for(reading, 5)
    assert got == [*"abcdefgh", "done"]


async def test_a_reader_resumes_behind_the_id_that_it_saw_last(replies: ReplyLog) -> None:
    await replies.writer(TENANT, LANE, "r", attempt=1).append(*map(token, "abc"))
    await replies.finish(TENANT, LANE, "r", DONE)
    events = [event async for event in replies.read(TENANT, LANE, "r")]
    resumed = [event async for event in replies.read(TENANT, LANE, "r", after=events[1].id)]
    assert resumed == events[2:]


async def test_there_is_one_terminal_event_and_nothing_after_it(replies: ReplyLog) -> None:
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    assert await replies.finish(TENANT, LANE, "r", DONE) is True
    assert await replies.fail(TENANT, LANE, "r", DeadlineExceededError("too late")) is False
    with pytest.raises(SupersededError):
        await writer.append(token("late"))
    assert [event.name async for event in replies.read(TENANT, LANE, "r")] == ["done"]


async def test_an_older_attempt_cannot_write_behind_a_newer_one(replies: ReplyLog) -> None:
    old, new = replies.writer(TENANT, LANE, "r", attempt=1), replies.writer(TENANT, LANE, "r", attempt=2)
    await old.append(token("a"))
    await new.append(token("b"))
    with pytest.raises(SupersededError):
        await old.append(token("c"))


async def test_a_cancelled_request_is_told_to_its_writer_even_when_it_has_nothing_to_write(replies: ReplyLog) -> None:
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    await writer.append()
    await replies.cancel(LANE, "r")
    with pytest.raises(CancelledByClientError):
        await writer.append()


async def test_the_same_request_id_in_another_lane_is_another_log(replies: ReplyLog) -> None:
    await replies.finish(TENANT, Level.INTERNAL, "r", DONE)
    assert not await replies.finished(LANE, "r")


async def test_a_reader_goes_on_when_its_pubsub_connection_is_killed(replies: ReplyLog, client: Any) -> None:
    got: list[str] = []

    async def read() -> None:
        async for event in replies.read(TENANT, LANE, "r"):
            got.append(event.data.get("text", event.name))

    reading = asyncio.create_task(read())
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    await writer.append(token("a"))
    await until(lambda: got == ["a"])
    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await writer.append(token("b"))
    await replies.finish(TENANT, LANE, "r", DONE)
    await asyncio.wait_for(reading, 10)
    assert got == ["a", "b", "done"]


@pytest.mark.parametrize("after", ["4294967295-0", "9999999999-0"])
async def test_behind_the_terminal_event_there_is_nothing_to_wait_for(replies: ReplyLog, after: str) -> None:
    async with asyncio.timeout(5):
        assert [event async for event in replies.read(TENANT, LANE, "r", after=after)] == []


async def test_a_log_knows_whether_anybody_reads_it_in_any_process(
    replies: ReplyLog, client: Any, office: Office
) -> None:
    elsewhere = ReplyLog(client, office.keyring)
    assert not await replies.listened(LANE, "r")
    reading = asyncio.create_task(anext(aiter(elsewhere.read(TENANT, LANE, "r"))))
    await until(lambda: replies.listened(LANE, "r"))
    await replies.finish(TENANT, LANE, "r", DONE)
    await reading
    await elsewhere.close()
    await until(lambda: _unheard(replies))


async def _unheard(replies: ReplyLog) -> bool:
    return not await replies.listened(LANE, "r")


async def test_a_reader_of_many_and_of_large_events_gets_each_once_in_order(replies: ReplyLog) -> None:
    """Large ones are not told over pub/sub; two readers share a subscription; writes share round trips."""
    written = [f"{number} {'Zoë' * (3000 if number % 7 == 0 else 1)}\n" for number in range(100)]

    async def read(request: str) -> list[str]:
        return [event.data.get("text", event.name) async for event in replies.read(TENANT, LANE, request)]

    async def write(request: str) -> None:
        writer = replies.writer(TENANT, LANE, request, attempt=1)
        for text in written:
            await writer.append(token(text), token("and"))
        await replies.finish(TENANT, LANE, request, DONE)

    requests = [f"r-{number}" for number in range(5)]
    reading = [asyncio.create_task(read(request)) for request in requests * 2]
    await asyncio.gather(*[write(request) for request in requests])
    expected = [part for text in written for part in (text, "and")] + ["done"]
    for got in await asyncio.wait_for(asyncio.gather(*reading), 20):
        assert got == expected


async def test_entries_that_are_told_are_not_read_again(replies: ReplyLog, client: Any) -> None:
    got: list[str] = []

    async def read() -> None:
        async for event in replies.read(TENANT, LANE, "r"):
            got.append(event.name)

    reading = asyncio.create_task(read())
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    await writer.append(token("a"))
    await until(lambda: got)
    before = await _looks(client)
    for number in range(50):
        await writer.append(token("b"))
        await until(lambda number=number: len(got) == number + 2)
    assert await _looks(client) - before < 10
    await replies.finish(TENANT, LANE, "r", DONE)
    await reading


async def _looks(client: Any) -> int:
    return (await client.info("commandstats"))["cmdstat_xrange"]["calls"]


async def test_a_writer_whose_log_is_gone_stops_so_that_nobody_reads_an_answer_with_a_gap(
    replies: ReplyLog, client: Any
) -> None:
    writer = replies.writer(TENANT, LANE, "r", attempt=1)
    await writer.append(token("a"))
    await client.flushall()
    with pytest.raises(SupersededError, match="gone"):
        await writer.append(token("b"))
    await replies.writer(TENANT, LANE, "r", attempt=2).append(token("a"), token("b"))
    await replies.finish(TENANT, LANE, "r", DONE)
    events = [event async for event in replies.read(TENANT, LANE, "r", "1-0")]
    assert [event.data.get("text", event.name) for event in events] == ["a", "b", "done"]


async def test_two_runs_of_one_attempt_do_not_mix_their_answers(replies: ReplyLog) -> None:
    """As when a destroyed group hands out again what is being handled, or a stopped worker gave back what it began."""
    first, second = (replies.writer(TENANT, LANE, "r", attempt=1, sole=True) for _ in range(2))
    await first.append(token("a"), token("b"))
    with pytest.raises(AttemptTakenError):
        await second.append(token("a"))
    await first.append(token("c"))
    await replies.writer(TENANT, LANE, "r", attempt=2, sole=True).append(token("x"))
    with pytest.raises(SupersededError):
        await first.append(token("d"))
    await replies.finish(TENANT, LANE, "r", DONE)
    events = [event async for event in replies.read(TENANT, LANE, "r")]
    assert [event.data.get("text", event.name) for event in events] == ["a", "b", "c", "x", "done"]


async def test_a_write_whose_answer_was_lost_and_that_is_sent_again_stands_once(any_redis: RedisServer) -> None:
    async with proxy(any_redis.port) as between:
        lossy = ReplyLog(connect(SecretStr(between.url)), None)  # plain, so that what is lost can be picked
        writer = lossy.writer(TENANT, LANE, "lossy", attempt=1, sole=True)
        await writer.append(token("a"))
        for letter in "bcd":
            between.lose(f'"{letter}"'.encode())
            await until(lambda letter=letter: _written(writer, letter))
        assert between.lost == 3
        await lossy.finish(TENANT, LANE, "lossy", DONE)
        events = [event async for event in lossy.read(TENANT, LANE, "lossy")]
        await lossy.close()
    assert [event.data.get("text", event.name) for event in events] == [*"abcd", "done"]


async def _written(writer: Any, letter: str) -> bool:
    await writer.append(token(letter))
    return True
