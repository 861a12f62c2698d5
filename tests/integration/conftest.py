"""A gateway of its own for each test, on the session's Valkey."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from pydantic import SecretStr

from sluice.messages import (
    BulkDocumentSubmitted,
    DocumentDeleted,
    DocumentSubmitted,
    FixTaught,
    FixWithdrawn,
    LogsSearched,
    QuestionAsked,
    QuestionFollowedUp,
)
from tests.conftest import needs
from tests.support.gateway import RunningGateway, Workers, create_database, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.postgres import postgres_programs, running_postgres
from tests.support.servers import RedisServer


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    programs = postgres_programs()
    needs("PostgreSQL's server", programs)
    assert programs is not None
    with running_postgres(programs) as url:
        yield url


@pytest.fixture
def empty_valkey(valkey: RedisServer) -> RedisServer:
    redis.Redis(port=valkey.port).flushall()
    return valkey


@pytest.fixture
async def gateway(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[RunningGateway]:
    async with running_gateway(gateway_settings(tmp_path, empty_valkey.url), office) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty SQLite, and an empty database in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/data/sluice.db"
    return await create_database(request.getfixturevalue("postgres"), f"sluice_{uuid4().hex}")


@pytest.fixture
async def any_gateway(
    any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> AsyncGenerator[RunningGateway]:
    """A gateway on SQLite, and one on PostgreSQL."""
    settings = gateway_settings(tmp_path, empty_valkey.url, database_url=SecretStr(any_sql_url))
    async with running_gateway(settings, office) as running:
        yield running


@pytest.fixture
async def workers(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[Workers]:
    """The other side of the gateway's streams."""
    playing = Workers(gateway_settings(tmp_path, empty_valkey.url), office)
    playing.listen(
        QuestionAsked,
        QuestionFollowedUp,
        DocumentSubmitted,
        BulkDocumentSubmitted,
        DocumentDeleted,
        FixTaught,
        FixWithdrawn,
        LogsSearched,
    )
    await playing.broker.start()
    yield playing
    await playing.broker.stop()
