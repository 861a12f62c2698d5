"""What the blob store says should stand in the index: the chunks of each document that is there, and the fixes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ingest_worker.generations import Generations
from ingest_worker.ports import Blobs
from ingest_worker.stored_chunks import (
    CHUNKS,
    COMPLETE,
    TAUGHT,
    WITHDRAWN,
    complete_path,
    decode_complete,
    decode_fix,
    decode_part,
    part_path,
)
from sluice.access import Level, Scope
from sluice.blobs import BlobMissingError, BlobPath
from sluice.embedding import Vector
from sluice.errors import SealBrokenError
from sluice.index import IndexedChunk
from sluice.messages import Fix

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Edition:
    """One generation of a document."""

    document_id: str
    generation: int


class Stock:
    """The stock of one level in a scope. `unusable` counts what cannot be read, or has vectors of another model."""

    def __init__(self, blobs: Blobs, scope: Scope, level: Level, model: str) -> None:
        self._blobs = blobs
        self._scope = scope
        self._level = level
        self._model = model
        self._generations = Generations(blobs)
        self.unusable = 0

    async def parts(self) -> AsyncGenerator[tuple[Edition, list[IndexedChunk]]]:
        """The chunks, part by part."""
        for document_id in await self._list(("documents",)):
            edition = await self._edition(document_id)
            if edition is None:
                continue
            for number in range(await self._part_count(edition)):
                read = await self._read(part_path(document_id, edition.generation, number), decode_part)
                if read is not None:
                    yield edition, read[1]

    async def fixes(self) -> AsyncGenerator[tuple[Fix, Vector]]:
        for fix_id in await self._list(("fixes",)):
            if await self.taught(fix_id):
                read = await self._read(("fixes", fix_id, TAUGHT), decode_fix)
                if read is not None:
                    yield read[1], read[2]

    async def stands(self, edition: Edition) -> bool:
        """Whether it has not been deleted, or replaced, meanwhile."""
        return str(edition.generation) in await self._list(("documents", edition.document_id))

    async def taught(self, fix_id: str) -> bool:
        """Whether it has not been withdrawn."""
        names = await self._list(("fixes", fix_id))
        return TAUGHT in names and WITHDRAWN not in names

    async def _edition(self, document_id: str) -> Edition | None:
        """The newest whose chunks are all there: a newer one may have been begun only, or have failed."""
        generations = sorted(
            (int(n) for n in await self._list(("documents", document_id)) if n.isdecimal()), reverse=True
        )
        names = {g: await self._list(("documents", document_id, str(g))) for g in generations}
        complete = next((g for g in generations if COMPLETE in names[g]), None)
        newest = complete or next((g for g in generations if CHUNKS in names[g]), None)
        if newest is None or await self._generations.closed(document_id, newest, self._scope):
            return None
        if complete is None and await self._generations.newest(document_id, self._scope) > newest:
            return None  # an attempt that was overtaken; before there was a note of completeness it cannot be told
        return Edition(document_id, newest)

    async def _part_count(self, edition: Edition) -> int:
        path = complete_path(edition.document_id, edition.generation)
        try:
            return decode_complete(await self._blobs.get(self._scope, self._level, path))
        except BlobMissingError:
            return len(await self._list(("documents", edition.document_id, str(edition.generation), CHUNKS)))

    async def _read(self, path: BlobPath, decode: Callable[[bytes], T]) -> T | None:
        """None for what was deleted meanwhile, or cannot be used."""
        try:
            data = await self._blobs.get(self._scope, self._level, path)
            read: Any = await asyncio.to_thread(decode, data)
        except BlobMissingError:
            if await self._list(path[:-1]):
                self._refuse(path, "missing")
            return None
        except (SealBrokenError, ValueError, KeyError, TypeError) as error:
            self._refuse(path, type(error).__name__)
            return None
        if read[0] != self._model:
            self._refuse(path, f"embedded with {read[0]}")
            return None
        return read

    def _refuse(self, path: BlobPath, reason: str) -> None:
        self.unusable += 1
        logger.error("stock.unusable", extra={"blob": "/".join(path), "reason": reason})

    async def _list(self, prefix: BlobPath) -> list[str]:
        return await self._blobs.list(self._scope, self._level, prefix)
