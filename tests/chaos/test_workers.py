"""kill -9 of each kind of worker, and of the gateway, while documents and questions are on their way."""

import itertools
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.chaos.conftest import Pick
from tests.chaos.load import EVENTS_A_CHAT, EVENTS_A_DOCUMENT, Tenant, crowd, slow_answers
from tests.chaos.report import Figures
from tests.chaos.running import kill, strike, strike_during
from tests.providers import RemoteScript
from tests.support.system import System

VICTIMS = ["ingest-worker-internal", "llm-router-internal", "retriever-internal", "gateway"]
MORE_VICTIMS = ["ingest-worker-external", "llm-router-external", "retriever-external"]
CLIENTS = 8


@pytest.mark.timeout(300)
async def test_killing_any_worker_loses_nothing_and_doubles_nothing(
    system: System, models: RemoteScript, figures: Figures, pick: Pick
) -> None:
    """Chunks are those of a run without faults; every answer is told once, to its end, as it was kept."""
    slow_answers(models)
    documents, chats = pick(20, 500), pick(20, 500)
    calm, tenant = Tenant.make(system), Tenant.make(system, patience=pick(150, 900))
    await crowd((calm.upload(n) for n in range(documents)), CLIENTS)
    expected = await calm.contents()
    assert not calm.ledger.troubles()
    assert len(expected) == documents
    work = [tenant.upload(n) for n in range(documents)] + [tenant.ask(n) for n in range(chats)]
    random.shuffle(work)
    victims = list(itertools.islice(itertools.cycle(VICTIMS + MORE_VICTIMS), pick(len(VICTIMS), 28)))
    numbers = itertools.count(documents)
    strikes = [partial(strike, figures, partial(kill, system, v), _probe(tenant, v, numbers)) for v in victims]
    events = documents * EVENTS_A_DOCUMENT + chats * EVENTS_A_CHAT
    await strike_during(tenant.ledger, events, strikes, crowd(work, CLIENTS))
    figures.more["broken_streams"] = sum(request.breaks for request in tenant.ledger)
    assert not await tenant.reckon(figures, expected)
    assert figures.clean
    await calm.close()
    await tenant.close()


def _probe(tenant: Tenant, victim: str, numbers: "itertools.count[int]") -> Callable[[], Awaitable]:
    """Something that needs the victim: a document for an ingest-worker, a question for all others."""
    number = next(n for n in numbers if n % 2 == (not victim.endswith("external")))
    return tenant.upload(number) if victim.startswith("ingest") else tenant.ask(number)
