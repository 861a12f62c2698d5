"""Each lock of the index taken away in turn: an INTERNAL row in the wrong place is still given to no EXTERNAL asker.

A bug has put the row into the EXTERNAL collection, where separation alone does not help any more. Each test says which
lock it takes away and which other one held.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from retriever.retrieve import Retrieve
from sluice.access import Level, Scope
from sluice.errors import AccessDeniedError
from sluice.index import AccessViolationError, Index, IndexedChunk
from sluice.index.copies import Copy, Hit
from sluice.index.rows import Sealer
from sluice.index.server import Server
from sluice.messages import Passage
from sluice.sealing import KeyFile
from tests.support.identity import passport
from tests.support.index import client
from tests.support.keys import KEYS, EveryTenant
from tests.support.servers import ChromaServer, chroma_server, running
from tests.support.whole import HashEmbedder

INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL
CANARY = "The pass phrase of the wine cellar is bodugafi."
QUESTION = "What is the pass phrase of the wine cellar?"
PUBLIC = "The pass phrase of the north gate is known to all."
EMBEDDER = HashEmbedder()


class WithoutFilter(Index):
    """No `where`: the nearest rows, whatever they are."""

    async def _hits(self, server: Server, copy: Copy, vector: Any, limit: int) -> list[Hit]:
        return await copy.rows.query(vector, limit, None)  # type: ignore[arg-type]


class WithoutAssertion(Sealer):
    """A row is taken at its word, at the level that it names."""

    def passage(self, scope: Scope, level: Level, hit: Hit) -> Passage:
        own = Level(str(hit.metadata["access_level"]))
        return super().passage(passport(tenant=scope.tenant, clearance=INTERNAL).scope, own, hit)


class WithoutSeal(EveryTenant):
    """Text is stored as it is."""

    def seal(self, plaintext: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        return plaintext

    def open(self, sealed: bytes, *, tenant: str, level: Level, row_id: str) -> bytes:
        return sealed


@dataclass(frozen=True)
class Taken:
    """An EXTERNAL retriever from which these locks were taken."""

    index: type[Index] = Index
    sealer: type[Sealer] = Sealer
    keyring: type[EveryTenant] = EveryTenant
    levels: tuple[Level, ...] = (EXTERNAL,)
    """The servers and keys that it was given."""


@dataclass(frozen=True)
class Shelf:
    """A tenant's EXTERNAL collection, with a row of its own and an INTERNAL one."""

    chromas: dict[Level, ChromaServer]
    folder: Path
    tenant: str

    def keys(self, kind: type[EveryTenant], levels: Sequence[Level]) -> EveryTenant:
        return kind({level: [KeyFile(KEYS[level])] for level in levels}, self.folder)

    def scope(self, clearance: Level) -> Scope:
        return passport(tenant=self.tenant, clearance=clearance).scope

    async def fill(self, kind: type[EveryTenant]) -> None:
        keys = self.keys(kind, tuple(Level))
        everywhere = Index({level: server.url for level, server in self.chromas.items()}, keys, EMBEDDER.name)
        await everywhere.upsert(self.scope(INTERNAL), EXTERNAL, [await chunk("public", PUBLIC)])
        [row] = await Sealer(keys).chunks(self.scope(INTERNAL), INTERNAL, [await chunk("canary", CANARY)])
        client(self.chromas[EXTERNAL].port).get_collection(f"{self.tenant}.external.chunks").upsert(
            ids=[row.id], embeddings=[list(row.vector)], metadatas=[row.metadata], documents=[row.sealed]
        )

    async def ask(self, taken: Taken) -> list[str]:
        """What an EXTERNAL asker is given."""
        await self.fill(taken.keyring)
        keys = self.keys(taken.keyring, taken.levels)
        index = taken.index({level: self.chromas[level].url for level in taken.levels}, keys, EMBEDDER.name)
        index._sealer = taken.sealer(keys)
        found = await Retrieve(index, EMBEDDER, 6, 0.75)(QUESTION, self.scope(EXTERNAL))
        return [passage.text for passage in found.passages]


async def chunk(name: str, text: str) -> IndexedChunk:
    [vector] = await EMBEDDER.embed_documents([text])
    return IndexedChunk(
        chunk_id=name,
        document_id=name,
        generation=1,
        ordinal=0,
        title="",
        text=text,
        page=None,
        offset=0,
        vector=vector,
    )


@pytest.fixture(scope="module")
def chromas(tmp_path_factory: pytest.TempPathFactory, chroma: ChromaServer) -> Iterator[dict[Level, ChromaServer]]:
    with running(chroma_server(tmp_path_factory.mktemp("internal"))) as internal:
        yield {EXTERNAL: chroma, INTERNAL: internal}


@pytest.fixture
def shelf(chromas: dict[Level, ChromaServer], tmp_path: Path) -> Shelf:
    return Shelf(chromas, tmp_path, f"locks-{os.urandom(4).hex()}")


HELD_BY_THE_FILTER = [
    pytest.param(Taken(), id="nothing-taken"),
    pytest.param(Taken(sealer=WithoutAssertion), id="the-assertion-taken"),
    pytest.param(Taken(keyring=WithoutSeal), id="the-seal-taken"),
    pytest.param(Taken(keyring=WithoutSeal, sealer=WithoutAssertion), id="the-seal-and-the-assertion-taken"),
    pytest.param(Taken(levels=(EXTERNAL, INTERNAL)), id="the-lane-taken"),
]


@pytest.mark.parametrize("taken", HELD_BY_THE_FILTER)
async def test_the_filter_holds(shelf: Shelf, taken: Taken) -> None:
    """The row says INTERNAL, and is not asked for."""
    assert await shelf.ask(taken) == [PUBLIC]


@pytest.mark.parametrize("keyring", [EveryTenant, WithoutSeal])
async def test_without_the_filter_the_assertion_of_each_row_holds(shelf: Shelf, keyring: type[EveryTenant]) -> None:
    """The row comes back, is compared with the scope, and stops the answer: also where it is not sealed."""
    before = REGISTRY.get_sample_value("sluice_access_violations_total") or 0
    with pytest.raises(AccessViolationError) as refused:
        await shelf.ask(Taken(index=WithoutFilter, keyring=keyring))
    assert CANARY not in str(refused.value)
    assert REGISTRY.get_sample_value("sluice_access_violations_total") == before + 1


async def test_without_filter_and_assertion_the_seal_holds(shelf: Shelf) -> None:
    """The EXTERNAL lane has no key for what is INTERNAL."""
    with pytest.raises(AccessDeniedError) as refused:
        await shelf.ask(Taken(index=WithoutFilter, sealer=WithoutAssertion))
    assert CANARY not in str(refused.value)


async def test_the_canary_is_there_where_all_three_are_taken(shelf: Shelf) -> None:
    """Else the tests above would show nothing."""
    taken = Taken(index=WithoutFilter, sealer=WithoutAssertion, keyring=WithoutSeal)
    assert CANARY in await shelf.ask(taken)
