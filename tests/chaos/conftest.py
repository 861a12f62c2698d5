"""What the scenarios share: the running system, its figures, and how much is done in a short and in a long run.

`SLUICE_CHAOS_LONG=1` gives the full numbers, `SLUICE_CHAOS_SCALE` (0 to 1) what lies between; `SLUICE_CHAOS_SEED`
repeats a run's random moments.
"""

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.report import REPORT, Figures, Report
from tests.providers import RemoteScript
from tests.support import system as whole
from tests.support.system import System

LONG = bool(os.environ.get("SLUICE_CHAOS_LONG"))
SCALE = float(os.environ.get("SLUICE_CHAOS_SCALE", "1")) if LONG else 0.0
LONG_TIMEOUT = 2 * 3600
Pick = Callable[[int, int], int]


def pytest_configure(config: pytest.Config) -> None:
    if REPORT not in config.stash:
        config.pluginmanager.register(Report())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long run takes as long as it takes."""
    for item in items:
        if LONG and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT), append=False)


@pytest.fixture(scope="session")
def pick() -> Pick:
    """pick(short, long): how many there are in this run."""
    return lambda short, long: round(short + (long - short) * SCALE)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """The scenario's figures, under the test's name."""
    report = request.config.stash[REPORT]
    name = request.node.name.removeprefix("test_").replace("_", " ")
    with report.scenario(name) as figures:
        yield figures


@pytest.fixture(autouse=True)
def seeded() -> None:
    seed = os.environ.get("SLUICE_CHAOS_SEED") or secrets.token_hex(4)
    print(f"SLUICE_CHAOS_SEED={seed}")
    random.seed(seed)


@pytest.fixture(scope="package")
def models() -> Iterator[RemoteScript]:
    with whole.vendor_process() as script:
        yield script


@pytest.fixture(scope="package")
def chaos_settings(pick: Pick) -> dict[str, Any]:
    """Set otherwise than by default: a short run waits less for leases and for the reconciler, and what Chroma makes of
    a file that was torn is kept small."""
    return {
        "SLUICE_LEASE_SECONDS": str(pick(5, 15)),
        "SLUICE_RECONCILE_SECONDS": str(pick(5, 60)),
        "SLUICE_RESUME_GRACE_SECONDS": "30",
        "SLUICE_CHROMA_FILE_BYTES": str(2**29),
    }


@pytest.fixture(scope="package")
def system(
    tmp_path_factory: pytest.TempPathFactory, models: RemoteScript, chaos_settings: dict[str, str]
) -> Iterator[System]:
    """The whole system, for all scenarios of the session: it stands again at the end of each."""
    folder = tmp_path_factory.mktemp("chaos")
    system = System(whole.settings(folder, models.base_url) | chaos_settings, folder)
    system.start()
    yield system
    system.stop()
