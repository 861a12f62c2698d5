"""A document's content carried over into a generation at another level: opened there, and sealed anew here."""

from dataclasses import replace

from ingest_worker.ports import Blobs
from ingest_worker.stored_chunks import CHUNKS, decode_part, encode_part, name_path, original_path, part_path
from sluice.access import Level, Scope, digest
from sluice.blobs import BlobPath
from sluice.index import IndexedChunk
from sluice.messages import DocumentReference

_ORIGINAL, _NAME = "original", "name"


async def carry_over(document: DocumentReference, scope: Scope, blobs: Blobs) -> None:
    """Copies what the newest earlier generation holds, the original last: where that stands, all is there.

    Chunks that were embedded are not embedded again. Without an original there is nothing to carry.
    """
    here = ("documents", document.document_id, str(document.generation))
    if _ORIGINAL in await blobs.list(scope, document.access_level, here):
        return
    former = await _newest_before(document, scope, blobs)
    if former is None:
        return
    level, generation = former
    folder = ("documents", document.document_id, str(generation))
    for name in await blobs.list(scope, level, (*folder, CHUNKS)):
        if name.isdecimal():
            model, chunks = decode_part(await blobs.get(scope, level, (*folder, CHUNKS, name)))
            moved = [_renamed(chunk, document, scope) for chunk in chunks]
            path = part_path(document.document_id, document.generation, int(name))
            await blobs.put(scope, document.access_level, path, encode_part(model, moved))
    if _NAME in await blobs.list(scope, level, folder):
        await _copy(scope, blobs, level, (*folder, _NAME), document.access_level, name_path(document))
    await _copy(scope, blobs, level, (*folder, _ORIGINAL), document.access_level, original_path(document))


def chunk_id_of(scope: Scope, document_id: str, generation: int, ordinal: int, text: str) -> str:
    """The same whenever the same text is read again."""
    return digest([scope.tenant, document_id, generation, ordinal, digest(text)])


async def _newest_before(document: DocumentReference, scope: Scope, blobs: Blobs) -> tuple[Level, int] | None:
    """Where the newest earlier original stands."""
    found: list[tuple[int, Level]] = []
    for level in scope.levels:
        names = await blobs.list(scope, level, ("documents", document.document_id))
        earlier = [int(name) for name in names if name.isdecimal() and int(name) < document.generation]
        for generation in earlier:
            if _ORIGINAL in await blobs.list(scope, level, ("documents", document.document_id, str(generation))):
                found.append((generation, level))
    generation, level = max(found, default=(0, Level.EXTERNAL))
    return (level, generation) if generation else None


async def _copy(scope: Scope, blobs: Blobs, level: Level, path: BlobPath, new_level: Level, new_path: BlobPath) -> None:
    await blobs.put(scope, new_level, new_path, await blobs.get(scope, level, path))


def _renamed(chunk: IndexedChunk, document: DocumentReference, scope: Scope) -> IndexedChunk:
    chunk_id = chunk_id_of(scope, document.document_id, document.generation, chunk.ordinal, chunk.text)
    return replace(chunk, chunk_id=chunk_id, generation=document.generation)
