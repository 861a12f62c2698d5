"""The use cases: a fix into the index, to be found by its question, and out again."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ingest_worker.generations import ReplacedError
from ingest_worker.ports import Blobs, ChunkIndex
from ingest_worker.stored_chunks import TAUGHT, WITHDRAWN, encode_fix
from sluice.access import Scope
from sluice.embedding import Embedder
from sluice.messages import Fix


class Teach:
    def __init__(
        self,
        *,
        blobs: Blobs,
        index: ChunkIndex,
        embedder: Embedder,
        embedding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._embedding = embedding
        self._blobs = blobs
        self._index = index
        self._embedder = embedder

    async def __call__(self, fix: Fix, scope: Scope) -> None:
        """Embeds the fix's question, keeps both in the blob store and makes them findable.

        Raises:
            AccessDeniedError: the fix's level lies above the scope.
            ReplacedError: it was withdrawn, perhaps meanwhile.
            TransientError: the embedding model or the index is away.
        """
        level = scope.at(fix.access_level)
        with self._embedding():
            vector = await self._embedder.embed_query(fix.question)
        await self._blobs.put(scope, level, ("fixes", fix.fix_id, TAUGHT), encode_fix(self._embedder.name, fix, vector))
        await self._index.put_fix(scope, level, fix, vector)
        if WITHDRAWN in await self._blobs.list(scope, level, ("fixes", fix.fix_id)):
            await forget(fix, scope, blobs=self._blobs, index=self._index)
            raise ReplacedError("the fix was withdrawn")


class Withdraw:
    def __init__(self, *, blobs: Blobs, index: ChunkIndex) -> None:
        self._blobs = blobs
        self._index = index

    async def __call__(self, fix: Fix, scope: Scope) -> None:
        """Forgets the fix for good; its lesson, delivered late, does not bring it back.

        Raises:
            AccessDeniedError: the fix's level lies above the scope.
            TransientError: the index is away.
        """
        await self._blobs.put(scope, scope.at(fix.access_level), ("fixes", fix.fix_id, WITHDRAWN), b"")
        await forget(fix, scope, blobs=self._blobs, index=self._index)


async def forget(fix: Fix, scope: Scope, *, blobs: Blobs, index: ChunkIndex) -> None:
    await index.delete_fix(scope, fix.access_level, fix.fix_id)
    await blobs.delete(scope, fix.access_level, ("fixes", fix.fix_id, TAUGHT))
