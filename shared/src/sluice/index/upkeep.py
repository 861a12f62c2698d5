"""Looking after the collections of one level: are they all there, and can they be read. No row ever leaves here."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from uuid import uuid4

from sluice.access import Level
from sluice.errors import AccessDeniedError
from sluice.index.copies import Copies, Copy, Kind, Name, State
from sluice.index.server import CopyExistsError, CopyGoneError, Server


class ClosedRows:
    """The rows of a copy, for whoever has no scope."""

    async def upsert(self, rows: Any) -> None:
        raise self._closed()

    async def query(self, vector: Any, limit: int, where: Any) -> list[Any]:
        raise self._closed()

    async def delete(self, *, ids: Any = None, where: Any = None) -> None:
        raise self._closed()

    async def ids(self) -> list[str]:
        raise self._closed()

    async def probe(self, seconds: float) -> None:
        raise self._closed()

    def _closed(self) -> AccessDeniedError:
        return AccessDeniedError("rows are read and written under a scope alone")


class Upkeep:
    """What may be known and done without a Scope: health, and what a copy is worth. Every method may raise
    ServerAwayError."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listed: dict[str, Copy] = {}

    @property
    def level(self) -> Level:
        return self._server.level

    async def pulse(self) -> str:
        """Another answer than before, and the server may have been started anew."""
        return await self._server.pulse()

    async def collections(self) -> list[Copies]:
        listed = await self._server.collections()
        self._listed = {copy.id: copy for copies in listed for copy in copies.all}
        return [Copies(tuple(map(_closed, copies.all)), copies.looked_over) for copies in listed]

    async def looked_over(self) -> bool:
        """Whether this server has not lost everything since it was last looked over."""
        return await self._server.looked_over()

    async def look_over(self, stocked: Collection[tuple[str, Kind]]) -> list[Copy]:
        """Begins a copy of every collection that should be there and is not, by tenant and kind; gives these."""
        there = {copies.all[0].name for copies in await self.collections()}
        begun: list[Copy] = []
        for name in (Name(tenant, self.level, kind) for tenant, kind in stocked):
            if name not in there:
                try:
                    begun.append(_closed(await self._server.create(name, 0, State.BUILDING, uuid4().hex)))
                except CopyExistsError:  # another process looks over too
                    continue
        await self._server.mark_looked_over()
        return begun

    async def probe(self, copy: Copy, seconds: float) -> None:
        """Of the collections as they were listed last. Raises UnreadableError, CopyGoneError."""
        if copy.id not in self._listed:
            raise CopyGoneError(f"a copy in the {self.level} index is gone")
        await self._listed[copy.id].rows.probe(seconds)

    async def condemn(self, copy: Copy) -> None:
        """From now on it is neither read nor written, and is to be made anew."""
        await self._server.condemn(copy)

    async def acquit(self, copy: Copy) -> None:
        """It was sound after all; once something is made in its place, it stays condemned."""
        copies = (await self._server.copies(copy.name)).all
        if [known.id for known in copies] == [copy.id]:
            await self._server.set_state(copies[0], State.COMPLETE)

    def suspects(self) -> list[Copy]:
        """What failed this process since this was last asked."""
        return [_closed(copy) for copy in self._server.suspects()]


def _closed(copy: Copy) -> Copy:
    return replace(copy, rows=ClosedRows())
