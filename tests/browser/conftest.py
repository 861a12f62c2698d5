"""A browser and the front end, each for all tests of a file."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.journey import CHROMIUM, chromium
from tests.conftest import needs
from tests.support.page import Stage, running_page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs("chromium", CHROMIUM.exists())
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_page(tmp_path_factory.mktemp("page")) as stage:
        yield stage
