"""The use cases: a collection made anew from the blob store, and compared with it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ingest_worker.ports import Blobs, RebuiltIndex, UnfinishedCopy
from ingest_worker.stock import Edition, Stock
from sluice.access import Scope
from sluice.embedding import Vector
from sluice.index import IndexedChunk
from sluice.messages import Fix, IndexPart

_BATCH = 1000
Report = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Comparison:
    """How many rows there are, and where index and blob store differ."""

    rows: int
    missing: int = 0
    extra: int = 0
    unusable: int = 0


class Rebuild:
    """Nothing is embedded again: the vectors stand beside the chunks.

    Whoever writes or deletes meanwhile does so in the new copy too, from when it was begun, and that is before the
    blobs are read. What is deleted between the reading of its blob and the writing of its row is looked for after the
    writing: either its blob is gone by then, and the row is taken out here, or its deletion from the index comes later.
    """

    def __init__(self, *, blobs: Blobs, index: RebuiltIndex, model: str) -> None:
        self._blobs = blobs
        self._index = index
        self._model = model

    async def __call__(self, part: IndexPart, scope: Scope, report: Report) -> Comparison:
        """Rebuilds what is damaged; without an incident also what is sound. Begins anew when it was cut off.

        Raises:
            AccessDeniedError: the level lies above the scope.
            TransientError: the index is away, or this copy is damaged too.
        """
        level = scope.at(part.access_level)
        copy = await self._index.rebuild(scope, level, part.kind, incident=part.incident)
        if copy is None:
            return Comparison(0)
        stock = Stock(self._blobs, scope, level, self._model)
        fill = _fill_chunks if part.kind == "chunks" else _fill_fixes
        rows = await fill(copy, stock, report)
        await copy.finish()
        return Comparison(rows, unusable=stock.unusable)


class Verify:
    def __init__(self, *, blobs: Blobs, index: RebuiltIndex, model: str) -> None:
        self._blobs = blobs
        self._index = index
        self._model = model

    async def __call__(self, part: IndexPart, scope: Scope) -> Comparison:
        """Compares ids. What is being written at the moment may count as missing or as extra.

        Raises:
            AccessDeniedError: the level lies above the scope.
            TransientError: the index is away, or this collection is being restored.
        """
        level = scope.at(part.access_level)
        stock = Stock(self._blobs, scope, level, self._model)
        if part.kind == "chunks":
            expected = {chunk.chunk_id async for _, chunks in stock.parts() for chunk in chunks}
        else:
            expected = {fix.fix_id async for fix, _ in stock.fixes()}
        found = set(await self._index.ids(scope, level, part.kind))
        return Comparison(len(found), len(expected - found), len(found - expected), stock.unusable)


async def _fill_chunks(copy: UnfinishedCopy, stock: Stock, report: Report) -> int:
    rows, batch, editions = 0, list[IndexedChunk](), set[Edition]()

    async def flush() -> None:
        if batch:
            await copy.add(batch)
        for edition in editions:
            if not await stock.stands(edition):
                await copy.drop(edition.document_id, edition.generation)
        batch.clear()
        editions.clear()

    async for edition, chunks in stock.parts():
        batch += chunks
        editions.add(edition)
        rows += len(chunks)
        if len(batch) >= _BATCH:
            await flush()
            await report(rows)
    await flush()
    return rows


async def _fill_fixes(copy: UnfinishedCopy, stock: Stock, report: Report) -> int:
    rows, batch = 0, list[tuple[Fix, Vector]]()

    async def flush() -> None:
        if batch:
            await copy.add_fixes(batch)
        withdrawn = [fix.fix_id for fix, _ in batch if not await stock.taught(fix.fix_id)]
        if withdrawn:
            await copy.drop_fixes(withdrawn)
        batch.clear()

    async for fix in stock.fixes():
        batch.append(fix)
        rows += 1
        if len(batch) >= _BATCH:
            await flush()
            await report(rows)
    await flush()
    return rows
