"""One stream's scripts, on a real Valkey and a real Redis: published once, its place known, and fit for a cluster."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from pydantic import ValidationError

from sluice.deadletters import DeadLetters
from sluice.errors import PermanentError
from sluice.settings import CommonSettings, RetryRule
from sluice.workstream import Entry, Hold, Keys, Publication, WorkStream
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

STREAM = "questions.asked.v1.external"
KEYS = Keys(STREAM)
NOW = timedelta()
LEASE = timedelta(seconds=30)


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


async def work_of(client: Any, consumer: str = "worker-1", lease: timedelta = LEASE) -> WorkStream:
    work = WorkStream(client, STREAM, group="retriever", consumer=consumer, lease=lease)
    await work.ensure_group()
    return work


async def read(client: Any, consumer: str = "worker-1") -> Entry:
    [[_, [(entry_id, fields)]]] = await client.xreadgroup("retriever", consumer, {STREAM: ">"}, count=1)
    return Entry.parse(entry_id, fields)


async def test_a_message_is_published_once_while_it_waits_runs_is_delayed_or_dead_and_after_it_is_done(
    client: Any,
) -> None:
    publish, work = Publication(client), await work_of(client)

    async def again() -> bool:
        return await publish(STREAM, "m-1", "{}")

    assert await again()
    assert not await again(), "while it waits"
    entry = await read(client)
    assert not await again(), "while it is being handled"
    assert await work.delay(entry, NOW, "the index does not answer")
    assert not await again(), "while it is delayed"
    assert await work.wake() == 1
    entry = await read(client)
    assert (entry.message_id, entry.failures) == ("m-1", 1)
    assert await work.bury(entry, PermanentError("no"))
    assert not await again(), "while it is dead"
    await client.delete(KEYS.dead)
    assert await again(), "its dead letter was thrown away"
    assert await work.done(await read(client), "m-1")
    assert not await again(), "after it is done"
    assert await client.hlen(KEYS.places) == 0


async def test_a_message_that_vanished_from_its_stream_can_be_published_again(client: Any) -> None:
    publish = Publication(client)
    await publish(STREAM, "m-1", "{}")
    await client.delete(STREAM)
    assert await publish(STREAM, "m-1", "{}")
    assert await client.xlen(STREAM) == 1


async def test_its_place_follows_a_message_that_is_put_back(client: Any) -> None:
    publish, gone = Publication(client), await work_of(client, "gone", lease=NOW)
    await publish(STREAM, "m-1", "{}")
    await gone.hold(await read(client, "gone"))
    work = await work_of(client, lease=NOW)
    assert await work.reap() == 1
    [(entry_id, fields)] = await client.xrange(STREAM)
    assert await client.hget(KEYS.places, "m-1") == b"stream " + entry_id
    assert Entry.parse(entry_id, fields).crashes == 1
    assert not await publish(STREAM, "m-1", "{}")


async def test_an_entry_that_is_delayed_put_back_died_and_was_replayed_tells_when_it_was_first_queued(
    client: Any,
) -> None:
    work, letters = await work_of(client), DeadLetters(client)
    await client.xadd(STREAM, {"__data__": "{}"}, id="1000-1")
    first = await read(client)
    assert first.queued_at == datetime.fromtimestamp(1, UTC)
    await work.delay(first, timedelta())
    await until(work.wake, what="the delayed entry's return")
    await read(client)
    await work.release()
    work = await work_of(client)
    last = await read(client)
    assert last.queued_at == first.queued_at
    await work.bury(last, PermanentError("no"))
    [letter] = await letters.page([STREAM], 1)
    assert await letters.put_back(letter)
    again = await read(client)
    assert (again.queued_at, again.attempt) == (first.queued_at, 1)
    assert again.entry_id > last.entry_id


async def test_counters_that_a_foreign_producer_sends_stop_nobody(client: Any) -> None:
    work = await work_of(client)
    await client.xadd(STREAM, {"__data__": "{}", "failures": "9" * 5000, "crashes": "-1", "queued": "yesterday"})
    entry = await read(client)
    assert (entry.attempt, entry.queued_ms) == (1, int(entry.entry_id.split("-")[0]))
    assert await work.drop(entry)


async def test_a_worker_that_stops_gives_back_all_that_it_has_and_leaves_its_group(client: Any) -> None:
    publish, work = Publication(client), await work_of(client)
    for number in range(250):
        await publish(STREAM, f"m-{number}", "{}")
    await client.xreadgroup("retriever", "worker-1", {STREAM: ">"}, count=250)
    assert await work.release() == 250
    assert await client.xlen(STREAM) == 250
    assert await client.xinfo_consumers(STREAM, "retriever") == []


async def test_only_consumers_that_have_nothing_are_forgotten(client: Any) -> None:
    publish, work = Publication(client), await work_of(client)
    await publish(STREAM, "m-1", "{}")
    await read(client, "busy")
    await client.execute_command("XGROUP", "CREATECONSUMER", STREAM, "retriever", "idle")
    assert await work.forget() == 0
    assert await work.forget(timedelta(milliseconds=-1)) == 1
    [left] = await client.xinfo_consumers(STREAM, "retriever")
    assert left["name"] == b"busy"


async def test_a_dead_letter_tells_why_by_whom_and_when_beside_the_original_bytes(client: Any) -> None:
    publish, work = Publication(client), await work_of(client)
    body = '{"name": "Zoë"}'
    await publish(STREAM, "m-1", body)
    await work.bury(await read(client), PermanentError("no such thing"))
    [(dead_id, dead)] = await client.xrange(KEYS.dead)
    time, queued = dead.pop(b"time"), dead.pop(b"queued")
    assert time.startswith(b"20")
    assert int(queued) <= int(dead_id.split(b"-")[0])
    assert dead == {
        b"__data__": body.encode(),
        b"id": b"m-1",
        b"failures": b"0",
        b"crashes": b"0",
        b"attempts": b"1",
        b"error": b"cannot-be-done",
        b"class": b"PermanentError",
        b"detail": b"no such thing",
        b"worker": b"worker-1",
    }
    assert await client.hget(KEYS.places, "m-1") == b"dead " + dead_id


async def test_every_script_names_keys_of_one_slot(tmp_path: Path) -> None:
    """A server in cluster mode refuses a script whose keys lie in two slots."""
    with running(valkey_server(tmp_path / "cluster", cluster_enabled="yes")) as server:
        client: Any = redis.asyncio.Redis.from_url(server.url)
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO"):
            pass
        publish, work = Publication(client), await work_of(client, lease=NOW)
        for number in range(3):
            assert await publish(STREAM, f"m-{number}", "{}")
        first, second, third = [await read(client) for _ in range(3)]
        assert await work.hold(first, "m-0") is Hold.HELD
        assert await work.delay(first, NOW)
        assert await work.wake() == 1
        assert await work.bury(second, PermanentError("no"))
        assert await work.done(third, "m-2")
        await read(client)
        assert await work.reap() == 1
        assert await work.release() == 0
        assert await work.forget() == 0
        await client.aclose()


def test_a_stream_may_have_a_retry_rule_of_its_own() -> None:
    rule = {"attempts": 8, "first_seconds": 2, "longest_seconds": 10}
    settings = CommonSettings(port=0, retry_streams={"documents.submitted.v1": rule})  # pyright: ignore[reportArgumentType]
    assert settings.retry_rule("documents.submitted.v1").attempts == 8
    assert settings.retry_rule("questions.asked.v1") == RetryRule()
    pauses = [settings.retry_rule("documents.submitted.v1").pause(failures) for failures in range(5)]
    for pause, whole in zip(pauses, (2, 4, 8, 10, 10), strict=True):
        assert timedelta(seconds=whole / 2) <= pause <= timedelta(seconds=whole)


def test_a_retry_rule_for_a_stream_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"there is no stream questions\.v9"):
        CommonSettings(port=0, retry_streams={"questions.v9": RetryRule()})


@pytest.mark.parametrize("farthest", ["99999999999999-0", "18446744073709551615-18446744073709551615"])
async def test_an_id_of_the_future_stops_nobody(client: Any, farthest: str) -> None:
    """A producer may choose the id of its entry. What stood before it and came after it is read, with a time of now."""
    publish, work = Publication(client), await work_of(client)
    await publish(STREAM, "m-1", "{}")
    taken = await read(client)
    await publish(STREAM, "m-2", "{}")
    await client.xadd(STREAM, {"__data__": "foreign"}, id=farthest)
    assert await work.mend()
    assert not await work.mend()
    assert await publish(STREAM, "m-3", "{}")
    assert not await publish(STREAM, "m-2", "{}")
    assert not await work.done(taken, "m-1"), "it stands there again"
    entries = [await read(client) for _ in range(4)]
    assert [entry.body for entry in entries] == [b"{}", b"{}", b"foreign", b"{}"]
    for entry in entries:
        assert abs((datetime.now(UTC) - entry.queued_at).total_seconds()) < 60
        assert await work.done(entry, entry.message_id or "f")
    assert await client.hlen(KEYS.places) == 0


async def test_a_sound_stream_is_left_as_it_is(client: Any) -> None:
    work = await work_of(client)
    await Publication(client)(STREAM, "m-1", "{}")
    [(before, _)] = await client.xrange(STREAM)
    assert not await work.mend()
    assert [before] == [entry_id for entry_id, _ in await client.xrange(STREAM)]
