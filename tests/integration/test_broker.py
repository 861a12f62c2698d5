"""Consume and publish, on a real Valkey and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.errors import (
    InvalidPassportError,
    PermanentError,
    RemoteUnavailableError,
    SluiceError,
    TransientError,
)
from sluice.messages import QuestionAsked, QuestionGrounded
from sluice.replies import SupersededError
from sluice.settings import CommonSettings
from sluice.workstream import Entry, Hold, Keys, WorkStream
from tests.support.identity import Office
from tests.support.servers import RedisServer, free_port, running, valkey_server
from tests.support.waiting import until

STREAM = "questions.asked.v1.external"
DEAD = f"{{{STREAM}}}:dead"


@pytest.fixture
async def client(any_redis: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(any_redis.url)
    await client.flushall()
    yield client
    await client.aclose()


def settings(server: RedisServer, **changes: Any) -> CommonSettings:
    return CommonSettings(redis_url=server.url, port=0, **{"lease_seconds": 1, "shutdown_grace_seconds": 3, **changes})


@asynccontextmanager
async def consuming(server: RedisServer, office: Office, handler: Any, **options: Any) -> AsyncIterator[Broker]:
    changes = options.pop("settings", {})
    broker = Broker(settings(server, **changes), service="retriever", verifier=office.verifier, keyring=office.keyring)
    broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def question(office: Office, text: str = "How long do refunds take?", **changes: Any) -> QuestionAsked:
    return office.message(QuestionAsked, question=text, search_query=text, **changes)


async def test_a_message_published_before_the_first_worker_is_handled_and_leaves_nothing(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    got: list[tuple[str, str, int]] = []

    async def handler(message: QuestionAsked, delivery: Delivery) -> None:
        got.append((message.question, delivery.passport.tenant, delivery.attempt))

    publisher = Broker(settings(any_redis), service="gateway", verifier=office.verifier, keyring=office.keyring)
    await publisher.publish(question(office, "Zoë fragt: wie lange?"))
    await publisher.stop()
    async with consuming(any_redis, office, handler):
        await until(lambda: got)
        await until(lambda: _empty(client), what="an empty stream")
    assert got == [("Zoë fragt: wie lange?", "tenant-a", 1)]


async def test_a_message_may_come_by_xadd_alone(any_redis: RedisServer, office: Office, client: Any) -> None:
    got: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        got.append(message.question)

    async with consuming(any_redis, office, handler):
        await client.xadd(STREAM, {"__data__": office.body(question(office))})
        await until(lambda: got)


async def test_a_second_copy_of_a_handled_message_is_dropped(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    got: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        got.append(message.message_id)

    message = question(office)
    async with consuming(any_redis, office, handler) as broker:
        await broker.publish(message)
        await until(lambda: _empty(client) if got else None)
        await broker.publish(message)
        await broker.publish(question(office))
        await until(lambda: len(got) == 2)
        await until(lambda: _empty(client))
    assert got.count(message.message_id) == 1


async def test_a_transient_error_is_retried_and_then_given_up_with_the_waiting_told(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    attempts: list[int] = []
    told: list[str] = []

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise TransientError("the index does not answer")

    async def on_dead(_: QuestionAsked, __: Delivery, error: SluiceError) -> None:
        told.append(error.detail)

    async with consuming(any_redis, office, handler, on_dead=on_dead, settings={"retry": {"attempts": 3}}) as broker:
        message = question(office)
        await broker.publish(message)
        await until(lambda: client.xlen(DEAD), what="a dead letter")
    [(_, dead)] = await client.xrange(DEAD)
    assert attempts == [1, 2, 3]
    assert told == ["given up after 3 attempts: the index does not answer"]
    assert dead[b"error"] == b"too-many-attempts"
    assert office.opened(QuestionAsked, STREAM, dead[b"__data__"]) == message, "its bytes are as they were"


async def test_a_patient_consumer_outlasts_an_outage_but_not_somebody_elses_server(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    attempts: list[int] = []
    told: list[str] = []

    async def handler(message: QuestionAsked, delivery: Delivery) -> None:
        if message.question == "remote":
            raise RemoteUnavailableError("the address does not answer")
        attempts.append(delivery.attempt)
        if delivery.attempt < 4:
            raise TransientError("the index does not answer")

    async def on_dead(message: QuestionAsked, __: Delivery, ___: SluiceError) -> None:
        told.append(message.question)

    impatient = {"retry": {"attempts": 2}}
    async with consuming(any_redis, office, handler, on_dead=on_dead, patient=True, settings=impatient) as broker:
        await broker.publish(question(office))
        await broker.publish(question(office, "remote"))
        await until(lambda: len(attempts) == 4 and told, seconds=20)
        await until(lambda: _empty(client))
    assert (attempts, told) == ([1, 2, 3, 4], ["remote"])


async def test_a_message_is_buried_even_if_nobody_can_be_told(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    """An expired passport lets no further message through: the last word cannot be published, and the queue goes on."""

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        raise AssertionError("not to be handled")

    async def on_dead(message: QuestionAsked, __: Delivery, ___: SluiceError) -> None:
        await broker.publish(message.follow(QuestionGrounded, question=message.question, search_query="x"))

    async with consuming(any_redis, office, handler, on_dead=on_dead) as broker:
        expired = question(office, passport_expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await client.xadd(STREAM, {"__data__": office.body(expired)})
        await until(lambda: client.xlen(DEAD), what="a dead letter")
        await until(lambda: _empty(client))


async def test_a_superseded_copy_leaves_the_way_free_for_the_other(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    """Two copies of one message: the one that gave way must not make the other's next attempt look done."""
    attempts: list[int] = []

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise SupersededError("a newer attempt writes this reply")

    message = question(office)
    async with consuming(any_redis, office, handler) as broker:
        await broker.publish(message)
        await until(lambda: attempts and _empty(client))
        await broker.publish(message)
        await until(lambda: len(attempts) == 2)


