"""Writing and deleting while a collection is made anew, on a real Chroma: nothing comes back, nothing is left out."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ingest_worker.delete import Delete
from ingest_worker.generations import Generations
from ingest_worker.rebuild import Rebuild, Verify
from ingest_worker.stored_chunks import complete_path, encode_complete, encode_part, part_path
from ingest_worker.teach import Teach, Withdraw
from sluice.access import Level, Scope
from sluice.blobs import BlobPath, BlobStore
from sluice.index import BeingRestoredError, Index, IndexedChunk
from sluice.messages import DocumentReference, Fix, IndexPart
from sluice.sealing import Keyring
from tests.support.identity import passport
from tests.support.index import copies, rows
from tests.support.keys import keyring
from tests.support.servers import ChromaServer
from tests.support.waiting import until

EXTERNAL = Level.EXTERNAL
MODEL = "local/all-MiniLM-L6-v2"  # nothing is embedded, but other tests look at the same server
CHUNKS, FIXES = (IndexPart(access_level=EXTERNAL, kind=kind) for kind in ("chunks", "fixes"))
AtBlob = Callable[[BlobPath], Awaitable[None]]


async def nothing(_: Any) -> None: ...


class Interrupted(BlobStore):
    """Does something else when a blob was read, or is about to be deleted, as another worker would."""

    after_reading: AtBlob = staticmethod(nothing)
    before_deleting: AtBlob = staticmethod(nothing)

    async def delete(self, scope: Scope, level: Level, prefix: BlobPath) -> None:
        await self.before_deleting(prefix)
        await super().delete(scope, level, prefix)

    async def get(self, scope: Scope, level: Level, path: BlobPath) -> bytes:
        data = await super().get(scope, level, path)
        await self.after_reading(path)
        return data


class FixEmbedder:
    name = MODEL

    async def embed_documents(self, texts: Any) -> Any:
        raise AssertionError("nothing is embedded again")

    async def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


@dataclass
class Bench:
    """One tenant's blobs and index, and the use cases on them."""

    chroma: ChromaServer
    blobs: Interrupted
    index: Index
    tenant: str
    keyring: Keyring

    @property
    def scope(self) -> Scope:
        return passport(tenant=self.tenant).scope

    def another_index(self) -> Index:
        """Another process's, with the same keys."""
        return Index({EXTERNAL: self.chroma.url}, self.keyring, MODEL)

    async def ingest(self, document_id: str, generation: int = 1) -> DocumentReference:
        """Does as the worker does once all is embedded."""
        document = DocumentReference(
            document_id=document_id, generation=generation, access_level=EXTERNAL, title=document_id
        )
        await Generations(self.blobs).begin(document, self.scope)
        chunk = chunk_of(document_id, generation)
        await self.blobs.put(self.scope, EXTERNAL, part_path(document_id, generation, 0), encode_part(MODEL, [chunk]))
        await self.blobs.put(self.scope, EXTERNAL, complete_path(document_id, generation), encode_complete(1))
        await self.index.upsert(self.scope, EXTERNAL, [chunk])
        return document

    async def delete(self, document: DocumentReference) -> None:
        await Delete(blobs=self.blobs, index=self.index)(document, self.scope)

    async def rebuild(self, part: IndexPart = CHUNKS) -> None:
        await Rebuild(blobs=self.blobs, index=self.index, model=MODEL)(part, self.scope, nothing)

    async def differences(self, part: IndexPart = CHUNKS) -> tuple[int, int]:
        compared = await Verify(blobs=self.blobs, index=self.index, model=MODEL)(part, self.scope)
        return compared.missing, compared.extra

    def rows(self, kind: str = "chunks") -> dict[str, Any]:
        return rows(self.chroma.port, self.prefix(kind))

    def prefix(self, kind: str = "chunks") -> str:
        return f"{self.tenant}.external.{kind}"

    async def condemn(self) -> IndexPart:
        """As the watch does with a copy that cannot be read; gives what it asks to have made anew."""
        upkeep = self.index.upkeep(EXTERNAL)
        [copy] = [c.active for c in await upkeep.collections() if c.active and str(c.active) == self.prefix()]
        await upkeep.condemn(copy)
        [damaged] = [c.damaged for c in await upkeep.collections() if c.damaged and str(c.damaged) == self.prefix()]
        return CHUNKS.model_copy(update={"incident": damaged.incident})


