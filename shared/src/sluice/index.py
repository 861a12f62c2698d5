"""The vector index: the one module that knows Chroma. Nothing is read or written without a Scope.

A Chroma server a level, in it a collection a tenant for chunks and one for fixes. Chroma is an index that can be lost,
with no access control of its own: text is sealed before it is stored, every read has the `where` filter, and every row
that comes back is checked against the scope again.
"""

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import chromadb
import httpx
from chromadb.api import AsyncClientAPI
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError
from prometheus_client import Counter

from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.errors import ConfigurationError, PermanentError, TransientError
from sluice.messages import Fix, Passage
from sluice.sealing import Keyring

logger = logging.getLogger(__name__)
_BATCH = 1000  # Chroma takes at most 5,461 rows at once
_VIOLATIONS = Counter("sluice_access_violations_total", "Rows from the index that lay outside the asker's scope.")


class AccessViolationError(PermanentError):
    """The index gave a row outside the scope: the answer stops."""

    type = "access-violation"


@dataclass(frozen=True, kw_only=True)
class IndexedChunk:
    """A chunk with its vector; `offset` counts characters of the document's whole extracted text."""

    chunk_id: str
    document_id: str
    generation: int
    ordinal: int
    title: str
    text: str
    page: int | None
    offset: int
    vector: Vector


