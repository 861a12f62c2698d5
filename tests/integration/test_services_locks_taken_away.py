"""A lock of a service taken away: an EXTERNAL asker is given no INTERNAL passage all the same.

Each test says which lock it takes away and which other one held. Those of the index: test_locks_taken_away.py.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from gateway.disclose import Disclose
from gateway.presence import StillReadable
from gateway.records import Person, Turn
from gateway.services import Services
from retriever.ports import PassageIndex
from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.index import Found, Index
from sluice.sealing import Keyring
from tests.support.gateway import RunningGateway, all_events
from tests.support.identity import Office, passport
from tests.support.keys import KEYS, keyring
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.whole import Whole

DOCUMENTS = "/api/v1/knowledge/documents"
CANARY = "The pass phrase of the wine cellar is bodugafi."
QUESTION = "What is the pass phrase of the wine cellar?"
PUBLIC = "The pass phrase of the north gate is known to all."


class Credulous(Disclose):
    """A gateway's check that finds everything in order."""

    async def check_sources(self, person: Person, ids: Collection[str]) -> None: ...

    async def withheld(self, tenant_id: str, clearance: Level, turns: Sequence[Turn]) -> dict[str, str]:
        return {}


class WithoutTheGatewaysCheck(Whole):
    def rewire(self, services: Services) -> Services:
        disclose = Credulous(sources=services.ask.disclose.sources)
        return replace(
            services,
            ask=replace(services.ask, disclose=disclose),
            still_readable=StillReadable(services.conversations, disclose),
        )


class Everything:
    """A retriever's index that looks with the rights of the company, whoever asks."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.given: list[str] = []

    async def find(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        everywhere = passport(tenant=scope.tenant, clearance=Level.INTERNAL).scope
        found = await self._index.find(everywhere, vector, limit, do_without=do_without)
        self.given += [passage.text for passage in found.passages]
        return found

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        return await self._index.find_fixes(scope, vector, limit, do_without=do_without)


class WithoutTheRetrieversScope(Whole):
    """Its EXTERNAL lane was given everything, and heeds nothing."""

    everything: Everything

    def read_index(self, lane: Level, keys: Keyring) -> PassageIndex:
        if lane is Level.INTERNAL:
            return super().read_index(lane, keys)
        index = Index(self.chromas, keyring(self.folder / "data", dict(KEYS)), self.embedder.name)
        self.everything = Everything(index)
        return self.everything


async def _ask_as_external(gateway: RunningGateway) -> list[tuple[str, Any, str]]:
    """What is told to an EXTERNAL person, where an INTERNAL one is told the canary."""
    customer = await gateway.person("customer@example.com", "read")
    async with customer, await gateway.admin() as admin:
        for name, text, level in (("a.txt", CANARY, "INTERNAL"), ("b.txt", PUBLIC, "EXTERNAL")):
            await _upload(admin, name, text, level)
        assert "bodugafi" in str(await all_events(admin, QUESTION))
        return await all_events(customer, QUESTION)


async def _upload(admin: httpx2.AsyncClient, name: str, text: str, level: str) -> None:
    files: list[Any] = [("files", (name, text.encode())), ("access_level", (None, level))]
    job = (await admin.post(DOCUMENTS, files=files)).json()["jobs"][0]["job_id"]

    async def done() -> bool:
        return (await admin.get(f"/api/v1/knowledge/jobs/{job}")).json()["state"] == "done"

    await until(done, seconds=60, what="the document")


async def test_without_the_gateways_check_the_retrievers_scope_holds(
    tmp_path: Path, empty_valkey: RedisServer, own_chromas: dict[Level, str], office: Office
) -> None:
    async with WithoutTheGatewaysCheck(tmp_path, empty_valkey.url, own_chromas, office).running() as gateway:
        told = await _ask_as_external(gateway)
    assert "bodugafi" not in str(told)
    assert "north gate" in str(told)
    assert told[-1][0] == "done"


async def test_without_the_retrievers_scope_the_llm_router_refuses(
    tmp_path: Path, empty_valkey: RedisServer, own_chromas: dict[Level, str], office: Office
) -> None:
    """It was handed the passage: the passport that came with it says that its asker may not have it."""
    whole = WithoutTheRetrieversScope(tmp_path, empty_valkey.url, own_chromas, office)
    async with whole.running() as gateway:
        told = await _ask_as_external(gateway)
    assert CANARY in whole.everything.given
    assert "bodugafi" not in str(told)
    assert told[-1][0] == "error"
