"""The queue alone, with workers of the tests' own: killed, poisoned, stopped, and of two versions."""

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import QuestionAsked
from tests.chaos.conftest import Pick
from tests.chaos.queue import DEAD, STREAM, Queue, Workers, queue, settings, workers
from tests.chaos.report import Figures
from tests.chaos.worker import POISON, NewerQuestionAsked
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

GRACE_SECONDS = 10


@pytest.mark.timeout(240)
async def test_killed_workers_lose_no_job_and_send_no_result_twice(
    valkey: RedisServer, office: Office, tmp_path: Path, figures: Figures, pick: Pick
) -> None:
    jobs, kills = pick(200, 2000), pick(3, 14)
    async with queue(valkey, office) as line, workers(valkey, office, tmp_path, 3) as pool:
        sending = asyncio.create_task(line.send_many(jobs))
        for number in range(kills):
            at = (number + 1) * jobs // (kills + 2) + random.randrange(jobs // 20)
            await until(lambda at=at: len(line.results) >= at, seconds=120, what=f"{at} results")
            await until(lambda: _busy(pool), seconds=60, what="a worker at work")
            random.choice(_busy(pool)).kill()
            figures.faults += 1
            await line.recovered(figures)
        await sending
        await line.all_came()
        line.count(figures)
        figures.lost += len(set(line.sent) - set(pool.notes.ended()))
        figures.more["begun_again"] = len(pool.notes.begun()) - len(set(pool.notes.begun()))
        assert await line.client.xlen(DEAD) == 0
    assert figures.clean


@pytest.mark.timeout(120)
async def test_a_job_of_four_leases_starts_once(valkey: RedisServer, office: Office, figures: Figures) -> None:
    """Two workers; the one without it never takes it over."""
    started: list[str] = []
    lease = 1.0

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        started.append(message.request_id)
        await asyncio.sleep(4 * lease)

    async with queue(valkey, office) as line:
        brokers = [
            Broker(
                settings(valkey, lease_seconds=lease),
                service="retriever",
                verifier=office.verifier,
                keyring=office.keyring,
            )
            for _ in range(2)
        ]
        for broker in brokers:
            broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL, concurrency=4)
            await broker.start()
        for _ in range(6):
            await line.send()
        await until(lambda: _empty(line) if len(started) >= 6 else None, seconds=60)
        for broker in brokers:
            await broker.stop()
        figures.requests = len(line.sent)
        figures.duplicated = len(started) - len(set(started))
        figures.lost = len(set(line.sent) - set(started))
    assert figures.clean


@pytest.mark.timeout(240)
async def test_a_poison_message_ends_dead_and_all_others_finish(
    valkey: RedisServer, office: Office, tmp_path: Path, figures: Figures, pick: Pick
) -> None:
    """It takes a worker down each time, with all that the worker had begun beside it."""
    jobs = pick(60, 1000)
    async with queue(valkey, office) as line, workers(valkey, office, tmp_path, 2, seconds=0.3, concurrency=8) as pool:
        for _ in range(jobs // 2):
            await line.send()
        poison = frozenset([await line.send(POISON)])
        for _ in range(jobs // 2):
            await line.send()
        await until(lambda: line.client.xlen(DEAD), seconds=120, what="a dead letter")
        await until(lambda: _empty(line), seconds=120, what="an empty stream")
        dead = await line.client.xrange(DEAD)
        await line.all_came(but=len(dead))
        figures.faults = pool.notes.begun().count(next(iter(poison)))
        figures.more["workers_lost"] = sum(process.poll() == 9 for process in pool.processes)
        line.count(figures, but=poison)
        figures.lost += len(dead) - 1
        assert [fields[b"error"] for _, fields in dead] == [b"too-many-attempts"]
        assert poison.isdisjoint(line.results)
    assert figures.clean


@pytest.mark.timeout(240)
async def test_sigterm_under_load_finishes_what_was_started_within_the_grace(
    valkey: RedisServer, office: Office, tmp_path: Path, figures: Figures, pick: Pick
) -> None:
    jobs, stops = pick(150, 1500), pick(3, 14)
    async with queue(valkey, office) as line, workers(valkey, office, tmp_path, 2, seconds=0.3) as pool:
        sending = asyncio.create_task(line.send_many(jobs))
        slowest = 0.0
        for _ in range(stops):
            await until(lambda: _busy(pool), seconds=60, what="a worker at work")
            stopping = random.choice(_busy(pool))
            began = time.monotonic()
            stopping.send_signal(signal.SIGTERM)
            figures.faults += 1
            status = await asyncio.to_thread(stopping.wait, 60)
            slowest = max(slowest, time.monotonic() - began)
            assert status == 0
            assert sorted(pool.notes.begun(stopping.pid)) == sorted(pool.notes.ended(stopping.pid))
        await sending
        await line.all_came()
        line.count(figures)
        figures.duplicated += len(pool.notes.begun()) - len(set(pool.notes.begun()))
        figures.more["slowest_exit_s"] = round(slowest, 1)
        assert slowest < GRACE_SECONDS
    assert figures.clean


@pytest.mark.timeout(240)
async def test_two_versions_of_a_service_side_by_side_make_no_dead_letter(
    valkey: RedisServer, office: Office, tmp_path: Path, figures: Figures, pick: Pick
) -> None:
    """Old and new writers and readers on one stream; the new ones know a field more."""
    jobs = pick(200, 2000)
    async with queue(valkey, office) as line:
        pool = Workers(valkey, office, tmp_path)
        try:
            versions = [pool.start(), pool.start(CHAOS_NEWER="1")]
            for number in range(jobs):
                await (line.send(kind=NewerQuestionAsked, urgency="high") if number % 2 else line.send())
            await line.all_came()
            line.count(figures)
            figures.lost += await line.client.xlen(DEAD)
            figures.more["by_old"], figures.more["by_new"] = (len(pool.notes.ended(p.pid)) for p in versions)
        finally:
            await asyncio.to_thread(pool.stop)
    assert figures.more["by_old"] > 0
    assert figures.more["by_new"] > 0
    assert figures.clean


def _busy(pool: Workers) -> list:
    """The living workers that have begun something."""
    return [process for process in pool.alive if pool.notes.begun(process.pid)]


async def _empty(line: Queue) -> bool:
    return await line.client.xlen(STREAM) == 0 and not await line.client.exists(f"{{{STREAM}}}:delayed")
