"""What is stored as what: chunks and fixes become rows with sealed text, rows become passages."""

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.errors import PermanentError
from sluice.index.copies import Hit, Row
from sluice.index.turning import Turning
from sluice.messages import Fix, Passage
from sluice.sealing import Keyring

logger = logging.getLogger(__name__)
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


class Sealer:
    """Text is sealed for its tenant, level and id before it is stored, and opens nowhere else; vectors are turned."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._turning = Turning(keyring)

    def prepare(self, scope: Scope, level: Level) -> None:
        """A collection can be asked from now on, also one that stays empty."""
        self._turning.prepare(scope, level)

    async def chunks(self, scope: Scope, level: Level, chunks: Sequence[IndexedChunk]) -> list[Row]:
        vectors = await self._turning.turn(scope, level, [chunk.vector for chunk in chunks], make=True)
        return [self._chunk(scope, level, *row) for row in zip(chunks, vectors, strict=True)]

    async def fixes(self, scope: Scope, level: Level, fixes: Sequence[tuple[Fix, Vector]]) -> list[Row]:
        vectors = await self._turning.turn(scope, level, [vector for _, vector in fixes], make=True)
        return [self._fix(scope, level, fix, vector) for (fix, _), vector in zip(fixes, vectors, strict=True)]

    async def query(self, scope: Scope, level: Level, vector: Vector) -> Vector:
        """What to look for where these rows stand."""
        [turned] = await self._turning.turn(scope, level, [vector], make=False)
        return turned

    def _chunk(self, scope: Scope, level: Level, chunk: IndexedChunk, vector: Vector) -> Row:
        metadata = {
            "access_level": level.value,
            "kind": "chunk",
            "document_id": chunk.document_id,
            "generation": chunk.generation,
            "ordinal": chunk.ordinal,
        }
        content = {"text": chunk.text, "title": chunk.title, "page": chunk.page, "offset": chunk.offset}
        sealed = self._seal(scope, level, chunk.chunk_id, content)
        return Row(chunk.chunk_id, vector, metadata, sealed)

    def _fix(self, scope: Scope, level: Level, fix: Fix, vector: Vector) -> Row:
        metadata = {
            "access_level": level.value,
            "kind": "manual_fix",
            "document_id": fix.fix_id,
            "generation": 1,
        }
        content = {"text": fix.answer, "title": fix.question}
        return Row(fix.fix_id, vector, metadata, self._seal(scope, level, fix.fix_id, content))

    def passage(self, scope: Scope, level: Level, hit: Hit) -> Passage:
        """The row as a passage, after it was found to lie within the scope; the seal proves tenant, level and id."""
        if hit.metadata.get("access_level") != level or level not in scope.levels:
            _VIOLATIONS.inc()
            logger.critical("access.violation", extra={"row": hit.id, "clearance": scope.clearance})
            raise AccessViolationError("the index gave a row that its asker may not see")
        plaintext = self._keyring.open(base64.b64decode(hit.sealed), tenant=scope.tenant, level=level, row_id=hit.id)
        return Passage(
            chunk_id=hit.id,
            document_id=hit.metadata["document_id"],
            access_level=level,
            score=1 - hit.distance,
            fix=hit.metadata["kind"] == "manual_fix",
            **json.loads(plaintext),
        )

    def _seal(self, scope: Scope, level: Level, row_id: str, content: dict[str, Any]) -> str:
        plaintext = json.dumps(content, ensure_ascii=False).encode()
        sealed = self._keyring.seal(plaintext, tenant=scope.tenant, level=scope.at(level), row_id=row_id)
        return base64.b64encode(sealed).decode()
