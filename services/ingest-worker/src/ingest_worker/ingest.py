"""The use case: a document in, its chunks in the index, and nothing of its older generations left."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from ingest_worker.carry import carry_over, chunk_id_of
from ingest_worker.chunking import Chunk, split
from ingest_worker.delete import clear_level, delete_before
from ingest_worker.documents import ParsedDocument
from ingest_worker.generations import Generations, ReplacedError
from ingest_worker.ports import Blobs, ChunkIndex, Fetch, FetchedFile, Parse, Report
from ingest_worker.stored_chunks import (
    complete_path,
    decode_part,
    encode_complete,
    encode_part,
    name_path,
    original_path,
    part_path,
)
from sluice.access import Level, Scope
from sluice.blobs import BlobMissingError, BlobPath
from sluice.embedding import Embedder
from sluice.errors import PermanentError, UnreadableDocumentError
from sluice.index import IndexedChunk
from sluice.messages import DocumentReference, JobState
from sluice.tracing import step

logger = logging.getLogger(__name__)
PART_CHUNKS = 256
EMBEDDING_BATCH = (
    8  # a fix waits for one batch of each document at most: 0.15 s on a quiet core, for 3% more CPU than 16
)


@dataclass(frozen=True)
class Indexed:
    """What became of a document."""

    chunk_count: int
    title: str


class Ingest:
    """`embedding` is held while a document is embedded."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        index: ChunkIndex,
        embedder: Embedder,
        parse: Parse,
        fetch: Fetch,
        embedding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._embedding = embedding
        self._blobs = blobs
        self._index = index
        self._embedder = embedder
        self._parse = parse
        self._fetch = fetch
        self._generations = Generations(blobs)

    async def __call__(self, document: DocumentReference, scope: Scope, report: Report) -> Indexed:
        """Reads, cuts, embeds and indexes one generation of a document. Doing it again changes nothing.

        Raises:
            AccessDeniedError: the document's level lies above the scope.
            UnreadableDocumentError: it cannot be fetched or read, or holds no text.
            ReplacedError: a newer generation was begun, or the document was deleted.
            TransientError: what is needed is away.
        """
        scope.at(document.access_level)
        try:
            return await self._ingest(document, scope, report)
        except PermanentError:
            newest = await self._generations.newest(document.document_id, scope)
            if newest > document.generation:  # whoever took its place may have cleaned up before this was written
                await delete_before(newest, document.document_id, scope, blobs=self._blobs, index=self._index)
            elif document.moved or document.access_level is Level.INTERNAL:  # what fails leaves nothing below
                await clear_level(Level.EXTERNAL, document.document_id, scope, blobs=self._blobs, index=self._index)
            raise

    async def _ingest(self, document: DocumentReference, scope: Scope, report: Report) -> Indexed:
        await self._generations.begin(document, scope)
        if document.moved:
            await carry_over(document, scope, self._blobs)
        file = await self._original(document, scope, report)
        await report(JobState.PARSING)
        with step("parse"):
            parsed = await self._parse(file.data, file.name)
        chunks = await asyncio.to_thread(split, parsed.sections)
        if not chunks:
            raise UnreadableDocumentError(f"no text found in this {parsed.kind} file")
        title = (document.url and parsed.title) or document.title
        rows = [_row(document, scope, title, chunk) for chunk in chunks]
        parts = [rows[start : start + PART_CHUNKS] for start in range(0, len(rows), PART_CHUNKS)]
        with step("embed"), self._embedding():
            await self._keep_vectors(document, scope, parts, report)
        await report(JobState.INDEXING, done=len(rows), total=len(rows))
        with step("index.upsert"):
            await self._fill_index(document, scope, len(parts))
        _log(document, parsed, len(rows))
        return Indexed(len(rows), title)

    async def _original(self, document: DocumentReference, scope: Scope, report: Report) -> FetchedFile:
        if document.url is not None:
            await report(JobState.FETCHING)
            return await self._fetched(document, document.url, scope)
        data = await self._blobs.get(scope, document.access_level, original_path(document))
        if document.sha256 is not None and hashlib.sha256(data).hexdigest() != document.sha256:
            raise PermanentError("the stored original is not the file that was uploaded: upload it again")
        return FetchedFile(data, document.title)

    async def _fetched(self, document: DocumentReference, url: str, scope: Scope) -> FetchedFile:
        """A page is fetched once a generation: a retry must find the chunks that the first attempt made."""
        level, name, original = document.access_level, name_path(document), original_path(document)
        try:
            stored_name = await self._blobs.get(scope, level, name)
            return FetchedFile(await self._blobs.get(scope, level, original), stored_name.decode())
        except BlobMissingError:
            file = await self._fetch(url)
        await self._blobs.put(scope, level, original, file.data)
        await self._blobs.put(scope, level, name, file.name.encode())
        return file

    async def _keep_vectors(
        self, document: DocumentReference, scope: Scope, parts: Sequence[list[IndexedChunk]], report: Report
    ) -> None:
        """Embeds what an earlier attempt has not, and keeps it in the blob store."""
        done, total = 0, sum(map(len, parts))
        for number, part in enumerate(parts):
            if not await self._is_kept(document, scope, number, part):
                chunks: list[IndexedChunk] = []
                for start in range(0, len(part), EMBEDDING_BATCH):
                    await report(JobState.EMBEDDING, done=done + start, total=total)
                    chunks += await self._embed(part[start : start + EMBEDDING_BATCH])
                data = encode_part(self._embedder.name, chunks)
                await self._blobs.put(scope, document.access_level, _part_path(document, number), data)
            done += len(part)
            await report(JobState.EMBEDDING, done=done, total=total)

    async def _is_kept(
        self, document: DocumentReference, scope: Scope, number: int, part: Sequence[IndexedChunk]
    ) -> bool:
        try:
            data = await self._blobs.get(scope, document.access_level, _part_path(document, number))
        except BlobMissingError:
            return False
        model, chunks = decode_part(data)
        return model == self._embedder.name and [c.chunk_id for c in chunks] == [c.chunk_id for c in part]

    async def _embed(self, chunks: Sequence[IndexedChunk]) -> list[IndexedChunk]:
        vectors = await self._embedder.embed_documents([chunk.text for chunk in chunks])
        return [replace(chunk, vector=vector) for chunk, vector in zip(chunks, vectors, strict=True)]

    async def _fill_index(self, document: DocumentReference, scope: Scope, parts: int) -> None:
        """Writes the new generation, then removes all before the newest: this one too, if it came too late."""
        await self._generations.check(document, scope)
        complete = complete_path(document.document_id, document.generation)
        await self._blobs.put(scope, document.access_level, complete, encode_complete(parts))
        for number in range(parts):
            data = await self._blobs.get(scope, document.access_level, _part_path(document, number))
            await self._index.upsert(scope, document.access_level, decode_part(data)[1])
        newest = await self._generations.newest(document.document_id, scope)
        await delete_before(newest, document.document_id, scope, blobs=self._blobs, index=self._index)
        if newest > document.generation:
            raise ReplacedError


def _part_path(document: DocumentReference, number: int) -> BlobPath:
    return part_path(document.document_id, document.generation, number)


def _row(document: DocumentReference, scope: Scope, title: str, chunk: Chunk) -> IndexedChunk:
    """The chunk as it is kept, still without its vector."""
    return IndexedChunk(
        chunk_id=chunk_id_of(scope, document.document_id, document.generation, chunk.ordinal, chunk.text),
        document_id=document.document_id,
        generation=document.generation,
        ordinal=chunk.ordinal,
        title=title,
        text=chunk.text,
        page=chunk.page,
        offset=chunk.offset,
        vector=(),
    )


def _log(document: DocumentReference, parsed: ParsedDocument, chunk_count: int) -> None:
    details = {"document": document.document_id, "kind": parsed.kind, "chunks": chunk_count}
    logger.info("document.indexed", extra=details)
    if parsed.unreadable_pages:
        logger.warning("document.pages-unreadable", extra={**details, "pages": list(parsed.unreadable_pages)})
