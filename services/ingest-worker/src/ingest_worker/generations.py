"""Remembers the newest generation of each document: messages come late and twice, and must not bring back the old."""

from contextlib import suppress

from ingest_worker.ports import Blobs
from sluice.access import Scope
from sluice.blobs import BlobMissingError
from sluice.errors import PermanentError
from sluice.messages import DocumentReference

_CLOSED = b"closed"


class ReplacedError(PermanentError):
    """A newer version came in, or the document was deleted."""

    type = "replaced"

    def __init__(self, detail: str = "a newer version took this document's place, or it was deleted") -> None:
        super().__init__(detail)


class Generations:
    """A mark a generation, so that two writers at once cannot overwrite each other's; marks outlive their document."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def begin(self, document: DocumentReference, scope: Scope) -> None:
        """Raises ReplacedError when a newer generation was begun, or the document was deleted."""
        await self.check(document, scope)
        await self._mark(document.document_id, document.generation, scope)

    async def check(self, document: DocumentReference, scope: Scope) -> None:
        """Raises ReplacedError, as `begin` does."""
        if await self.newest(document.document_id, scope) > document.generation:
            raise ReplacedError

    async def close(self, document: DocumentReference, scope: Scope) -> None:
        """Counts the generation after this one as begun, so that this one and those before stay deleted."""
        await self._mark(document.document_id, document.generation + 1, scope, _CLOSED)

    async def closed(self, document_id: str, generation: int, scope: Scope) -> bool:
        """Whether the document was deleted with this generation, or after it; a new one may only have been begun."""
        newest = await self.newest(document_id, scope)
        return newest > generation and await self._holds(document_id, newest, scope, _CLOSED)

    async def newest(self, document_id: str, scope: Scope) -> int:
        """0 for a document never seen."""
        marks = [
            m for level in scope.levels for m in await self._blobs.list(scope, level, ("generations", document_id))
        ]
        return max((int(mark) for mark in marks if mark.isdecimal()), default=0)

    async def _holds(self, document_id: str, generation: int, scope: Scope, content: bytes) -> bool:
        for level in scope.levels:
            with suppress(BlobMissingError):
                if await self._blobs.get(scope, level, ("generations", document_id, str(generation))) == content:
                    return True
        return False

    async def _mark(self, document_id: str, generation: int, scope: Scope, content: bytes = b"") -> None:
        for level in scope.levels:  # a document may change its level
            await self._blobs.put(scope, level, ("generations", document_id, str(generation)), content)
