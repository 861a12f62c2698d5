"""What the rows of one moment need of the blob store, and what must not come back with them.

A document that is done needs its generation at its level and nothing else: an earlier one may have lain at a level
where nothing of it may be found any more. What is under way is kept as it was found after that moment; the gateway
begins it again. What the rows do not know is left out.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Set
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

    def keeps(self, path: str, found: Collection[str]) -> bool:
        """Whether a blob belongs to these rows; `found` are the blobs that were there after the rows were read."""
        level, tenant, kind, *rest = path.split("/")
        if kind == "documents":
            return self._keeps_document(self.documents.get((tenant, rest[0])), level, rest, path in found)
        if kind == "generations":
            row = self.documents.get((tenant, rest[0]))
            return row is not None and int(rest[1]) <= row.generation + (row.state == "deleting")
        if kind == "fixes":
            return self._keeps_fix(self.fixes.get((tenant, rest[0])), level, rest[1], found=path in found)
        return path in found

    def lacking(self, kept: Collection[str], found: Set[str], gone: Set[str]) -> Iterator[str]:
        """The folders of which a row needs what is not kept.

        `gone` are the blobs that went away since they were looked at before: a row may say that they are there.
        """
        whole = {path.rpartition("/complete")[0] for path in kept if path.endswith("/complete")}
        whole |= {path.rpartition("/chunks/")[0] for path in found if "/chunks/" in path}  # there was no note once
        for (tenant, name), row in self.documents.items():
            place = f"{row.level.lower()}/{tenant}/documents/{name}/{row.generation}"
            if row.state == "done" and place not in whole:
                yield place
        for (tenant, name), row in self.fixes.items():
            place = f"{row.level.lower()}/{tenant}/fixes/{name}"
            if row.state == "active" and f"{place}/taught" not in kept:
                yield place
        yield from self._ended_meanwhile(found, gone)

    def _ended_meanwhile(self, found: Set[str], gone: Set[str]) -> Iterator[str]:
        """Documents that were under way, and of which nothing that these rows could begin again with is left."""
        left = {_document(path) for path in found if self._may_begin_with(path)}
        lost = {_document(path) for path in gone if self._may_begin_with(path)} - left
        yield from (f"{tenant}/documents/{name}" for tenant, name in sorted(lost))

    def _may_begin_with(self, path: str) -> bool:
        _, tenant, kind, *rest = path.split("/")
        row = self.documents.get((tenant, rest[0])) if kind == "documents" else None
        return row is not None and row.state in ("pending", "failed") and int(rest[1]) <= row.generation

    @staticmethod
    def _keeps_document(row: Holding | None, level: str, rest: list[str], found: bool) -> bool:
        if row is None or row.state == "deleting":
            return False
        if row.state == "done":
            return (level, rest[1]) == (row.level.lower(), str(row.generation))
        return found and int(rest[1]) <= row.generation

    @staticmethod
    def _keeps_fix(row: Holding | None, level: str, name: str, *, found: bool) -> bool:
        if row is None or level != row.level.lower():
            return False
        return {"active": name == "taught", "pending": found and name == "taught"}.get(
            row.state, row.state == "withdrawing" and name == "withdrawn"
        )


def read_holdings(path: Path) -> Holdings:
    """As the gateway wrote them beside its rows."""
    read: dict[str, dict[Place, Holding]] = {"documents": {}, "fixes": {}}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            holding = Holding(row["access_level"], row["state"], row.get("generation", 0))
            read[row["kind"]][row["tenant"], row["id"]] = holding
    return Holdings(**read)


def _document(path: str) -> Place:
    _, tenant, _, name, *_ = path.split("/")
    return tenant, name
