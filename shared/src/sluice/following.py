"""Readers of reply logs in this process: one pub/sub connection brings all of them what is written.

A writer tells the entry itself, so that a reader needs no look into the log as long as the ids follow each other. Where
one is missing, or nothing came for a while, or the connection was made anew, it looks.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from redis.exceptions import RedisError

from sluice.connection import RedisClient, end

logger = logging.getLogger(__name__)
_SILENCE_SECONDS = 1.0
_IDLE_SECONDS = 0.02
Position = tuple[int, int]


class LogEntry(NamedTuple):
    """An entry of a reply log, its data as JSON."""

    position: Position
    name: str
    data: str

    @classmethod
    def of(cls, entry_id: bytes | str, fields: dict[bytes, bytes]) -> Self:
        return cls(position(entry_id), fields[b"event"].decode(), fields[b"data"].decode())

    @classmethod
    def told(cls, payload: bytes) -> list[Self]:
        """What a writer published: three lines an entry, or nothing where that would be much."""
        lines = payload.decode().split("\n")
        parts = zip(lines[::3], lines[1::3], lines[2::3], strict=False)
        return [cls(position(entry_id), name, data) for entry_id, name, data in parts]


def position(entry_id: bytes | str) -> Position:
    """An entry's id in a form that can be compared."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    attempt, _, sequence = text.partition("-")
    return int(attempt), int(sequence or 0)


async def _as_it_is(pushed: list[Any]) -> list[Any]:
    """What the library does with a message, without writing it out for a log first: that took longer than all else."""
    return pushed


class Follower:
    """What one reader was told since it asked last."""

    def __init__(self) -> None:
        self._told: list[LogEntry] = []
        self._has_to_look = True
        self._woken = asyncio.Event()
        self.silent = False

    def hear(self, entries: Iterable[LogEntry]) -> None:
        self.silent = False
        self._told += entries
        self._woken.set()

    def look(self) -> None:
        """Has the reader look into the log."""
        self._has_to_look = True
        self._woken.set()

    def after(self, last: Position) -> Sequence[LogEntry] | None:
        """What was told behind the position; None when that has a gap, and the log has to be read."""
        told, self._told = self._told, []
        looks, self._has_to_look = self._has_to_look, False
        if looks:
            return None
        fresh: list[LogEntry] = []
        for entry in told:
            if entry.position <= last:
                continue
            if entry.position != (last[0], last[1] + 1):
                return None
            last = entry.position
            fresh.append(entry)
        return fresh

    async def wait(self) -> None:
        """Until there is something."""
        self._woken.clear()
        if not self._told and not self._has_to_look:
            await self._woken.wait()


class Listener:
    """Subscribed to the logs that anybody here reads."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._followers: defaultdict[str, set[Follower]] = defaultdict(set)
        self._pubsub: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def following(self, key: str) -> AsyncGenerator[Follower]:
        follower = Follower()
        self._followers[key].add(follower)
        try:
            await self._change("subscribe", key)
            yield follower
        finally:
            self._followers[key].discard(follower)
            if not self._followers[key]:
                del self._followers[key]
                await self._change("unsubscribe", key)

    async def close(self) -> None:
        for task in self._tasks:
            await end(task)
        if self._pubsub is not None:
            await self._pubsub.aclose()

    async def _change(self, command: str, key: str) -> None:
        """A lost subscription only costs speed: readers look again after a second of silence."""
        try:
            if self._pubsub is None:
                self._pubsub = self._redis.pubsub(push_handler_func=_as_it_is)
            await getattr(self._pubsub, command)(key)
        except RedisError as error:
            logger.warning("replies.subscription-failed", extra={"error": type(error).__name__})
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen(self._pubsub)), asyncio.create_task(self._sweep())]

    async def _listen(self, pubsub: Any) -> None:
        while True:
            try:
                message = await pubsub.get_message(timeout=None)  # a time limit would cost more than the message
            except RedisError as error:
                logger.warning("replies.listening-failed", extra={"error": type(error).__name__})
                await asyncio.sleep(_SILENCE_SECONDS)
            except RuntimeError:  # nothing is subscribed at this moment
                await asyncio.sleep(_IDLE_SECONDS)
            except Exception as error:
                logger.exception("replies.listening-broken", exc_info=error)
                await asyncio.sleep(_SILENCE_SECONDS)
            else:
                if message is not None:
                    self._spread(message["type"], message["channel"].decode(), message["data"])

    def _spread(self, kind: str, key: str, payload: Any) -> None:
        """A subscription begins: what was written before it is in the log alone."""
        followers = self._followers.get(key, ())
        entries = LogEntry.told(payload) if kind == "message" and followers else []
        for follower in followers:
            if entries:
                follower.hear(entries)
            elif kind != "unsubscribe":
                follower.look()

    async def _sweep(self) -> None:
        """Has those look that have heard nothing since the last time, once a second."""
        while True:
            await asyncio.sleep(_SILENCE_SECONDS)
            for followers in self._followers.values():
                for follower in followers:
                    if follower.silent:
                        follower.look()
                    follower.silent = True
