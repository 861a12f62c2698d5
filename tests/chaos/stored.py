"""What really stands in the index, read past every service with a scope and keys of the test's own."""

import base64
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import chromadb
from chromadb.config import Settings

from sluice.access import Level, Scope
from sluice.sealing import Keyring
from tests.support.identity import passport
from tests.support.system import System

_PAGE = 1000


@dataclass(frozen=True)
class StoredChunk:
    """A row of the index, opened."""

    document_id: str
    generation: int
    ordinal: int
    title: str
    text: str
    page: int | None
    offset: int

    @property
    def content(self) -> tuple[Any, ...]:
        """All but the document's id: the same in every run."""
        return (self.ordinal, self.text, self.page, self.offset)


class Stored:
    """A tenant's chunks of both levels."""

    def __init__(self, system: System, tenant: str) -> None:
        self._system = system
        self._scope = Scope(passport(tenant=tenant, clearance=Level.INTERNAL))
        keys = {level: [system.state / "keys" / f"level-{level.lower()}.key"] for level in Level}
        self._keyring = Keyring.from_files(keys, system.state / "data" / "keys")

    def chunks(self) -> dict[str, list[StoredChunk]]:
        """The rows by document, in their order; a row that is there twice comes twice."""
        found: defaultdict[str, list[StoredChunk]] = defaultdict(list)
        for level in self._scope.levels:
            for chunk in self._of_level(level):
                found[chunk.document_id].append(chunk)
        return {name: sorted(rows, key=lambda row: (row.generation, row.ordinal)) for name, rows in found.items()}

    def _of_level(self, level: Level) -> list[StoredChunk]:
        port = int(self._system.environment[f"SLUICE_CHROMA_{level}_PORT"])
        client = chromadb.HttpClient("127.0.0.1", port, settings=Settings(anonymized_telemetry=False))
        prefix = f"{self._scope.tenant}.{level.lower()}.chunks"
        names = [c.name for c in client.list_collections(limit=_PAGE) if c.name.startswith(prefix)]
        assert len(names) <= 1, f"one copy of each collection is expected, there are {names}"
        return [chunk for name in names for chunk in self._rows(client.get_collection(name), level)]

    def _rows(self, collection: Any, level: Level) -> list[StoredChunk]:
        rows: list[StoredChunk] = []
        for offset in range(0, collection.count(), _PAGE):
            page = collection.get(limit=_PAGE, offset=offset, include=["documents", "metadatas"])
            for row in zip(page["ids"], page["documents"], page["metadatas"], strict=True):
                rows.append(self._open(level, *row))
        return rows

    def _open(self, level: Level, row_id: str, sealed: str, metadata: Any) -> StoredChunk:
        place = {"tenant": self._scope.tenant, "level": self._scope.at(level), "row_id": row_id}
        content = json.loads(self._keyring.open(base64.b64decode(sealed), **place))
        return StoredChunk(metadata["document_id"], metadata["generation"], metadata["ordinal"], **content)
