"""Noticing that a level's index was lost or damaged: when its server was started anew, and when a copy failed."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client import Counter
from redis.exceptions import RedisError

from ingest_worker.ports import Hint
from ingest_worker.stored_chunks import CHUNKS_PATTERN, FIXES_PATTERN
from sluice.access import Level, digest
from sluice.errors import SluiceError, TransientError
from sluice.index import Copies, Copy, CopyGoneError, Kind, ServerAwayError, State, TooSlowError, UnreadableError
from sluice.messages import IndexDamaged, IndexPart

logger = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_LIST_SECONDS = 3.0
_PROBE_ALL_SECONDS = 60.0
_FIRST_PROBE_SECONDS = 3.0
_SECOND_PROBE_SECONDS = 12.0
_AT_ONCE = 4
_PATTERNS: dict[Kind, str] = {"chunks": CHUNKS_PATTERN, "fixes": FIXES_PATTERN}
_DAMAGED = Counter("sluice_index_damaged_total", "Collections that were found damaged or lost.", ["level"])


class WatchedIndex(Protocol):
    """`sluice.index.Upkeep`."""

    @property
    def level(self) -> Level: ...
    async def pulse(self) -> str: ...
    async def collections(self) -> list[Copies]: ...
    async def looked_over(self) -> bool: ...
    async def look_over(self, stocked: Collection[tuple[str, Kind]]) -> list[Copy]: ...
    async def probe(self, copy: Copy, seconds: float) -> None: ...
    async def condemn(self, copy: Copy) -> None: ...
    async def acquit(self, copy: Copy) -> None: ...
    def suspects(self) -> list[Copy]: ...


class Holdings(Protocol):
    """`sluice.blobs.BlobStore`."""

    async def tenants(self, level: Level, pattern: str) -> list[str]: ...


class Watch:
    """Looks once a second. A copy that cannot be read is condemned, and the gateway is asked to have it made anew.

    Two watchers of one level do no harm. A copy that was only slow, or whose server died while it was asked, is
    condemned and asked once more, alone and with patience: readers and writers leave it in peace meanwhile.
    """

    def __init__(self, index: WatchedIndex, blobs: Holdings, hint: Hint) -> None:
        self._index = index
        self._blobs = blobs
        self._hint = hint
        self._pulse = ""
        self._probed_at = 0.0
        self._listed_at = 0.0
        self._doubtful: dict[str, Copy] = {}
        self._away = False

    async def forever(self) -> None:
        while True:
            try:
                await self()
            except ServerAwayError:
                self._pulse = ""
                self._tell_away(away=True)
            except (SluiceError, RedisError, OSError) as error:
                logger.warning("index.watch-failed", extra={"error": type(error).__name__})
            except Exception as error:
                logger.exception("index.watch-broken", exc_info=error)
            else:
                self._tell_away(away=False)
            await asyncio.sleep(_TICK_SECONDS)

    async def __call__(self) -> None:
        """Raises ServerAwayError."""
        pulse = await self._index.pulse()
        suspects = {copy.id for copy in self._index.suspects()}
        anew = pulse != self._pulse
        due = time.monotonic() - self._probed_at > _PROBE_ALL_SECONDS
        listed = time.monotonic() - self._listed_at < _LIST_SECONDS
        if listed and not (anew or due or suspects or self._doubtful):
            return
        if not await self._index.looked_over():
            await self._look_over()
        collections = await self._index.collections()
        standing = [copies.standing for copies in collections if copies.standing]
        await self._examine([copy for copy in standing if anew or due or copy.id in suspects])
        await self._ask_to_rebuild()
        self._listed_at = time.monotonic()
        if anew or due:
            self._pulse, self._probed_at = pulse, time.monotonic()

    async def _look_over(self) -> None:
        """Of a server that lost everything, or of one that never had anything."""
        stocked: list[tuple[str, Kind]] = []
        for kind, pattern in _PATTERNS.items():
            for tenant in await self._blobs.tenants(self._index.level, pattern):
                stocked.append((tenant, kind))
        for copy in await self._index.look_over(stocked):
            logger.error("index.lost", extra={"copy": str(copy)})

    async def _examine(self, copies: Sequence[Copy]) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def first(copy: Copy) -> None:
            async with gate:
                await self._probe(copy)

        sound = [copy for copy in copies if copy.state is State.COMPLETE and copy.id not in self._doubtful]
        await asyncio.gather(*map(first, sound))
        for copy in self._doubtful.values():
            await self._index.condemn(copy)
        for copy in list(self._doubtful.values()):
            await self._probe_again(copy)

    async def _probe(self, copy: Copy) -> None:
        try:
            await self._index.probe(copy, _FIRST_PROBE_SECONDS)
        except CopyGoneError:
            return
        except (TooSlowError, ServerAwayError) as error:
            logger.warning("index.doubtful", extra={"copy": str(copy), "reason": error.detail})
            self._doubtful[copy.id] = copy
        except UnreadableError:
            await self._index.condemn(copy)

    async def _probe_again(self, copy: Copy) -> None:
        del self._doubtful[copy.id]
        try:
            await self._index.probe(copy, _SECOND_PROBE_SECONDS)
            await self._index.acquit(copy)
        except CopyGoneError:
            return
        except TransientError as error:  # also when its server died of it
            logger.error("index.unreadable", extra={"copy": str(copy), "reason": error.detail})
            await self._ask_to_rebuild()

    async def _ask_to_rebuild(self) -> None:
        """Also what others condemned. Again while it stands, as an attempt may fail; a dead hint holds for an hour."""
        hour = datetime.now(UTC).strftime("%Y-%m-%dT%H")
        for damaged in [copies.damaged for copies in await self._index.collections()]:
            if damaged and damaged.id not in self._doubtful:
                name, incident = damaged.name, damaged.incident or damaged.id
                part = IndexPart(access_level=name.level, kind=name.kind, incident=incident)
                hint_id = digest([name.tenant, incident, hour])[:32]
                if await self._hint(IndexDamaged(tenant=name.tenant, part=part), hint_id):
                    _DAMAGED.labels(self._index.level).inc()

    def _tell_away(self, *, away: bool) -> None:
        if away is not self._away:
            self._away = away
            logger.warning("index.away" if away else "index.back", extra={"access_level": self._index.level})