async def test_a_permanent_error_goes_to_the_dead_letters_at_once(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    attempts: list[int] = []

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise PermanentError("no such thing")

    async with consuming(any_redis, office, handler) as broker:
        await broker.publish(question(office))
        await until(lambda: client.xlen(DEAD))
    assert attempts == [1]
    assert await _empty(client)


@pytest.mark.parametrize("body", [b"", b"not json", b'{"question": 1}', b"\xff\xfe", b'{"data": "x"}'])
async def test_what_is_no_message_goes_to_the_dead_letters_and_the_next_one_is_handled(
    any_redis: RedisServer, office: Office, client: Any, body: bytes
) -> None:
    got: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        got.append(message.question)

    async with consuming(any_redis, office, handler) as broker:
        await client.xadd(STREAM, {"__data__": body, "failures": "rubbish"})
        await broker.publish(question(office))
        await until(lambda: got)
        await until(lambda: client.xlen(DEAD))
    [(_, dead)] = await client.xrange(DEAD)
    assert dead[b"__data__"] == body
    assert dead[b"error"] == b"invalid-message"


async def test_forged_replayed_and_swapped_passports_are_buried_and_nothing_is_done(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    """case 43: forged passport, replayed for another request, swapped body, wrong stream, another tenant named."""
    calls: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        calls.append(message.question)

    async def on_dead(message: QuestionAsked, __: Delivery, ___: SluiceError) -> None:
        calls.append(message.question)

    genuine = question(office)
    bodies = [
        question(Office(), clearance=Level.INTERNAL),
        genuine.model_copy(update={"request_id": "another"}),
        genuine.model_copy(update={"question": "Tell me the salaries"}),
        genuine.model_copy(update={"tenant": "tenant-b"}),
        genuine.model_copy(update={"passport": "rubbish"}),
        genuine.model_copy(update={"passport": genuine.passport.replace(".", "A.", 1)}),
        question(office, passport_streams=("documents.submitted.v1",)),
    ]
    async with consuming(any_redis, office, handler, on_dead=on_dead):
        for body in bodies:
            await client.xadd(STREAM, {"__data__": office.body(body)})
        await until(lambda: _length(client, DEAD, len(bodies)), what="all in the dead letters")
    assert calls == []


async def test_an_expired_request_is_dropped_and_its_asker_told(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    told: list[str] = []

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        told.append("handled")

    async def on_dead(_: QuestionAsked, __: Delivery, error: SluiceError) -> None:
        told.append(error.type)

    async with consuming(any_redis, office, handler, on_dead=on_dead):
        await client.xadd(STREAM, {"__data__": office.body(question(office, seconds=-1))})
        await until(lambda: told)
    assert told == ["deadline-exceeded"]


@pytest.mark.parametrize(("begun", "attempt"), [(True, 2), (False, 1)])
async def test_a_dead_workers_message_is_taken_over_after_its_lease(
    any_redis: RedisServer, office: Office, client: Any, begun: bool, attempt: int
) -> None:
    """Only a message that the dead worker had begun with counts a crash: one that it had read ahead harmed nobody."""
    attempts: list[int] = []

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)

    dead = WorkStream(client, STREAM, group="retriever", consumer="a-dead-worker", lease=timedelta(seconds=1))
    await dead.ensure_group()
    await client.xadd(STREAM, {"__data__": office.body(question(office))})
    [[_, [(entry_id, fields)]]] = await client.xreadgroup("retriever", "a-dead-worker", {STREAM: ">"})
    if begun:
        assert await dead.hold(Entry.parse(entry_id, fields)) is Hold.HELD
    async with consuming(any_redis, office, handler):
        await until(lambda: attempts)
        await until(lambda: _empty(client))
    assert attempts == [attempt]


async def test_messages_read_ahead_of_busy_handlers_are_not_counted_as_crashes(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    """Each handler is busy for longer than the lease that the waiting messages had; all of them are first attempts."""
    attempts: list[int] = []
    release = asyncio.Event()

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        await release.wait()

    short = {"lease_seconds": 0.3, "max_crashes": 1}
    async with consuming(any_redis, office, handler, concurrency=2, prefetch=3, settings=short) as broker:
        for _ in range(6):
            await broker.publish(question(office))
        await until(lambda: len(attempts) == 2)
        last = (await client.xinfo_stream(STREAM))["last-generated-id"]
        await until(lambda: _moved(client, last), what="something put back")
        release.set()
        await until(lambda: _empty(client))
    assert attempts == [1] * 6
    assert await client.xlen(DEAD) == 0


async def test_without_a_prefetch_a_busy_worker_leaves_the_rest_to_others(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    handled: list[str] = []
    release = asyncio.Event()

    async def busy(_: QuestionAsked, __: Delivery) -> None:
        handled.append("busy")
        await release.wait()

    async def free(_: QuestionAsked, __: Delivery) -> None:
        handled.append("free")

    long = {"lease_seconds": 600}
    async with consuming(any_redis, office, busy, concurrency=2, settings=long) as broker:
        for _ in range(6):
            await broker.publish(question(office))
        await until(lambda: len(handled) == 2)
        async with consuming(any_redis, office, free, settings=long):
            await until(lambda: len(handled) == 6)
        release.set()
    assert sorted(handled) == ["busy"] * 2 + ["free"] * 4


async def test_many_quick_messages_are_handled_once_each_and_leave_nothing(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    handled: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        handled.append(message.request_id)

    messages = [question(office) for _ in range(300)]
    async with consuming(any_redis, office, handler, concurrency=8, prefetch=20) as broker:
        published = await asyncio.gather(*[broker.publish(message) for message in messages for _ in range(2)])
        await until(lambda: len(handled) == 300, seconds=30)
        await until(lambda: _empty(client))
    assert sum(published) == 300, "a second copy is not put on the stream"
    assert sorted(handled) == sorted(message.request_id for message in messages)
    assert await client.keys("*:done:*") != []
    assert await client.hlen(Keys(STREAM).places) == 0


async def test_a_handler_that_lost_its_lease_is_cancelled_and_its_work_counts_as_anothers(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    """Another took it for dead and put its message back, which is then handled a second time."""
    seen: list[str] = []

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        seen.append("started")
        if len(seen) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

    async with consuming(any_redis, office, handler, concurrency=2) as broker:
        await broker.publish(question(office))
        await until(lambda: seen)
        another = WorkStream(client, STREAM, group="retriever", consumer="another", lease=timedelta())
        assert await another.reap() == 1
        await until(lambda: len(seen) == 3)
        await until(lambda: _empty(client))
    assert sorted(seen) == ["cancelled", "started", "started"]


async def test_a_stopping_worker_gives_back_what_it_cannot_finish_at_once_and_uncounted(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    attempts: list[int] = []
    started, release = asyncio.Event(), asyncio.Event()

    async def stuck(_: QuestionAsked, __: Delivery) -> None:
        started.set()
        await release.wait()

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)

    long = {"lease_seconds": 600, "shutdown_grace_seconds": 0.2}
    async with consuming(any_redis, office, stuck, settings=long) as broker:
        for _ in range(3):
            await broker.publish(question(office))
        await started.wait()
    async with consuming(any_redis, office, handler, settings=long):
        await until(lambda: len(attempts) == 3)
    assert attempts == [1, 1, 1]


@pytest.mark.parametrize("prefetch", [0, 4])
async def test_a_drain_that_cuts_work_off_tells_of_no_error(
    any_redis: RedisServer, office: Office, client: Any, caplog: pytest.LogCaptureFixture, prefetch: int
) -> None:
    """Neither of what had begun, nor of the reading that waited for it."""
    begun: list[str] = []

    async def stuck(message: QuestionAsked, _: Delivery) -> None:
        begun.append(message.question)
        await asyncio.Event().wait()

    options = {"concurrency": 2, "prefetch": prefetch, "settings": {"shutdown_grace_seconds": 0.2}}
    async with consuming(any_redis, office, stuck, **options) as broker:
        for number in range(12):
            await broker.publish(question(office, str(number)))
        await until(lambda: len(begun) == 2)
        await until(lambda: _pending(client, 2 + min(prefetch, 1)))
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    assert await client.xlen(STREAM) == 12
    assert not await _pending(client, 1)


async def _pending(client: Any, least: int) -> bool:
    return (await client.xpending(STREAM, "retriever"))["pending"] >= least


async def test_a_job_of_several_leases_starts_once_while_another_worker_watches(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    started: list[int] = []
    release = asyncio.Event()

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        started.append(delivery.attempt)
        await release.wait()

    short = {"lease_seconds": 0.3}
    async with (
        consuming(any_redis, office, handler, settings=short) as broker,
        consuming(any_redis, office, handler, settings=short),
    ):
        await broker.publish(question(office))
        await until(lambda: started)
        first = await client.xpending_range(STREAM, "retriever", "-", "+", 1)
        holder = first[0]["consumer"]
        renewals = 0
        last = 0
        while renewals < 6:  # each renewal sets the idle time back; six are two whole leases
            [pending] = await client.xpending_range(STREAM, "retriever", "-", "+", 1)
            assert pending["consumer"] == holder
            renewals += pending["time_since_delivered"] < last
            last = pending["time_since_delivered"]
            await asyncio.sleep(0.01)
        release.set()
        await until(lambda: _empty(client))
    assert started == [1]


async def test_a_message_that_keeps_ending_its_workers_is_given_up(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    told: list[str] = []

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        told.append("handled")

    async def on_dead(_: QuestionAsked, __: Delivery, error: SluiceError) -> None:
        told.append(error.type)

    await client.xadd(STREAM, {"__data__": office.body(question(office)), "crashes": "4"})
    async with consuming(any_redis, office, handler, on_dead=on_dead):
        await until(lambda: told)
    assert told == ["too-many-attempts"]


async def test_stopping_waits_for_what_has_started(any_redis: RedisServer, office: Office, client: Any) -> None:
    finished: list[str] = []
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        started.set()
        await release.wait()
        finished.append(message.question)

    async with consuming(any_redis, office, handler) as broker:
        await broker.publish(question(office))
        await started.wait()
        asyncio.get_running_loop().call_later(0.1, release.set)
    assert len(finished) == 1
    assert await _empty(client)


async def test_a_flushed_broker_is_read_again_without_a_restart(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    got: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        got.append(message.question)

    async with consuming(any_redis, office, handler) as broker:
        await client.flushall()
        await broker.publish(question(office))
        await until(lambda: got, seconds=15)
        await broker.check()


async def test_publishing_what_the_passport_does_not_allow_is_refused(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    broker = Broker(settings(any_redis), service="gateway", verifier=office.verifier, keyring=office.keyring)
    message = question(office, passport_streams=("questions.asked.v1",))
    with pytest.raises(InvalidPassportError, match=r"may not travel questions\.grounded\.v1"):
        await broker.publish(message.follow(QuestionGrounded, question=message.question, search_query="x"))
    await broker.stop()
    assert await client.keys("*") == []


async def test_an_internal_persons_message_goes_to_the_internal_lane(
    any_redis: RedisServer, office: Office, client: Any
) -> None:
    broker = Broker(settings(any_redis), service="gateway", verifier=office.verifier, keyring=office.keyring)
    await broker.publish(question(office, clearance=Level.INTERNAL))
    await broker.stop()
    assert await client.xlen("questions.asked.v1.internal") == 1
    assert await client.xlen(STREAM) == 0


async def _empty(client: Any) -> bool:
    return await client.xlen(STREAM) == 0


async def _length(client: Any, stream: str, length: int) -> bool:
    return await client.xlen(stream) == length


async def _moved(client: Any, last_id: bytes) -> bool:
    return (await client.xinfo_stream(STREAM))["last-generated-id"] != last_id


async def test_a_broker_that_is_away_at_the_end_of_the_work_costs_the_message_nothing(
    office: Office, tmp_path: Path
) -> None:
    """The work is done once and acknowledged as soon as the broker is back, without counting a failure or a crash."""
    attempts: list[int] = []
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(_: QuestionAsked, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        started.set()
        await release.wait()

    with running(valkey_server(tmp_path / "valkey")) as server:
        client: Any = redis.asyncio.Redis.from_url(server.url)
        async with consuming(server, office, handler) as broker:
            await broker.publish(question(office))
            await started.wait()
            server.kill()
            release.set()
            await until(lambda: _is_away(broker))
            server.start()
            await until(lambda: _empty(client), seconds=30)
            await until(lambda: _no_place(client))
        await client.aclose()
    assert attempts == [1]


async def test_a_broker_that_became_a_replica_is_read_again_when_it_is_none_and_not_hammered_meanwhile(
    office: Office, tmp_path: Path
) -> None:
    handled: list[str] = []

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        handled.append(message.question)

    with running(valkey_server(tmp_path / "valkey")) as server:
        client: Any = redis.asyncio.Redis.from_url(server.url)
        async with consuming(server, office, handler) as broker:
            await client.replicaof("127.0.0.1", free_port())
            refused = await until(lambda: _refused(client), what="a refused reading")
            later = await until(lambda: _refused(client, more_than=refused), what="another one")
            assert later - refused <= 3
            await client.replicaof("NO", "ONE")
            await broker.publish(question(office))
            await until(lambda: handled)
        await client.aclose()


async def _refused(client: Any, *, more_than: int = 0) -> int:
    """How many readings of groups were answered with an error."""
    figures = (await client.info("commandstats")).get("cmdstat_xreadgroup", {})
    refused = figures.get("failed_calls", 0) + figures.get("rejected_calls", 0)
    return refused if refused > more_than else 0


async def test_a_handler_that_meets_a_broker_without_memory_is_tried_again_past_its_attempts(
    office: Office, tmp_path: Path
) -> None:
    attempts: list[int] = []
    full = asyncio.Event()

    async def handler(message: QuestionAsked, delivery: Delivery) -> None:
        await full.wait()
        attempts.append(delivery.attempt)
        await broker.redis.set("a result", message.question)

    options = {"retry": {"attempts": 2, "first_seconds": 0.05, "longest_seconds": 0.1}}
    with running(valkey_server(tmp_path / "valkey")) as server:
        client: Any = redis.asyncio.Redis.from_url(server.url)
        async with consuming(server, office, handler, settings=options) as broker:
            await broker.publish(question(office))
            await client.config_set("maxmemory", "1")
            full.set()
            await until(lambda: len(attempts) >= 5, seconds=30)
            await client.config_set("maxmemory", "0")
            await until(lambda: _empty(client), seconds=30)
            await until(lambda: _no_place(client))
            assert await client.xlen(DEAD) == 0
        await client.aclose()


async def _is_away(broker: Broker) -> bool:
    try:
        await broker.check()
    except TransientError:
        return True
    return False


async def _no_place(client: Any) -> bool:
    return await client.hlen(f"{{{STREAM}}}:places") == 0
