"""The whole system, started as an operator starts it, on free ports, with the providers played on loopback."""

from collections.abc import Iterator

import pytest

from tests.providers import RemoteScript, fails
from tests.support import system as running
from tests.support.system import PASSWORD, RIGHTS, People, System, people_of

__all__ = ["PASSWORD", "RIGHTS", "People", "System", "Vendors", "people_of"]
MODELS = ("gemini-2.5-pro", "gemini-2.5-flash", "gpt-4o")


class Vendors:
    """The three models' script, in a process of its own."""

    def __init__(self, script: RemoteScript) -> None:
        self.script = script

    def fail(self, *models: str) -> None:
        for model in models:
            self.script.behave(model, fails(429))

    def fail_all(self) -> None:
        """Only the extractive answer is left."""
        self.fail(*MODELS)


@pytest.fixture(scope="session")
def vendor_process() -> Iterator[RemoteScript]:
    with running.vendor_process() as script:
        yield script


@pytest.fixture
def vendors(vendor_process: RemoteScript) -> Vendors:
    vendor_process.reset()
    return Vendors(vendor_process)


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, vendor_process: RemoteScript) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    system = System(running.settings(folder, vendor_process.base_url), folder)
    system.start()
    yield system
    system.stop()


@pytest.fixture
def people(system: System) -> People:
    return people_of(system)
