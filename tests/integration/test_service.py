"""The outside of a worker: when it is ready, and when it must not start."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import uvicorn

from sluice.broker import Broker, Delivery
from sluice.errors import ConfigurationError, TransientError
from sluice.messages import LogsSearched
from sluice.service import Check, create_worker_app
from sluice.settings import CommonSettings
from tests.support.identity import Office
from tests.support.ports import free_port
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until


class Worker:
    def __init__(self, redis_url: str, office: Office, check: Check) -> None:
        self.port = free_port()
        settings = CommonSettings(redis_url=redis_url, port=self.port)
        self.broker = Broker(settings, service="worker", verifier=office.verifier, keyring=office.keyring)
        app = create_worker_app(self.broker, checks=[check])
        self.server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_config=None))

    async def get(self, path: str) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.get(f"http://127.0.0.1:{self.port}{path}")


async def fine() -> None:
    """Nothing to complain of."""


async def test_a_worker_is_ready_while_what_it_needs_answers(
    office: Office, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(valkey_server(tmp_path_factory.mktemp("valkey"))) as valkey:
        worker = Worker(valkey.url, office, fine)
        handled: list[str] = []
        worker.broker.consume(LogsSearched, _note(handled))
        serving = asyncio.create_task(worker.server.serve())
        await until(lambda: _status(worker, "/readyz", 200))
        assert (await worker.get("/healthz")).json() == {"status": "alive"}
        assert "sluice_messages" in (await worker.get("/metrics")).text
        valkey.kill()
        await until(lambda: _status(worker, "/readyz", 503))
        assert (await worker.get("/readyz")).json()["reason"] == "Redis does not answer"
        assert (await worker.get("/healthz")).status_code == 200
        valkey.start()
        await until(lambda: _status(worker, "/readyz", 200))
        await worker.broker.publish(_search(office, "after"))
        await until(lambda: handled == ["after"], what="a message handled after the restart")
        worker.server.should_exit = True
        await serving


def _note(handled: list[str]) -> Any:
    async def handler(message: LogsSearched, _: Delivery) -> None:
        handled.append(message.query)

    return handler


def _search(office: Office, query: str) -> LogsSearched:
    now = datetime.now(UTC)
    return office.message(LogsSearched, query=query, start=now, end=now)


async def test_what_is_away_at_the_start_is_waited_for(valkey: RedisServer, office: Office) -> None:
    async def away() -> None:
        raise TransientError("the index does not answer")

    worker = Worker(valkey.url, office, away)
    serving = asyncio.create_task(worker.server.serve())
    response = await until(lambda: _status(worker, "/readyz", 503))
    assert response.json()["reason"] == "the index does not answer"
    worker.server.should_exit = True
    await serving


async def test_a_wrong_setting_that_shows_only_at_the_start_ends_the_process(
    valkey: RedisServer, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the collections were made with another embedding model."""

    async def wrong() -> None:
        raise ConfigurationError("made with another model: set SLUICE_EMBEDDING_MODEL back")

    worker = Worker(valkey.url, office, wrong)
    with pytest.raises(SystemExit) as ended:
        await worker.server.serve()
    assert ended.value.code != 0
    assert "service.misconfigured" in caplog.text


async def _status(worker: Worker, path: str, status: int) -> httpx2.Response | None:
    response = await worker.get(path)
    return response if response.status_code == status else None
