"""`sluice selftest leaks` against all services, where one of them is wrong: it is seen."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.disclose import Disclose
from gateway.keys import Keys, NewKey
from gateway.models import api_keys, documents, fixes, people, sessions
from gateway.records import Document, Person, Principal, Turn
from gateway.services import Services
from gateway.submit import Submit
from retriever.ports import PassageIndex
from sluice.access import Level, Scope
from sluice.cli.selftest.run import Report, run
from sluice.cli.selftest.stage import open_stage
from sluice.embedding import Vector
from sluice.errors import PermanentError, TransientError
from sluice.index import Found, Index
from sluice.sealing import Keyring
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office, passport
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
            stage.redis_url, stage.wait_seconds = redis_url, 20
            return run(stage, lambda _: None, only)

    return await asyncio.to_thread(test)


class CarelessIndex(Index):
    """Reads with a scope of its own making, and calls all of it EXTERNAL: else the llm-router takes none of it."""

    async def find(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        raised = passport(tenant=scope.tenant, clearance=Level.INTERNAL).scope
        found = await super().find(raised, vector, limit, do_without=do_without)
        lied = [passage.model_copy(update={"access_level": Level.EXTERNAL}) for passage in found.passages]
        return replace(found, passages=lied)


class TrustingDisclose(Disclose):
    async def check_sources(self, person: Person, ids: Collection[str]) -> None:
        """Whatever a worker says is right."""

    async def withheld(self, tenant_id: str, clearance: Level, turns: Sequence[Turn]) -> dict[str, str]:
        return {}


class CarelessRetriever(Whole):
    """The EXTERNAL lane has what is the INTERNAL one's and asks for all of it; the gateway does not look again."""

    def read_index(self, lane: Level, keys: Keyring) -> PassageIndex:
        return CarelessIndex(self.chromas, self.keyring(Level.INTERNAL), self.embedder.name)

    def rewire(self, services: Services) -> Services:
        trusting = TrustingDisclose(sources=services.ask.disclose.sources)
        return replace(services, ask=replace(services.ask, disclose=trusting))


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


async def test_a_retriever_that_reads_too_much_is_seen(whole: Whole) -> None:
    careless = CarelessRetriever(whole.folder, whole.redis_url, whole.chromas, whole.office)
    async with careless.running() as gateway:
        report = await leaks(gateway, whole.redis_url, "chat")
    [record] = report.records
    assert {(sighting.asker, sighting.canary.split()[0]) for sighting in record.seen} >= {
        ("EXTERNAL reader", "INTERNAL"),
        ("EXTERNAL with every right", "INTERNAL"),
    }
    assert not report.clean


class NoKeys(Keys):
    async def make(self, *_: Any, **__: Any) -> NewKey:
        raise TransientError("no keys today")


async def test_what_was_made_for_it_is_removed_also_when_no_more_can_be_made(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    def rewire(services: Services) -> Services:
        return replace(
            services, keys=NoKeys(keys=services.api_keys, keyring=services.keys.keyring, audit=services.audit)
        )

    def test() -> None:
        with open_stage(gateway.url, OPERATOR_TOKEN, local=True):
            raise AssertionError("it was made without keys")

    async with running_gateway(gateway_settings(tmp_path, empty_valkey.url), office, rewire=rewire) as gateway:
        with pytest.raises(PermanentError, match="api/v1/keys as INTERNAL admin: Service Unavailable"):
            await asyncio.to_thread(test)
        async with gateway.adapters.database.read() as connection:
            emails = (await connection.execute(select(people.c.email).order_by(people.c.email))).scalars().all()
            sessions_ = (await connection.execute(select(sessions))).all()
    assert ([email.split("-")[0] for email in emails], sessions_) == (["admin@razorpay.com", "host", "host"], [])


async def test_what_was_made_for_it_is_removed_also_when_planting_fails(gateway: RunningGateway) -> None:
    """No worker is there, so nothing that is planted is ever found."""

    def test() -> None:
        with open_stage(gateway.url, OPERATOR_TOKEN, local=True) as stage:
            stage.wait_seconds = 0
            run(stage, lambda _: None)

    with pytest.raises(PermanentError, match="not found by who may see it"):
        await asyncio.to_thread(test)
    async with gateway.adapters.database.read() as connection:
        emails = (await connection.execute(select(people.c.email).order_by(people.c.email))).scalars().all()
        keys = (await connection.execute(select(api_keys.c.revoked_at))).scalars().all()
        left = (await connection.execute(select(documents.c.state))).scalars().all()
        fixes_ = (await connection.execute(select(fixes.c.state))).scalars().all()
        sessions_ = (await connection.execute(select(sessions))).all()
    assert [email.split("-")[0] for email in emails] == ["admin@razorpay.com", "host", "host"]
    assert (len(keys), all(keys)) == (2, True)
    assert (len(left), set(left)) == (4, {"deleting"})
    assert (len(fixes_), set(fixes_)) == (4, {"withdrawing"})
    assert sessions_ == []


async def test_a_route_without_its_check_is_seen(whole: Whole) -> None:
    """Titles tell of a document, and a call that changes it goes through."""
    careless = CarelessGateway(whole.folder, whole.redis_url, whole.chromas, whole.office)
    async with careless.running() as gateway:
        report = await leaks(gateway, whole.redis_url, "documents")
    [record] = report.records
    assert {sighting.asker for sighting in record.seen} >= {"EXTERNAL reader", "EXTERNAL API key"}
    assert {trespass.call.split()[0] for trespass in record.trespasses} >= {"GET", "DELETE"}
    assert not report.clean
