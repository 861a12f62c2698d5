"""`sluice selftest leaks` against all services, where one of them is wrong: it is seen."""

import asyncio
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.records import Document, Principal
from gateway.services import Services
from gateway.submit import Submit
from sluice.access import Level
from sluice.cli.selftest.run import Report, run
from sluice.cli.selftest.stage import open_stage
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway
from tests.support.identity import Office
from tests.support.servers import ChromaServer, RedisServer, chroma_server, running
from tests.support.whole import Whole


@pytest.fixture(scope="module")
def chromas(tmp_path_factory: pytest.TempPathFactory, chroma: ChromaServer) -> Iterator[dict[Level, str]]:
    with running(chroma_server(tmp_path_factory.mktemp("internal"))) as internal:
        yield {Level.EXTERNAL: chroma.url, Level.INTERNAL: internal.url}


@pytest.fixture
def whole(tmp_path: Path, empty_valkey: RedisServer, chromas: dict[Level, str], office: Office) -> Whole:
    return Whole(tmp_path, empty_valkey.url, chromas, office)


async def leaks(gateway: RunningGateway, redis_url: str, *only: str) -> Report:
    def test() -> Report:
        with open_stage(gateway.url, OPERATOR_TOKEN, local=True) as stage:
            stage.redis_url = redis_url
            return run(stage, lambda _: None, only)

    return await asyncio.to_thread(test)


class CarelessSubmit(Submit):
    async def find(self, principal: Principal, document_id: str) -> Document:
        """Without a look at the level."""
        document = await self.catalog.document(principal.tenant.id, document_id)
        assert document
        return document


class CarelessGateway(Whole):
    def rewire(self, services: Services) -> Services:
        submit = {field.name: getattr(services.submit, field.name) for field in fields(services.submit)}
        return replace(services, submit=CarelessSubmit(**submit))


async def test_a_route_without_its_check_is_seen(whole: Whole) -> None:
    """Titles tell of a document, and a call that changes it goes through."""
    careless = CarelessGateway(whole.folder, whole.redis_url, whole.chromas, whole.office)
    async with careless.running() as gateway:
        report = await leaks(gateway, whole.redis_url, "documents")
    [record] = report.records
    assert {sighting.asker for sighting in record.seen} >= {"EXTERNAL reader", "EXTERNAL API key"}
    assert {trespass.call.split()[0] for trespass in record.trespasses} >= {"GET", "DELETE"}
    assert not report.clean
