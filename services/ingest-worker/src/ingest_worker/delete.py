"""The use case: a document out of the index and the blob store."""

from ingest_worker.generations import Generations
from ingest_worker.ports import Blobs, ChunkIndex
from sluice.access import Level, Scope
from sluice.messages import DocumentReference


class Delete:
    def __init__(self, *, blobs: Blobs, index: ChunkIndex) -> None:
        self._blobs = blobs
        self._index = index
        self._generations = Generations(blobs)

    async def __call__(self, document: DocumentReference, scope: Scope) -> None:
        """Removes this generation and those before, at every level of the scope; a late message brings none back.

        Raises:
            AccessDeniedError: the document's level lies above the scope.
            TransientError: the index is away.
        """
        scope.at(document.access_level)
        await self._generations.close(document, scope)
        await delete_before(document.generation + 1, document.document_id, scope, blobs=self._blobs, index=self._index)


async def delete_before(generation: int, document_id: str, scope: Scope, *, blobs: Blobs, index: ChunkIndex) -> None:
    """Removes the blobs and chunks of all earlier generations; a document may have had another level in each.

    The blobs first: whoever rebuilds the index from them and still saw them is followed by the deletion of the chunks.
    """
    for level in scope.levels:
        for name in await blobs.list(scope, level, ("documents", document_id)):
            if int(name) < generation:
                await blobs.delete(scope, level, ("documents", document_id, name))
        await index.delete_document(scope, level, document_id, keep_generation=generation)


async def clear_level(level: Level, document_id: str, scope: Scope, *, blobs: Blobs, index: ChunkIndex) -> None:
    """Removes all of the document at a level."""
    await blobs.delete(scope, level, ("documents", document_id))
    await index.delete_document(scope, level, document_id)
