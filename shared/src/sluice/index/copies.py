"""The copies of a collection, and which of them counts.

`{tenant}.{level}.{kind}` is copy 0, `{tenant}.{level}.{kind}.{n}` a later one. What each is worth stands in its own
metadata, in the server that holds its rows: there is no second place that could be lost or say otherwise. While a
collection is made anew there are two copies, with neighbouring numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol, Self, cast

from sluice.access import Level
from sluice.embedding import Vector

Kind = Literal["chunks", "fixes"]
KINDS: tuple[Kind, ...] = ("chunks", "fixes")
_NAME = re.compile(r"([^.]+)\.(external|internal)\.(chunks|fixes)(?:\.(\d+))?")


class State(StrEnum):
    """What a copy is worth; one without a state was made before there were any, and is complete."""

    BUILDING = "building"
    COMPLETE = "complete"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Name:
    """A tenant's collection of one level and kind, whatever copies it has."""

    tenant: str
    level: Level
    kind: Kind

    def copy(self, number: int) -> str:
        name = f"{self.tenant}.{self.level.lower()}.{self.kind}"
        return f"{name}.{number}" if number else name

    @classmethod
    def parse(cls, name: str) -> tuple[Self, int] | None:
        """The collection and the copy's number; None for what is no tenant's collection."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        tenant, level, kind, number = found.groups()
        return cls(tenant, Level(level.upper()), cast(Kind, kind)), int(number or 0)


@dataclass(frozen=True)
class Row:
    """As it is stored: the text sealed."""

    id: str
    vector: Vector
    metadata: dict[str, Any]
    sealed: str


@dataclass(frozen=True)
class Hit:
    """A row that was found, and how far off it is."""

    id: str
    metadata: dict[str, Any]
    sealed: str
    distance: float


class Rows(Protocol):
    """The rows of one copy. All raise CopyGoneError, UnreadableError and ServerAwayError."""

    async def upsert(self, rows: Sequence[Row]) -> None: ...
    async def query(self, vector: Vector, limit: int, where: dict[str, Any]) -> list[Hit]: ...
    async def delete(self, *, ids: list[str] | None = None, where: Any = None) -> None: ...
    async def ids(self) -> list[str]: ...

    async def probe(self, seconds: float) -> None:
        """Counts, and asks for a vector that nobody has."""
        ...


@dataclass(frozen=True)
class Copy:
    """`id` is the server's own: a copy that was made anew under the same name has another.

    `incident` names the damage that this copy has, or that it is made to mend.
    """

    name: Name
    number: int
    state: State
    id: str
    rows: Rows
    incident: str = ""

    def __str__(self) -> str:
        return self.name.copy(self.number)


@dataclass(frozen=True)
class Copies:
    """All copies of one collection, the lowest number first; `looked_over`: a missing one was not lost."""

    all: tuple[Copy, ...]
    looked_over: bool

    @property
    def standing(self) -> Copy | None:
        """The newest that was ever complete: the one that counts, even if it is damaged now."""
        return next((copy for copy in reversed(self.all) if copy.state is not State.BUILDING), None)

    @property
    def active(self) -> Copy | None:
        """The one to read."""
        standing = self.standing
        return standing if standing and standing.state is State.COMPLETE else None

    @property
    def building(self) -> tuple[Copy, ...]:
        return tuple(copy for copy in self.all if copy.state is State.BUILDING)

    @property
    def writable(self) -> tuple[Copy, ...]:
        """The active one, and those that are being made to take its place."""
        return ((self.active,) if self.active else ()) + self.building

    @property
    def highest(self) -> int:
        return self.all[-1].number if self.all else -1

    @property
    def damaged(self) -> Copy | None:
        """The copy that tells of the damage to be mended, if there is one."""
        return None if self.active or not self.all else self.standing or self.all[0]

    @property
    def restoring(self) -> bool:
        """Whether there should be rows that cannot be read now."""
        return self.active is None and (bool(self.all) or not self.looked_over)
