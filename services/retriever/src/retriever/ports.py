"""What the use case needs from outside."""

from typing import Protocol

from sluice.access import Scope
from sluice.embedding import Vector
from sluice.messages import Passage


class PassageIndex(Protocol):
    async def find(self, scope: Scope, vector: Vector, limit: int) -> list[Passage]: ...

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int) -> list[Passage]: ...
