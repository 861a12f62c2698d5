"""The broker dies under load, forgets everything, or loses its groups."""

import itertools
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.chaos.conftest import Pick
from tests.chaos.ledger import Request
from tests.chaos.load import EVENTS_A_CHAT, EVENTS_A_DOCUMENT, Tenant, crowd, slow_answers
from tests.chaos.report import Figures
from tests.chaos.running import broker_of, kill, strike, strike_during
from tests.providers import RemoteScript
from tests.support.system import System

CLIENTS = 8
RECOVERY_SECONDS = 10
GROUPS = {
    "documents.submitted.v1.internal": "ingest-worker",
    "documents.submitted.v1.external": "ingest-worker",
    "documents.progress.v1": "gateway",
    "questions.asked.v1.internal": "retriever",
    "questions.grounded.v1.external": "llm-router",
}


@pytest.mark.timeout(300)
async def test_killing_the_broker_three_times_loses_nothing_that_was_accepted(
    system: System, models: RemoteScript, figures: Figures, pick: Pick
) -> None:
    """Append-only with fsync always; a question asked right after each kill is answered within 10 s."""
    slow_answers(models)
    documents, chats = pick(10, 300), pick(20, 300)
    tenant = Tenant.make(system, patience=pick(120, 600))
    work = [tenant.upload(n) for n in range(documents)] + [tenant.ask(n) for n in range(chats)]
    random.shuffle(work)
    probes = (tenant.ask(1000 + n) for n in itertools.count())
    strikes = [partial(strike, figures, partial(kill, system, "valkey"), next(probes)) for _ in range(3)]
    events = documents * EVENTS_A_DOCUMENT + chats * EVENTS_A_CHAT
    await strike_during(tenant.ledger, events, strikes, crowd(work, CLIENTS))
    assert not await tenant.reckon(figures)
    assert figures.clean
    assert max(figures.recoveries) < pick(3 * RECOVERY_SECONDS, RECOVERY_SECONDS)  # a short run shares its machine
    await tenant.close()


@pytest.mark.timeout(300)
async def test_jobs_finish_after_all_when_the_broker_forgets_everything_or_loses_its_groups(
    system: System, models: RemoteScript, figures: Figures, pick: Pick
) -> None:
    """FLUSHALL and XGROUP DESTROY under load: what the streams held is published again from the catalog."""
    slow_answers(models)
    documents, chats = pick(16, 200), pick(8, 100)
    tenant = Tenant.make(system, patience=pick(150, 900))
    probes = (tenant.upload(1000 + n) for n in itertools.count())
    faults = itertools.islice(itertools.cycle([_flush, _destroy_groups]), pick(2, 6))
    strikes = [_strike(system, figures, fault, next(probes)) for fault in faults]
    work = [tenant.upload(n) for n in range(documents)] + [tenant.ask(n) for n in range(chats)]
    random.shuffle(work)
    events = documents * EVENTS_A_DOCUMENT + chats * EVENTS_A_CHAT
    await strike_during(tenant.ledger, events, strikes, crowd(work, CLIENTS))
    assert not await tenant.reckon(figures)
    assert figures.clean
    await tenant.close()


def _strike(
    system: System,
    figures: Figures,
    fault: Callable[[System], None],
    probe: Callable[[], Awaitable[Request]],
) -> Callable[[], Awaitable[None]]:
    async def at_once() -> None:
        fault(system)

    return lambda: strike(figures, at_once, probe)


def _flush(system: System) -> None:
    broker_of(system).flushall()


def _destroy_groups(system: System) -> None:
    for stream, group in GROUPS.items():
        broker_of(system).xgroup_destroy(stream, group)
