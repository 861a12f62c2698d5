"""What the rows of one moment need of the blob store, and what must not come back with them.

A document that is done needs its generation at its level and nothing else: an earlier one may have lain at a level
where nothing of it may be found any more. What is under way is kept as it is; the gateway begins it again. What the
rows do not know is left out: it came later, or is of what was deleted.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Place = tuple[str, str]
"""Tenant and id."""


@dataclass(frozen=True)
class Holding:
    level: str
    state: str
    generation: int = 0


@dataclass(frozen=True)
class Holdings:
    documents: Mapping[Place, Holding] = field(default_factory=dict[Place, Holding])
    fixes: Mapping[Place, Holding] = field(default_factory=dict[Place, Holding])

    def keeps(self, path: str) -> bool:
        """Whether a blob that was there when the rows were read, or came since, belongs to these rows."""
        level, tenant, kind, *rest = path.split("/")
        if kind == "documents":
            return _keeps_document(self.documents.get((tenant, rest[0])), level, int(rest[1]))
        if kind == "generations":
            row = self.documents.get((tenant, rest[0]))
            return row is not None and int(rest[1]) <= row.generation + (row.state == "deleting")
        if kind == "fixes":
            return _keeps_fix(self.fixes.get((tenant, rest[0])), level, rest[1])
        return True

    def lacking(self, kept: Collection[str]) -> Iterator[str]:
        """The folders of which a row says that they are there, and they are not."""
        whole = {path.rpartition("/complete")[0] for path in kept if path.endswith("/complete")}
        whole |= {path.rpartition("/chunks/")[0] for path in kept if "/chunks/" in path}  # there was no note once
        for (tenant, name), row in self.documents.items():
            place = f"{row.level}/{tenant}/documents/{name}/{row.generation}"
            if row.state == "done" and place not in whole:
                yield place
        for (tenant, name), row in self.fixes.items():
            place = f"{row.level}/{tenant}/fixes/{name}"
            if row.state == "active" and f"{place}/taught" not in kept:
                yield place


def read_holdings(path: Path) -> Holdings:
    """As the gateway wrote them beside its rows."""
    read: dict[str, dict[Place, Holding]] = {"documents": {}, "fixes": {}}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            holding = Holding(row["access_level"].lower(), row["state"], row.get("generation", 0))
            read[row["kind"]][row["tenant"], row["id"]] = holding
    return Holdings(**read)


def _keeps_document(row: Holding | None, level: str, generation: int) -> bool:
    if row is None or row.state == "deleting":
        return False
    if row.state == "done":
        return (level, generation) == (row.level, row.generation)
    return generation <= row.generation


def _keeps_fix(row: Holding | None, level: str, name: str) -> bool:
    if row is None or level != row.level:
        return False
    return name == {"active": "taught", "pending": "taught", "withdrawing": "withdrawn"}.get(row.state)
