"""What the use cases need from the outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest_worker.documents import ParsedDocument
from sluice.access import Level, Scope
from sluice.blobs import BlobPath
from sluice.embedding import Vector
from sluice.index import IndexedChunk, Kind, Upkeep
from sluice.messages import Fix, JobState, Message, Unsigned


@dataclass(frozen=True)
class FetchedFile:
    """What a URL gave; `name` ends as its content type says."""

    data: bytes
    name: str


class Fetch(Protocol):
    async def __call__(self, url: str) -> FetchedFile:
        """Raises UnreadableDocumentError, TransientError."""
        ...


class Parse(Protocol):
    async def __call__(self, data: bytes, name: str) -> ParsedDocument:
        """Raises UnreadableDocumentError."""
        ...


class Report(Protocol):
    async def __call__(self, state: JobState, *, done: int = 0, total: int = 0) -> None:
        """Tells whoever waits how far the job is: `done` of `total` chunks."""
        ...


class Blobs(Protocol):
    """`sluice.blobs.BlobStore`."""

    async def put(self, scope: Scope, level: Level, path: BlobPath, data: bytes) -> None: ...
    async def get(self, scope: Scope, level: Level, path: BlobPath) -> bytes: ...
    async def delete(self, scope: Scope, level: Level, prefix: BlobPath) -> None: ...
    async def tenants(self, level: Level, pattern: str) -> list[str]: ...
    async def list(self, scope: Scope, level: Level, prefix: BlobPath) -> list[str]: ...


class ChunkIndex(Protocol):
    """`sluice.index.Index`, as far as it is written."""

    async def upsert(self, scope: Scope, level: Level, chunks: Sequence[IndexedChunk]) -> None: ...
    async def delete_document(
        self, scope: Scope, level: Level, document_id: str, *, keep_generation: int = 0
    ) -> None: ...
    async def put_fix(self, scope: Scope, level: Level, fix: Fix, vector: Vector) -> None: ...
    async def delete_fix(self, scope: Scope, level: Level, fix_id: str) -> None: ...


class Publish(Protocol):
    """`sluice.broker.Broker.publish`."""

    async def __call__(self, message: Message) -> object: ...


class Hint(Protocol):
    """`sluice.broker.Broker.publish_unsigned`."""

    async def __call__(self, message: Unsigned, message_id: str) -> object: ...


class UnfinishedCopy(Protocol):
    """`sluice.index.Building`."""

    async def add(self, chunks: Sequence[IndexedChunk]) -> None: ...
    async def add_fixes(self, fixes: Sequence[tuple[Fix, Vector]]) -> None: ...
    async def drop(self, document_id: str, generation: int) -> None: ...
    async def drop_fixes(self, fix_ids: list[str]) -> None: ...
    async def finish(self) -> None: ...


class RebuiltIndex(Protocol):
    """`sluice.index.Index`, as far as it is made anew."""

    async def rebuild(
        self, scope: Scope, level: Level, kind: Kind, *, incident: str | None
    ) -> UnfinishedCopy | None: ...

    async def ids(self, scope: Scope, level: Level, kind: Kind) -> list[str]: ...


class WorkerIndex(ChunkIndex, RebuiltIndex, Protocol):
    """`sluice.index.Index`, as the worker has it."""

    def upkeep(self, level: Level) -> Upkeep: ...