class Index:
    """Reads and writes the collections of the levels whose servers this process was given."""

    def __init__(self, urls: Mapping[Level, str], keyring: Keyring, embedding_model: str) -> None:
        self._urls = urls
        self._keyring = keyring
        self._embedding_model = embedding_model
        self._clients: dict[Level, AsyncClientAPI] = {}
        self._collections: dict[tuple[Level, str], AsyncCollection] = {}

    async def check(self) -> None:
        """Every server answers, and no collection was made with another embedding model.

        Raises:
            TransientError: a server does not answer.
            ConfigurationError: another model.
        """
        for level in self._urls:
            try:
                collections = await (await self._client(level)).list_collections()
            except (ChromaError, httpx.HTTPError) as error:
                raise TransientError(f"the {level} index does not answer") from error
            for collection in collections:
                self._check_model(collection)

    async def upsert(self, scope: Scope, level: Level, chunks: Sequence[IndexedChunk]) -> None:
        """Writes chunks under their ids; writing them again changes nothing."""
        rows = [self._row(scope, level, chunk) for chunk in chunks]
        for start in range(0, len(rows), _BATCH):
            await self._write(scope, level, "chunks", rows[start : start + _BATCH])

    async def delete_document(self, scope: Scope, level: Level, document_id: str, *, keep_generation: int = 0) -> None:
        """Removes the document's chunks, but for those of the generation to keep and of later ones."""
        where: Any = {"document_id": document_id}
        if keep_generation:
            where = {"$and": [where, {"generation": {"$lt": keep_generation}}]}
        await self._delete(scope, level, "chunks", where=where)

    async def put_fix(self, scope: Scope, level: Level, fix: Fix, vector: Vector) -> None:
        """Writes a fix, to be found by its question's vector."""
        content = {"text": fix.answer, "title": fix.question}
        metadata = {"access_level": level, "kind": "manual_fix", "document_id": fix.fix_id, "generation": 1}
        row = (fix.fix_id, list(vector), metadata, self._seal(scope, level, fix.fix_id, content))
        await self._write(scope, level, "fixes", [row])

    async def delete_fix(self, scope: Scope, level: Level, fix_id: str) -> None:
        await self._delete(scope, level, "fixes", ids=[fix_id])

    async def find(self, scope: Scope, vector: Vector, limit: int) -> list[Passage]:
        """The nearest chunks of all levels in the scope, nearest first."""
        found = [p for level in scope.levels for p in await self._query(scope, level, "chunks", vector, limit)]
        return sorted(found, key=lambda passage: -passage.score)[:limit]

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int) -> list[Passage]:
        """The nearest fixes of all levels in the scope, nearest question first."""
        found = [p for level in scope.levels for p in await self._query(scope, level, "fixes", vector, limit)]
        return sorted(found, key=lambda passage: -passage.score)[:limit]

    def _row(self, scope: Scope, level: Level, chunk: IndexedChunk) -> tuple[str, Vector, dict[str, Any], str]:
        metadata = {
            "access_level": level,
            "kind": "chunk",
            "document_id": chunk.document_id,
            "generation": chunk.generation,
            "ordinal": chunk.ordinal,
        }
        content = {"text": chunk.text, "title": chunk.title, "page": chunk.page, "offset": chunk.offset}
        return chunk.chunk_id, list(chunk.vector), metadata, self._seal(scope, level, chunk.chunk_id, content)

    def _seal(self, scope: Scope, level: Level, row_id: str, content: dict[str, Any]) -> str:
        plaintext = json.dumps(content, ensure_ascii=False).encode()
        sealed = self._keyring.seal(plaintext, tenant=scope.tenant, level=scope.at(level), row_id=row_id)
        return base64.b64encode(sealed).decode()

    async def _write(self, scope: Scope, level: Level, kind: str, rows: Sequence[tuple[str, Vector, Any, str]]) -> None:
        ids, vectors, metadatas, documents = (list(column) for column in zip(*rows, strict=True))
        try:
            collection = await self._collection(scope, level, kind)
            await collection.upsert(ids=ids, embeddings=vectors, metadatas=metadatas, documents=documents)
        except (ChromaError, httpx.HTTPError) as error:
            self._collections.clear()
            raise TransientError(f"the {level} index cannot be written") from error

    async def _delete(self, scope: Scope, level: Level, kind: str, **selection: Any) -> None:
        try:
            await (await self._collection(scope, level, kind)).delete(**selection)
        except (ChromaError, httpx.HTTPError) as error:
            self._collections.clear()
            raise TransientError(f"the {level} index cannot be written") from error

    async def _query(self, scope: Scope, level: Level, kind: str, vector: Vector, limit: int) -> list[Passage]:
        try:
            result: Any = await (await self._collection(scope, level, kind)).query(
                query_embeddings=[list(vector)],
                n_results=limit,
                where={"access_level": level.value},
                include=["documents", "metadatas", "distances"],
            )
        except (ChromaError, httpx.HTTPError) as error:
            self._collections.clear()
            raise TransientError(f"the {level} index does not answer") from error
        rows = zip(
            result["ids"][0], result["documents"][0], result["metadatas"][0], result["distances"][0], strict=True
        )
        return [self._passage(scope, level, *row) for row in rows]

    def _passage(self, scope: Scope, level: Level, row_id: str, sealed: str, metadata: Any, distance: float) -> Passage:
        """The row as a passage, after it was found to lie within the scope; the seal proves tenant, level and id."""
        if metadata.get("access_level") != level or level not in scope.levels:
            _VIOLATIONS.inc()
            logger.critical("access.violation", extra={"row": row_id, "clearance": scope.clearance})
            raise AccessViolationError("the index gave a row that its asker may not see")
        plaintext = self._keyring.open(base64.b64decode(sealed), tenant=scope.tenant, level=level, row_id=row_id)
        return Passage(
            chunk_id=row_id,
            document_id=metadata["document_id"],
            access_level=level,
            score=1 - distance,
            fix=metadata["kind"] == "manual_fix",
            **json.loads(plaintext),
        )

    async def _collection(self, scope: Scope, level: Level, kind: str) -> AsyncCollection:
        name = f"{scope.tenant}.{scope.at(level).lower()}.{kind}"
        key = (level, name)
        if key not in self._collections:
            client = await self._client(level)
            collection = await client.get_or_create_collection(
                name,
                metadata={"embedding_model": self._embedding_model},
                configuration={"hnsw": {"space": "cosine"}},
                embedding_function=None,
            )
            self._check_model(collection)
            self._collections[key] = collection
        return self._collections[key]

    def _check_model(self, collection: AsyncCollection) -> None:
        model = (collection.metadata or {}).get("embedding_model")
        if model != self._embedding_model:
            raise ConfigurationError(
                f"the collection {collection.name} was made with the model {model}, not {self._embedding_model}:"
                " set SLUICE_EMBEDDING_PROVIDER and SLUICE_EMBEDDING_MODEL back, or ingest into an empty index"
            )

    async def _client(self, level: Level) -> AsyncClientAPI:
        if level not in self._urls:
            raise PermanentError(f"this process knows no {level} index")
        if level not in self._clients:
            url = urlsplit(self._urls[level])
            try:
                self._clients[level] = await chromadb.AsyncHttpClient(
                    host=url.hostname or "localhost",
                    port=url.port or 8000,
                    ssl=url.scheme == "https",
                    settings=ChromaSettings(anonymized_telemetry=False),
                )
            except ValueError as error:  # "Could not connect to a Chroma server"
                raise TransientError(f"the {level} index does not answer") from error
        return self._clients[level]
