"""One Chroma server: the only file that knows Chroma. It translates errors, limits times and lists the copies."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

import chromadb
import httpx
from chromadb.api import AsyncClientAPI
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import ChromaError, InternalError, NotFoundError

from sluice.access import Level
from sluice.embedding import Vector
from sluice.errors import ConfigurationError, TransientError
from sluice.index.copies import Copies, Copy, Hit, Name, Row, State

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MARK = "sluice.looked-over"
_BATCH = 1000  # Chroma takes at most 5,461 rows at once
_PAGE = 5000
_LIST_SECONDS = 5.0
_CHANGE_SECONDS = 20.0  # while a damaged copy is asked, Chroma keeps others from writing for seconds
_READ_SECONDS = 5.0
_PROBED_ROWS = 100
_REST_SECONDS = 3.0
_WRITE_SECONDS = 60.0  # deleting 99,000 rows takes eleven
_HEARTBEAT_SECONDS = 3.0


class ServerAwayError(TransientError):
    """The server cannot be reached."""


class UnreadableError(TransientError):
    """The server answers, but this copy can be neither read nor written: it may be damaged."""


class TooSlowError(UnreadableError):
    """This copy did not answer in time: it may be damaged, or the machine busy."""


class CopyGoneError(TransientError):
    """This copy is there no more: another took its place, or its server lost it."""


class CopyExistsError(TransientError):
    """Somebody else was faster."""


class Server:
    """The server of a level. What it lists is remembered for as long as the caller allows."""

    def __init__(self, level: Level, url: str, embedding_model: str) -> None:
        self.level = level
        self._url = url
        self._embedding_model = embedding_model
        self._chroma: AsyncClientAPI | None = None
        self._pulse: httpx.AsyncClient | None = None
        self._listed: dict[str, AsyncCollection] = {}
        self._listed_at = float("-inf")
        self._listing = asyncio.Lock()
        self._suspects: dict[str, Copy] = {}
        self._resting: dict[str, float] = {}

    async def pulse(self) -> str:
        """Names the connection over which the server answers: another name, and it may have been started anew."""
        if self._pulse is None:
            limits = httpx.Limits(max_connections=1)
            self._pulse = httpx.AsyncClient(timeout=_HEARTBEAT_SECONDS, limits=limits)
        try:
            answer = await self._pulse.get(f"{self._url}/api/v2/heartbeat")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise self._away() from error
        return str(answer.extensions["network_stream"].get_extra_info("client_addr"))

    async def check(self) -> None:
        """Raises ServerAwayError, or ConfigurationError where a collection was made with another model."""
        for collection in (await self._list(0)).values():
            self._check_model(collection)

    async def copies(self, name: Name, *, max_age: float = 0) -> Copies:
        listed = await self._list(max_age)
        copies = [copy for copy in map(self._copy, listed.values()) if copy and copy.name == name]
        for copy in copies:
            self._check_model(listed[str(copy)])
        return Copies(tuple(sorted(copies, key=lambda copy: copy.number)), _MARK in listed)

    async def collections(self) -> list[Copies]:
        """Every collection that has a copy."""
        listed = await self._list(0)
        found: defaultdict[Name, list[Copy]] = defaultdict(list)
        for copy in filter(None, map(self._copy, listed.values())):
            found[copy.name].append(copy)
        by_number = [tuple(sorted(copies, key=lambda copy: copy.number)) for copies in found.values()]
        return [Copies(copies, _MARK in listed) for copies in by_number]

    async def has(self, name: Name, number: int) -> bool:
        try:
            await self.call(lambda c: c.get_collection(name.copy(number), embedding_function=None), _LIST_SECONDS)
        except CopyGoneError:
            return False
        return True

    async def create(self, name: Name, number: int, state: State, incident: str = "") -> Copy:
        """Raises CopyExistsError."""
        collection = await self._create(name.copy(number), state, incident)
        self.forget()
        return Copy(name, number, state, str(collection.id), ChromaRows(self, collection), incident)

    async def set_state(self, copy: Copy, state: State, incident: str = "") -> None:
        collection = cast(ChromaRows, copy.rows).collection
        await self.call(lambda _: collection.modify(metadata=self._metadata(state, incident)), _CHANGE_SECONDS)
        self.forget()

    async def condemn(self, copy: Copy) -> None:
        """From now on nobody reads or writes it, and it is to be made anew."""
        standing = (await self.copies(copy.name)).active
        if standing and standing.id == copy.id:
            logger.error("index.damaged", extra={"copy": str(copy)})
            await self.set_state(standing, State.DAMAGED, uuid4().hex)

    async def delete(self, copy: Copy) -> None:
        """Removes the copy; one that is not there counts as removed."""
        try:
            await self.call(lambda c: c.delete_collection(str(copy)), _WRITE_SECONDS)
        except CopyGoneError:
            logger.info("index.copy-gone", extra={"copy": str(copy)})
        self.forget()

    async def looked_over(self) -> bool:
        return _MARK in await self._list(0)

    async def mark_looked_over(self) -> None:
        try:
            await self._create(_MARK, State.COMPLETE)
        except CopyExistsError:
            logger.info("index.looked-over-before", extra={"access_level": self.level})
        self.forget()

    def forget(self) -> None:
        """The next caller lists anew."""
        self._listed_at = float("-inf")

    def suspect(self, copy: Copy) -> None:
        """Notes a copy that failed its caller, for whoever looks after it."""
        self._suspects[copy.id] = copy

    def suspects(self) -> list[Copy]:
        """What was noted since this was last asked."""
        suspects, self._suspects = self._suspects, {}
        return list(suspects.values())

    def rest(self, copy: Copy) -> None:
        """Leaves a copy alone that was too slow: Chroma goes on with what nobody waits for any more."""
        self._resting[copy.id] = time.monotonic() + _REST_SECONDS

    def rests(self, copy: Copy) -> bool:
        return self._resting.get(copy.id, 0) > time.monotonic()

    async def call(self, operation: Callable[[AsyncClientAPI], Awaitable[T]], seconds: float) -> T:
        """Asks the server. A connection that it closed meanwhile is tried once more."""
        try:
            async with asyncio.timeout(seconds):
                client = await self._client()
                try:
                    return await operation(client)
                except httpx.TransportError:
                    return await operation(client)
        except NotFoundError as error:
            self.forget()
            raise CopyGoneError(f"a copy in the {self.level} index is gone") from error
        except TimeoutError as error:
            self.forget()
            raise TooSlowError(f"the {self.level} index does not answer in time") from error
        except InternalError as error:
            self.forget()
            raise UnreadableError(f"the {self.level} index cannot be read or written") from error
        except httpx.TransportError as error:
            self.forget()
            raise self._away() from error
        except ChromaError as error:
            self.forget()
            if "already exists" in str(error):
                raise CopyExistsError(f"the {self.level} index has this copy already") from error
            raise TransientError(f"the {self.level} index refuses this: {type(error).__name__}") from error

    async def _client(self) -> AsyncClientAPI:
        if self._chroma is None:
            url = urlsplit(self._url)
            try:
                self._chroma = await chromadb.AsyncHttpClient(
                    host=url.hostname or "localhost",
                    port=url.port or 8000,
                    ssl=url.scheme == "https",
                    settings=ChromaSettings(anonymized_telemetry=False),
                )
            except ValueError as error:  # "Could not connect to a Chroma server"
                raise self._away() from error
        return self._chroma

    async def _list(self, max_age: float) -> dict[str, AsyncCollection]:
        if time.monotonic() - self._listed_at > max_age:
            asked = time.monotonic()
            async with self._listing:
                if self._listed_at < asked:  # nobody else has listed meanwhile
                    began = time.monotonic()
                    listed = await self.call(lambda c: c.list_collections(), _LIST_SECONDS)
                    self._listed, self._listed_at = {c.name: c for c in listed}, began
        return self._listed

    async def _create(self, name: str, state: State, incident: str = "") -> AsyncCollection:
        return await self.call(
            lambda c: c.create_collection(
                name,
                metadata=self._metadata(state, incident),
                configuration={"hnsw": {"space": "cosine"}},
                embedding_function=None,
            ),
            _CHANGE_SECONDS,
        )

    def _metadata(self, state: State, incident: str) -> dict[str, Any]:
        return {"embedding_model": self._embedding_model, "state": state.value, "incident": incident}

    def _copy(self, collection: AsyncCollection) -> Copy | None:
        parsed = Name.parse(collection.name)
        if parsed is None or parsed[0].level is not self.level:
            return None
        metadata: dict[str, Any] = dict(collection.metadata or {})
        state, incident = State(metadata.get("state", State.COMPLETE)), metadata.get("incident", "")
        return Copy(*parsed, state, str(collection.id), ChromaRows(self, collection), incident)

    def _check_model(self, collection: AsyncCollection) -> None:
        model = (collection.metadata or {}).get("embedding_model")
        if model != self._embedding_model:
            raise ConfigurationError(
                f"the collection {collection.name} was made with the model {model}, not {self._embedding_model}:"
                " set SLUICE_EMBEDDING_PROVIDER and SLUICE_EMBEDDING_MODEL back, or ingest into an empty index"
            )

    def _away(self) -> ServerAwayError:
        return ServerAwayError(f"the {self.level} index does not answer")


class ChromaRows:
    def __init__(self, server: Server, collection: AsyncCollection) -> None:
        self._server = server
        self.collection = collection

    async def upsert(self, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            await self._server.call(lambda _, batch=batch: self._upsert(batch), _WRITE_SECONDS)

    async def query(self, vector: Vector, limit: int, where: dict[str, Any]) -> list[Hit]:
        result: Any = await self._server.call(
            lambda _: self.collection.query(
                query_embeddings=[list(vector)],
                n_results=limit,
                where=where,
                include=["documents", "metadatas", "distances"],
            ),
            _READ_SECONDS,
        )
        columns = (result[name][0] for name in ("ids", "metadatas", "documents", "distances"))
        return [Hit(*row) for row in zip(*columns, strict=True)]

    async def delete(self, *, ids: list[str] | None = None, where: Any = None) -> None:
        selection: Any = {"ids": ids} if ids is not None else {"where": where}
        await self._server.call(lambda _: self.collection.delete(**selection), _WRITE_SECONDS)

    async def ids(self) -> list[str]:
        found: list[str] = []
        while True:
            offset = len(found)
            page: Any = await self._server.call(
                lambda _, offset=offset: self.collection.get(limit=_PAGE, offset=offset, include=[]), _WRITE_SECONDS
            )
            found += page["ids"]
            if len(page["ids"]) < _PAGE:
                return found

    async def probe(self, seconds: float) -> None:
        if await self._server.call(lambda _: self.collection.count(), seconds):
            await self._server.call(lambda _: self._search(), seconds)

    async def _search(self) -> None:
        rows: Any = await self.collection.get(limit=1, include=["embeddings"])
        made_up: Any = [[1.0] * len(vector) for vector in rows["embeddings"]]
        if made_up:
            where: Any = {"access_level": self._server.level.value}
            await self.collection.query(query_embeddings=made_up, n_results=_PROBED_ROWS, where=where, include=[])

    async def _upsert(self, rows: Sequence[Row]) -> None:
        await self.collection.upsert(
            ids=[row.id for row in rows],
            embeddings=[list(row.vector) for row in rows],
            metadatas=[row.metadata for row in rows],
            documents=[row.sealed for row in rows],
        )
