"""Servers that the tests share: started once, on free ports, stopped at the end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.access import Level
from tests.support.identity import Office
from tests.support.servers import ChromaServer, RedisServer, chroma_server, redis_server, running, valkey_server


def needs(what: str, found: object) -> None:
    """Skips where the machine lacks a program; where everything is required (`.ci/run`) it fails instead."""
    if found:
        return
    if os.environ.get("SLUICE_TEST_REQUIRE_ALL"):
        pytest.fail(f"{what} is not installed on this machine")
    pytest.skip(f"{what} is not installed on this machine")


@pytest.fixture(scope="session", params=["valkey", "redis"])
def any_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Valkey 9 and Redis 7 in turn."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    server = valkey_server(folder) if request.param == "valkey" else redis_server(folder)
    needs("redis-server", server)
    assert server is not None
    with running(server):
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(valkey_server(tmp_path_factory.mktemp("valkey"))) as server:
        yield server


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with running(chroma_server(tmp_path_factory.mktemp("chroma"))) as server:
        yield server


@pytest.fixture
def own_chromas(tmp_path: Path) -> Iterator[dict[Level, str]]:
    """The addresses of a server a level, of a test whose rows are sealed with keys of its own."""
    with running(chroma_server(tmp_path / "e")) as external, running(chroma_server(tmp_path / "i")) as internal:
        yield {Level.EXTERNAL: external.url, Level.INTERNAL: internal.url}


@pytest.fixture(scope="session")
def office() -> Office:
    return Office()
