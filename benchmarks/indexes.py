"""Ways of keeping what everybody may see apart from what staff alone may see, behind one face."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import chromadb
from chromadb.config import Settings

from benchmarks.made_up import Corpus
from sluice.access import Level
from sluice.embedding import Vector
from sluice.errors import TransientError
from sluice.index import Index, IndexedChunk
from sluice.index.copies import Copy, Hit
from sluice.index.server import Server
from sluice.sealing import KeyFile, Keyring
from tests.support.identity import passport
from tests.support.servers import ChromaServer, chroma_server, running

_BATCH = 1000
_TENANT = "bench"
_TEXT = "A passage of a document, as long as passages are here. " * 18


class Contender(Protocol):
    name: str
    left_out: int
    """Answers without a level that did not answer in time."""

    async def fill(self, corpus: Corpus) -> None: ...

    async def ask(self, vector: Sequence[float], clearance: Level, limit: int) -> list[int]:
        """The numbers of the rows that were found. Raises TransientError."""
        ...

    def megabytes(self) -> float:
        """Of memory, of its servers."""
        ...


class ServerALevel:
    """As Sluice does it: through `sluice.index`, with everything that it does."""

    name = "server a level"
    left_out = 0

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._servers = {level: _started(folder / level, stack) for level in Level}
        self._urls = {level: f"http://127.0.0.1:{server.port}" for level, server in self._servers.items()}
        keys = {level: [KeyFile(os.urandom(32))] for level in Level}
        self._keyring = Keyring(keys, folder / "data-keys")
        self._keyring.begin(_TENANT)
        self._index = Index(self._urls, self._keyring, "made-up")
        self._scopes = {level: passport(tenant=_TENANT, clearance=level).scope for level in Level}

    async def fill(self, corpus: Corpus) -> None:
        for level in Level:
            rows = [row for row in range(len(corpus.vectors)) if corpus.level(row) is level]
            for batch in _batches(rows):
                chunks = [_chunk(row, corpus.vectors[row].tolist()) for row in batch]
                await self._index.upsert(self._scopes[Level.INTERNAL], level, chunks)

    async def ask(self, vector: Sequence[float], clearance: Level, limit: int) -> list[int]:
        found = await self._index.find(self._scopes[clearance], vector, limit)
        self.left_out += found.restoring
        return [int(passage.chunk_id) for passage in found.passages]

    def megabytes(self) -> float:
        return sum(map(_megabytes, self._servers.values()))


class _Unfiltered(Index):
    async def _hits(self, server: Server, copy: Copy, vector: Vector, limit: int) -> list[Hit]:
        return await copy.rows.query(vector, limit, None)  # type: ignore[arg-type]


class WithoutClause(ServerALevel):
    """The same rows on the same servers without the clause of `where`: the difference is what the clause costs."""

    name = "no clause"

    def __init__(self, filled: ServerALevel) -> None:
        self._servers, self._scopes = filled._servers, filled._scopes
        self._index = _Unfiltered(filled._urls, filled._keyring, "made-up")

    async def fill(self, corpus: Corpus) -> None:
        """It is filled."""


class OneCollection:
    """As it is often done: one collection for all, text as it is, and the `where` filter alone."""

    name = "one collection"
    left_out = 0

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._server = _started(folder / "one", stack)
        self._collection: Any = None

    async def fill(self, corpus: Corpus) -> None:
        client = await chromadb.AsyncHttpClient(
            "127.0.0.1", self._server.port, settings=Settings(anonymized_telemetry=False)
        )
        self._collection = await client.create_collection(
            "all", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        for batch in _batches(range(len(corpus.vectors))):
            await self._collection.upsert(
                ids=[str(row) for row in batch],
                embeddings=corpus.vectors[list(batch)],
                metadatas=[{"access_level": corpus.level(row).value} for row in batch],
                documents=[_TEXT] * len(batch),
            )

    async def ask(self, vector: Sequence[float], clearance: Level, limit: int) -> list[int]:
        where = {"access_level": {"$in": [level.value for level in clearance.readable]}}
        if clearance is Level.EXTERNAL:
            where = {"access_level": clearance.value}
        found = await self._collection.query(
            query_embeddings=[vector], n_results=limit, where=where, include=["documents", "metadatas", "distances"]
        )
        return [int(row) for row in found["ids"][0]]

    def megabytes(self) -> float:
        return _megabytes(self._server)


async def answering(contender: Contender, vector: Sequence[float]) -> None:
    """Waits until it has loaded what it was filled with."""
    for _ in range(60):
        try:
            for clearance in Level:
                await contender.ask(vector, clearance, 1)
        except TransientError:
            await asyncio.sleep(1)
        else:
            return
    raise TimeoutError(f"{contender.name} does not answer")


def _started(folder: Path, stack: ExitStack) -> ChromaServer:
    return stack.enter_context(running(chroma_server(folder)))


def _batches(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def _chunk(row: int, vector: list[float]) -> IndexedChunk:
    return IndexedChunk(
        chunk_id=str(row),
        document_id=f"document-{row // 20}",
        generation=1,
        ordinal=row % 20,
        title="Handbook",
        text=_TEXT,
        page=None,
        offset=0,
        vector=vector,
    )


def _megabytes(server: ChromaServer) -> float:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
