"""What the use case needs from outside."""

from typing import Protocol

from sluice.access import Scope
from sluice.embedding import Vector
from sluice.index import Found


class PassageIndex(Protocol):
    """`sluice.index.Index`, as far as it is read."""

    async def find(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found: ...

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found: ...
