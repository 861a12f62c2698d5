"""A collection made anew: a copy that nobody reads until it is whole."""

import logging
from collections.abc import Sequence
from typing import Any, Self

from sluice.access import Scope
from sluice.embedding import Vector
from sluice.index.copies import Copy, Name, State
from sluice.index.rows import IndexedChunk, Sealer
from sluice.index.server import Server
from sluice.messages import Fix

logger = logging.getLogger(__name__)
_PROBE_SECONDS = 10.0


class Building:
    """A new copy while it is filled. Writers know it: what they write or delete from now on, they do here too."""

    def __init__(self, server: Server, sealer: Sealer, scope: Scope, copy: Copy) -> None:
        self._server = server
        self._sealer = sealer
        self._scope = scope
        self._copy = copy

    @classmethod
    async def begin(
        cls, server: Server, sealer: Sealer, scope: Scope, name: Name, *, incident: str | None
    ) -> Self | None:
        """None, when a sound copy stands, or another `incident`; what a sound copy took the place of is removed then.

        Without an incident a sound copy is made anew too.

        A copy that was left half-built is begun again: what was deleted since may still stand in it. There is always
        one copy, so that nobody takes the collection for one that never was; and numbers follow each other, so that a
        writer sees by the next number whether there is a newer one.
        """
        copies = await server.copies(name)
        standing = copies.standing
        damaged = copies.damaged
        if incident is not None and damaged and incident != (damaged.incident or damaged.id):
            return None  # a hint that anyone may have sent must not stop the copy that is being made
        if standing is None:
            copy = await server.create(name, copies.highest + 1, State.BUILDING, damaged.incident if damaged else "")
            await _remove(server, copies.all)
            return cls(server, sealer, scope, copy)
        older = [other for other in copies.all if other.number < standing.number]
        if standing.state is State.COMPLETE and incident is not None:
            await _remove(server, older)
            return None
        await _remove(server, copies.building)
        copy = await server.create(name, standing.number + 1, State.BUILDING, standing.incident)
        await _remove(server, [*older, standing] if standing.state is State.DAMAGED else older)
        return cls(server, sealer, scope, copy)

    async def add(self, chunks: Sequence[IndexedChunk]) -> None:
        level = self._copy.name.level
        await self._copy.rows.upsert(await self._sealer.chunks(self._scope, level, chunks))

    async def add_fixes(self, fixes: Sequence[tuple[Fix, Vector]]) -> None:
        level = self._copy.name.level
        await self._copy.rows.upsert(await self._sealer.fixes(self._scope, level, fixes))

    async def drop(self, document_id: str, generation: int) -> None:
        """Takes out again what was deleted while it was written."""
        where: Any = {"$and": [{"document_id": document_id}, {"generation": generation}]}
        await self._copy.rows.delete(where=where)

    async def drop_fixes(self, fix_ids: list[str]) -> None:
        await self._copy.rows.delete(ids=fix_ids)

    async def finish(self) -> None:
        """From now on this copy is read, and the one before is gone."""
        await self._copy.rows.probe(_PROBE_SECONDS)
        await self._server.set_state(self._copy, State.COMPLETE)
        copies = await self._server.copies(self._copy.name)
        await _remove(self._server, [other for other in copies.all if other.number < self._copy.number])
        logger.info("index.rebuilt", extra={"copy": str(self._copy)})


async def _remove(server: Server, copies: Sequence[Copy]) -> None:
    for copy in copies:
        await server.delete(copy)