def chunk_of(document_id: str, generation: int) -> IndexedChunk:
    return IndexedChunk(
        chunk_id=f"{document_id}-{generation}",
        document_id=document_id,
        generation=generation,
        ordinal=0,
        title=document_id,
        text=f"{document_id} {generation}",
        page=None,
        offset=0,
        vector=(1.0, hashlib.sha256(document_id.encode()).digest()[0] / 256),
    )


@pytest.fixture
async def bench(chroma: ChromaServer, tmp_path: Path) -> Bench:
    keys, tenant = keyring(tmp_path), f"tenant-{os.urandom(4).hex()}"
    index = Index({EXTERNAL: chroma.url}, keys, MODEL)
    return Bench(chroma, Interrupted(tmp_path / "blobs", keys), index, tenant, keys)


async def test_what_is_deleted_between_the_reading_of_its_blob_and_the_writing_of_its_row_stays_deleted(
    bench: Bench,
) -> None:
    document = await bench.ingest("gone")
    await bench.ingest("stays")

    async def delete(path: BlobPath) -> None:
        if path == part_path("gone", 1, 0):
            bench.blobs.after_reading = nothing
            await bench.delete(document)

    bench.blobs.after_reading = delete
    await bench.rebuild()
    assert list(bench.rows()) == ["stays-1"]


async def test_a_version_that_is_replaced_during_the_rebuilding_does_not_come_back(bench: Bench) -> None:
    await bench.ingest("guide")

    async def replace(path: BlobPath) -> None:
        if path == part_path("guide", 1, 0):
            bench.blobs.after_reading = nothing
            document = await bench.ingest("guide", 2)
            await bench.delete(document.model_copy(update={"generation": 1}))

    bench.blobs.after_reading = replace
    await bench.rebuild()
    assert list(bench.rows()) == ["guide-2"]


async def test_what_is_rebuilt_in_the_middle_of_a_deletion_stays_deleted(bench: Bench) -> None:
    """The blobs go first: whoever still reads them writes rows that the deletion comes to afterwards."""
    document = await bench.ingest("gone")
    reached, go_on = asyncio.Event(), asyncio.Event()
    deletions: list[asyncio.Task[None]] = []

    async def wait(_: BlobPath) -> None:
        reached.set()
        await go_on.wait()

    async def delete(path: BlobPath) -> None:
        if path == part_path("gone", 1, 0):
            deletions.append(asyncio.create_task(bench.delete(document)))
            await reached.wait()

    bench.blobs.before_deleting, bench.blobs.after_reading = wait, delete
    await bench.rebuild()
    go_on.set()
    await asyncio.gather(*deletions)
    assert bench.rows() == {}


async def test_what_comes_in_during_the_rebuilding_stands_in_the_new_copy_once(bench: Bench) -> None:
    await bench.ingest("early")

    async def ingest(path: BlobPath) -> None:
        if path == part_path("early", 1, 0):
            bench.blobs.after_reading = nothing
            other_worker = replace(bench, index=bench.another_index())
            await other_worker.ingest("late")

    bench.blobs.after_reading = ingest
    await bench.rebuild()
    assert sorted(bench.rows()) == ["early-1", "late-1"]
    assert copies(bench.chroma.port, bench.prefix()) == [f"{bench.prefix()}.1"]
    assert await bench.differences() == (0, 0)


async def test_a_writer_that_knows_only_the_old_copy_writes_into_the_new_one_too(bench: Bench) -> None:
    """The copy was begun after the writer had looked: it looks again when it has written."""
    await bench.ingest("early")
    writer = bench.another_index()
    await writer.upsert(bench.scope, EXTERNAL, [chunk_of("early", 1)])
    building = await bench.index.rebuild(bench.scope, EXTERNAL, "chunks", incident=None)
    assert building is not None
    await writer.upsert(bench.scope, EXTERNAL, [chunk_of("early", 1)])
    assert len(bench.rows()["early-1"]) == 2
    await writer.delete_document(bench.scope, EXTERNAL, "early")
    assert bench.rows() == {}


async def test_a_rebuilding_that_was_cut_off_begins_again_and_leaves_one_copy(bench: Bench) -> None:
    """Also when nothing is complete: what a cut-off attempt wrote of a document deleted since does not stay."""
    document = await bench.ingest("gone")
    await bench.ingest("stays")
    part = await bench.condemn()
    first = await bench.index.rebuild(bench.scope, EXTERNAL, "chunks", incident=part.incident)
    assert first is not None
    await bench.delete(document)
    await first.add([chunk_of("gone", 1)])  # it was read before; the worker dies here
    await bench.rebuild(part)
    assert list(bench.rows()) == ["stays-1"]
    assert len(copies(bench.chroma.port, bench.prefix())) == 1
    await bench.rebuild(part)  # delivered again
    assert list(bench.rows()) == ["stays-1"]


