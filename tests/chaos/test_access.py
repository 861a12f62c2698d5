"""Random people, documents and changes: what anybody is given always lies within the model of who may see what."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sluice.access import Level
from tests.chaos.conftest import Pick
from tests.chaos.report import Figures
from tests.support.access_model import AccessMachine, Running, in_a_thread
from tests.support.identity import Office
from tests.support.servers import ChromaServer, chroma_server, running, valkey_server
from tests.support.whole import Whole


@pytest.fixture
def system_in_a_thread(tmp_path: Path, chroma: ChromaServer, office: Office) -> Iterator[Running]:
    with (
        running(valkey_server(tmp_path / "valkey")) as valkey,
        running(chroma_server(tmp_path / "internal")) as internal,
        in_a_thread(
            Whole(tmp_path / "state", valkey.url, {Level.EXTERNAL: chroma.url, Level.INTERNAL: internal.url}, office)
        ) as gateway,
    ):
        yield gateway


def test_what_is_given_lies_within_the_model(system_in_a_thread: Running, pick: Pick, figures: Figures) -> None:
    AccessMachine.running, AccessMachine.steps, AccessMachine.found = system_in_a_thread, 0, 0
    run_state_machine_as_test(
        AccessMachine,
        settings=settings(
            max_examples=pick(2, 120),
            stateful_step_count=pick(25, 100),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    figures.requests, figures.more = AccessMachine.steps, {"found": AccessMachine.found}
    assert AccessMachine.steps >= pick(20, 10_000)
    assert AccessMachine.found >= pick(3, 300), "else nobody was given anything"
