"""The index as the services use it: nothing is read or written without a Scope.

A Chroma server a level, in it a collection a tenant for chunks and one for fixes. Chroma is an index that can be lost,
with no access control of its own: text is sealed and vectors are turned before they are stored, every read has the
`where` filter, and every row that comes back is checked against the scope again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.errors import PermanentError, TransientError
from sluice.index.building import Building
from sluice.index.copies import Copies, Copy, Hit, Kind, Name, Rows, State
from sluice.index.rows import IndexedChunk, Sealer
from sluice.index.server import (
    CopyExistsError,
    CopyGoneError,
    Server,
    ServerAwayError,
    TooSlowError,
    UnreadableError,
)
from sluice.index.upkeep import Upkeep
from sluice.messages import Fix, Passage
from sluice.sealing import Keyring

_KNOWN_SECONDS = 2.0
"""How old the knowledge of the copies may be. A copy that was replaced is gone, and tells so itself."""


class BeingRestoredError(TransientError):
    """The collection is lost or damaged, and made anew."""

    type = "being-restored"


@dataclass(frozen=True)
class Found:
    """The nearest passages, nearest first; `restoring`: a part of what the scope may read could not be read.

    `collections` were looked into.
    """

    passages: list[Passage]
    restoring: bool = False
    collections: tuple[str, ...] = ()


class Index:
    """Reads and writes the collections of the levels whose servers this process was given.

    `watched` is for those whose servers a watcher looks over: where it has not said that nothing was lost, a collection
    that is missing is not made, for it would pass for the whole one.
    """

    def __init__(
        self, urls: Mapping[Level, str], keyring: Keyring, embedding_model: str, *, watched: bool = False
    ) -> None:
        self._servers = {level: Server(level, url, embedding_model) for level, url in urls.items()}
        self._sealer = Sealer(keyring)
        self._watched = watched

    async def check(self) -> None:
        """Every server answers, and no collection was made with another embedding model.

        Raises:
            TransientError: a server does not answer.
            ConfigurationError: another model.
        """
        for server in self._servers.values():
            await server.check()

    def upkeep(self, level: Level) -> Upkeep:
        return Upkeep(self._server(level))

    async def upsert(self, scope: Scope, level: Level, chunks: Sequence[IndexedChunk]) -> None:
        """Writes chunks under their ids; writing them again changes nothing."""
        rows = await self._sealer.chunks(scope, level, chunks)
        await self._write(_name(scope, level, "chunks"), lambda copy: copy.upsert(rows))

    async def delete_document(self, scope: Scope, level: Level, document_id: str, *, keep_generation: int = 0) -> None:
        """Removes the document's chunks, but for those of the generation to keep and of later ones."""
        where: Any = {"document_id": document_id}
        if keep_generation:
            where = {"$and": [where, {"generation": {"$lt": keep_generation}}]}
        await self._delete(_name(scope, level, "chunks"), lambda copy: copy.delete(where=where))

    async def put_fix(self, scope: Scope, level: Level, fix: Fix, vector: Vector) -> None:
        """Writes a fix, to be found by its question's vector."""
        rows = await self._sealer.fixes(scope, level, [(fix, vector)])
        await self._write(_name(scope, level, "fixes"), lambda copy: copy.upsert(rows))

    async def delete_fix(self, scope: Scope, level: Level, fix_id: str) -> None:
        await self._delete(_name(scope, level, "fixes"), lambda copy: copy.delete(ids=[fix_id]))

    async def find(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        """The nearest chunks of all levels in the scope.

        A level whose collection is damaged is left out. So is one whose server is away, if the asker will `do_without`.

        Raises:
            TransientError: a server is away.
        """
        return await self._find(scope, "chunks", vector, limit, do_without=do_without)

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        """The nearest fixes by their questions; otherwise as `find`."""
        return await self._find(scope, "fixes", vector, limit, do_without=do_without)

    async def ids(self, scope: Scope, level: Level, kind: Kind) -> list[str]:
        """The ids of all rows that can be found.

        Raises:
            BeingRestoredError: they cannot be found now.
        """
        copies = await self._server(level).copies(_name(scope, level, kind))
        if copies.active is None and copies.restoring:
            raise BeingRestoredError(f"a part of the {level} index is damaged or being restored")
        return await copies.active.rows.ids() if copies.active else []

    async def rebuild(self, scope: Scope, level: Level, kind: Kind, *, incident: str | None) -> Building | None:
        """A new copy to fill; None when there is no such incident (any more). Without one, also of what is sound."""
        server, name = self._server(level), _name(scope, level, kind)
        self._sealer.prepare(scope, level)
        return await Building.begin(server, self._sealer, scope, name, incident=incident)

    async def _find(self, scope: Scope, kind: Kind, vector: Vector, limit: int, *, do_without: bool) -> Found:
        found = await asyncio.gather(
            *(self._query(scope, level, kind, vector, limit, do_without=do_without) for level in scope.levels)
        )
        passages = [passage for part in found for passage in part.passages]
        nearest = sorted(passages, key=lambda passage: -passage.score)[:limit]
        collections = tuple(name for part in found for name in part.collections)
        return Found(nearest, any(part.restoring for part in found), collections)

    async def _query(
        self, scope: Scope, level: Level, kind: Kind, vector: Vector, limit: int, *, do_without: bool
    ) -> Found:
        server, name = self._server(level), _name(scope, level, kind)
        try:
            copies = await self._known(server, name)
            if copies.active is None:
                return Found([], copies.restoring)
            if server.rests(copies.active):
                return Found([], restoring=True)
            turned = await self._sealer.query(scope, level, vector)
            hits = await self._hits(server, copies.active, turned, limit)
        except (UnreadableError, CopyGoneError):
            return Found([], restoring=True)
        except ServerAwayError:
            if do_without:
                return Found([], restoring=True)
            raise
        passages = [self._sealer.passage(scope, level, hit) for hit in hits]
        return Found(passages, collections=(str(copies.active),))

    async def _known(self, server: Server, name: Name) -> Copies:
        """As listed lately; the very first copy, which may be newer than the list, is asked for."""
        copies = await server.copies(name, max_age=_KNOWN_SECONDS)
        if copies.all or not await server.has(name, 0):
            return copies
        return await server.copies(name)

    async def _hits(self, server: Server, copy: Copy, vector: Vector, limit: int) -> list[Hit]:
        where = {"access_level": copy.name.level.value}
        try:
            return await copy.rows.query(vector, limit, where)
        except CopyGoneError:
            newer = (await server.copies(copy.name)).active
            if newer is None:
                raise
            return await newer.rows.query(vector, limit, where)
        except TooSlowError:
            server.rest(copy)
            raise
        except UnreadableError:
            await server.condemn(copy)
            raise

    async def _write(self, name: Name, change: Callable[[Rows], Awaitable[None]]) -> None:
        """In the active copy, and in one that is being made to take its place."""

        async def targets() -> Copies:
            copies = await self._made(name)
            if not copies.writable:
                self._server(name.level).forget()
                raise BeingRestoredError(f"a part of the {name.level} index is being restored")
            return copies

        await self._change(name, targets, change)

    async def _delete(self, name: Name, change: Callable[[Rows], Awaitable[None]]) -> None:
        """In every copy there is, so that what was said to be deleted can be found in none."""

        async def targets() -> Copies:
            copies = await self._server(name.level).copies(name, max_age=_KNOWN_SECONDS)
            lost = self._watched and not copies.all and not copies.looked_over
            if lost or copies.writable != copies.all:
                self._server(name.level).forget()
                raise BeingRestoredError(f"a part of the {name.level} index is being restored")
            return copies

        await self._change(name, targets, change)

    async def _change(
        self, name: Name, targets: Callable[[], Awaitable[Copies]], change: Callable[[Rows], Awaitable[None]]
    ) -> None:
        """A copy that was begun meanwhile is changed too; of one begun later the blobs were read after this call."""
        server, changed, gone = self._server(name.level), set[str](), True
        while gone:
            copies, gone = await targets(), False
            for copy in copies.writable:
                if copy.id in changed:
                    continue
                try:
                    await change(copy.rows)
                except CopyGoneError:
                    gone = True
                except TooSlowError:
                    server.suspect(copy)
                    raise
                except UnreadableError:
                    await server.condemn(copy)
                    raise
                changed.add(copy.id)
            if await server.has(name, copies.highest + 1):
                server.forget()
                gone = True

    async def _made(self, name: Name) -> Copies:
        """The copies; the first one is made where there was never any."""
        server = self._server(name.level)
        copies = await server.copies(name, max_age=_KNOWN_SECONDS)
        if copies.writable:
            return copies
        copies = await server.copies(name)
        if copies.all or (self._watched and not copies.looked_over):
            return copies
        try:
            await server.create(name, 0, State.COMPLETE)
        except CopyExistsError:
            server.forget()
        return await server.copies(name)

    def _server(self, level: Level) -> Server:
        if level not in self._servers:
            raise PermanentError(f"this process knows no {level} index")
        return self._servers[level]


def _name(scope: Scope, level: Level, kind: Kind) -> Name:
    return Name(scope.tenant, scope.at(level), kind)