async def test_a_copy_that_is_being_made_is_never_read(bench: Bench) -> None:
    await bench.ingest("early")
    part = await bench.condemn()
    building = await bench.index.rebuild(bench.scope, EXTERNAL, "chunks", incident=part.incident)
    assert building is not None
    await building.add([chunk_of("early", 1)])
    reader = bench.another_index()
    found = await reader.find(bench.scope, [1.0, 0.0], 3)
    assert (found.passages, found.restoring) == ([], True)
    with pytest.raises(BeingRestoredError):
        await reader.ids(bench.scope, EXTERNAL, "chunks")
    await building.finish()
    found = await bench.another_index().find(bench.scope, [1.0, 0.0], 3)
    assert ([p.chunk_id for p in found.passages], found.restoring) == (["early-1"], False)


async def test_a_hint_alone_changes_nothing_of_a_sound_collection(bench: Bench) -> None:
    await bench.ingest("early")
    await bench.rebuild(CHUNKS.model_copy(update={"incident": "made-up"}))
    assert copies(bench.chroma.port, bench.prefix()) == [bench.prefix()]


async def test_a_made_up_hint_does_not_disturb_the_copy_that_is_being_made(bench: Bench) -> None:
    await bench.ingest("early")
    part = await bench.condemn()
    building = await bench.index.rebuild(bench.scope, EXTERNAL, "chunks", incident=part.incident)
    assert building is not None
    await bench.rebuild(CHUNKS.model_copy(update={"incident": "made-up"}))
    await building.add([chunk_of("early", 1)])
    await building.finish()
    assert list(bench.rows()) == ["early-1"]


async def test_a_deletion_waits_while_a_copy_is_damaged(bench: Bench) -> None:
    """It could be found in that copy: it is not told as done before that is gone."""
    document = await bench.ingest("gone")
    part = await bench.condemn()
    with pytest.raises(BeingRestoredError):
        await bench.delete(document)
    await bench.rebuild(part)
    await bench.delete(document)
    assert bench.rows() == {}


async def test_an_attempt_that_never_kept_all_its_chunks_is_not_restored(bench: Bench) -> None:
    await bench.ingest("guide")
    failed = chunk_of("guide", 2)
    await bench.blobs.put(bench.scope, EXTERNAL, part_path("guide", 2, 0), encode_part(MODEL, [failed]))
    await bench.rebuild()
    assert list(bench.rows()) == ["guide-1"]


async def test_a_fix_that_is_withdrawn_during_the_rebuilding_stays_withdrawn(bench: Bench) -> None:
    fixes = [Fix(fix_id=f"fix-{n}", question="Q", answer="A", access_level=EXTERNAL) for n in range(2)]
    for fix in fixes:
        await Teach(blobs=bench.blobs, index=bench.index, embedder=FixEmbedder())(fix, bench.scope)

    async def withdraw(path: BlobPath) -> None:
        if path == ("fixes", "fix-0", "taught"):
            bench.blobs.after_reading = nothing
            await Withdraw(blobs=bench.blobs, index=bench.index)(fixes[0], bench.scope)

    bench.blobs.after_reading = withdraw
    await bench.rebuild(FIXES)
    assert list(bench.rows("fixes")) == ["fix-1"]
    assert await bench.differences(FIXES) == (0, 0)


async def test_many_writers_and_deleters_at_once_leave_what_the_blob_store_holds(bench: Bench) -> None:
    documents = [await bench.ingest(f"d{n}") for n in range(12)]

    async def work(n: int) -> None:
        if n % 3 == 0:
            await until(lambda: _done(bench.delete(documents[n])), seconds=30, what="the deletion")
        else:
            await bench.ingest(f"new{n}")

    await asyncio.gather(bench.rebuild(), *(work(n) for n in range(12)))
    assert await bench.differences() == (0, 0)
    stored = bench.rows()
    assert not [n for n in range(0, 12, 3) if f"d{n}-1" in stored]
    assert [row_id for row_id, vectors in stored.items() if len(vectors) > 1] == []


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True
