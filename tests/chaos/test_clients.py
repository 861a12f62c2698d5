"""Clients that ask many times, at once, out of order, or whose connections break."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.chaos.client import DOCUMENTS
from tests.chaos.conftest import Pick
from tests.chaos.ledger import Request
from tests.chaos.load import Tenant, crowd, document, slow_answers
from tests.chaos.report import Figures
from tests.chaos.running import broker_of, kill, pid_of, second_gateway
from tests.chaos.stored import Stored
from tests.providers import RemoteScript
from tests.support.system import System
from tests.support.waiting import until

STREAM = "documents.submitted.v1.internal"


@pytest.mark.timeout(240)
async def test_a_thousand_concurrent_requests_with_one_key_make_one_job(
    system: System, figures: Figures, pick: Pick
) -> None:
    tenant = Tenant.make(system)
    request = tenant.ledger.send("document", "once.txt")
    content = document(1)
    await asyncio.gather(*(tenant.internal.submit(request, content) for _ in range(figures_of(figures, pick))))
    await tenant.internal.follow(request)
    assert not await tenant.reckon(figures)
    assert len(request.ids) == 1
    [listed] = await tenant.internal.items(DOCUMENTS)
    assert listed["version"] == 1
    await tenant.close()


def figures_of(figures: Figures, pick: Pick) -> int:
    copies = pick(100, 1000)
    figures.more["concurrent_copies"] = copies
    return copies


@pytest.mark.timeout(240)
async def test_the_newest_version_stands_whatever_order_and_number_its_messages_come_in(
    system: System, figures: Figures, pick: Pick
) -> None:
    """The messages of all versions are put on the stream again, in reverse and shuffled, before the worker sees any."""
    tenant, versions, names = Tenant.make(system, patience=pick(120, 900)), pick(4, 10), pick(3, 30)
    requests: list[Request] = []
    with stopped(system, "ingest-worker-internal"):
        for version in range(versions):
            for name in range(names):
                request = tenant.ledger.send("document", f"versions-{name}.txt")
                requests.append(request)
                await tenant.internal.submit(request, document(1000 * name + version))
        figures.faults += 1
        figures.more["copies"] = _scramble(system)
    await crowd((lambda r=request: tenant.internal.follow(r) for request in requests), len(requests))
    await until(lambda: broker_of(system).xlen(STREAM) == 0, seconds=pick(120, 900), what="an empty stream")
    await _newest_stand(system, tenant, figures, versions)
    assert figures.clean
    await tenant.close()


async def _newest_stand(system: System, tenant: Tenant, figures: Figures, versions: int) -> None:
    """Every job ended; the newest version of each name is all that there is of it."""
    figures.requests += len(tenant.ledger.requests)
    figures.unanswered += sum(not request.ends for request in tenant.ledger)
    stored = Stored(system, tenant.slug).chunks()
    listed = await tenant.internal.items(DOCUMENTS)
    names = {request.name for request in tenant.ledger}
    figures.duplicated += len(listed) - len(names) + len(set(stored) - {item["id"] for item in listed})
    for item in listed:
        number = int(item["name"].removeprefix("versions-").removesuffix(".txt"))
        newest = f"Document {1000 * number + versions - 1}, part "
        rows = stored.get(item["id"], [])
        figures.lost += item["state"] != "done" or item["version"] != versions or not rows
        figures.lost += {row.ordinal for row in rows} != set(range(item["chunk_count"]))
        figures.duplicated += sum(not row.text.startswith(newest) for row in rows)


def _scramble(system: System) -> int:
    """Copies of all that is on the stream, in another order and twice, as a producer that retries blindly would."""
    broker: Any = broker_of(system)
    entries = [fields for _, fields in broker.xrange(STREAM)]
    copies = [*reversed(entries), *random.sample(entries, len(entries))]
    for fields in copies:
        broker.xadd(STREAM, {b"__data__": fields[b"__data__"]})
    return len(copies)


@contextmanager
def stopped(system: System, program: str) -> Iterator[None]:
    """SIGSTOP: it is there, and does nothing."""
    pid = pid_of(system, program)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(240)
async def test_a_client_resumes_without_gap_or_repeat_when_wakeups_and_its_gateway_are_killed(
    system: System, models: RemoteScript, figures: Figures, pick: Pick
) -> None:
    """What each client was shown, over all breaks, is the whole reply log: every event once, in order."""
    slow_answers(models, between=0.1)
    chats = pick(12, 200)
    with second_gateway(system) as other:
        tenant = Tenant.make(system, other)
        asking = asyncio.gather(*(tenant.ask(n)() for n in range(chats)))
        for _ in range(pick(2, 10)):
            figures.faults += await _after_some_tokens(tenant, lambda: _kill_wakeups(system))
        figures.faults += await _after_some_tokens(tenant, lambda: None)
        await kill(system, "gateway")
        await asking
        assert not await tenant.reckon(figures)
        for request in tenant.ledger:
            client = tenant.internal if request in tenant.ledger.requests[1::2] else tenant.external
            _compare(figures, request, await client.replay(request))
        figures.more["broken_streams"] = sum(request.breaks for request in tenant.ledger)
        assert figures.clean
        assert figures.more["broken_streams"] >= 1
        await tenant.close()


async def _after_some_tokens(tenant: Tenant, fault: Any) -> int:
    at = tenant.ledger.moments + random.randrange(5, 20)
    await until(lambda: tenant.ledger.moments >= at, seconds=60, what="more events")
    fault()
    return 1


def _kill_wakeups(system: System) -> None:
    broker_of(system).execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def _compare(figures: Figures, request: Request, log: list[Any]) -> None:
    """Counts what the client missed of the log, and what it was shown beside it."""
    shown = [event for event in request.events if event[0] != "accepted"]
    figures.lost += sum(event not in shown for event in log)
    figures.duplicated += sum(event not in log for event in shown) + max(0, len(shown) - len(log))


@pytest.mark.timeout(240)
async def test_a_full_broker_is_told_as_503_and_nothing_is_accepted_until_there_is_room(
    system: System, figures: Figures
) -> None:
    tenant, broker = Tenant.make(system), broker_of(system)
    broker.config_set("maxmemory", "1mb")
    try:
        figures.faults += 1
        refused = await _post(tenant, "full.txt")
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert await tenant.internal.items(DOCUMENTS) == []
    finally:
        broker.config_set("maxmemory", "0")
    request = await tenant.upload(1)()
    assert request.ends == ["done"]
    assert not await tenant.reckon(figures)
    await tenant.close()


async def _post(tenant: Tenant, name: str) -> httpx2.Response:
    parts: list[Any] = [("files", (name, document(1).encode())), ("access_level", (None, "INTERNAL"))]
    return await tenant.internal.once("POST", DOCUMENTS, files=parts)
