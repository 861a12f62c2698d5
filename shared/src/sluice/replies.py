"""The reply log of a request: a short-lived Redis stream that any gateway can read, from any point.

An entry's id is `{attempt}-{sequence}`, so an older attempt cannot write behind a newer one, and the terminal event has
the highest id of all: nothing can follow it, and there is never a second one.
"""

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sluice.access import Level
from sluice.connection import RedisClient
from sluice.errors import PermanentError, SluiceError

logger = logging.getLogger(__name__)
_TERMINAL_ID = "4294967295-0"
_LIFETIME = timedelta(hours=1)
_SILENCE_SECONDS = 1.0
_AGAIN_SECONDS = 0.25
_OUTAGE_SECONDS = 60.0
"""How long a reader waits for a broker that is away: it comes back, and the log goes on."""


class CancelledByClientError(PermanentError):
    """The asker stopped the request or went away."""

    type = "cancelled"


class SupersededError(PermanentError):
    """A newer attempt writes this reply, or it has ended: this one must stop."""

    type = "superseded"


@dataclass(frozen=True)
class Event:
    """A server-sent event; `id` is set when it was read from a log."""

    name: str
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    id: str = ""

    @property
    def terminal(self) -> bool:
        return self.id == _TERMINAL_ID


class ReplyWriter:
    """Writes the events of one attempt, in order."""

    def __init__(self, redis: RedisClient, key: str, attempt: int) -> None:
        self._redis = redis
        self._key = key
        self._attempt = attempt

    async def append(self, *events: Event) -> None:
        """Writes the events in one round trip; without events it only looks whether to go on.

        Raises:
            CancelledByClientError: the asker is gone.
            SupersededError: a newer attempt, or the terminal event, has been written.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.exists(_cancel_key(self._key))
        for event in events:
            pipeline.xadd(self._key, _fields(event), id=f"{self._attempt}-*")
        if events:
            pipeline.expire(self._key, _LIFETIME)
            pipeline.publish(self._key, "")
        cancelled, *results = await pipeline.execute(raise_on_error=False)
        for result in (cancelled, *results):
            if isinstance(result, ResponseError) and "equal or smaller" in str(result):
                raise SupersededError("a newer attempt writes this reply")
            if isinstance(result, Exception):
                raise result
        if cancelled:
            raise CancelledByClientError("the request was cancelled")


class ReplyLog:
    """The reply logs of all requests; one pub/sub connection wakes all readers of this process."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._wakeups = _Wakeups(redis)

    def writer(self, lane: Level, request_id: str, attempt: int) -> ReplyWriter:
        """Attempt 0 is for what comes before the answer itself."""
        return ReplyWriter(self._redis, _key(lane, request_id), attempt)

    async def finish(self, lane: Level, request_id: str, event: Event) -> bool:
        """Writes the terminal event. False if there was one already."""
        key = _key(lane, request_id)
        try:
            await self._redis.xadd(key, _fields(event), id=_TERMINAL_ID)
        except ResponseError as error:
            if "equal or smaller" in str(error):
                return False
            raise
        await self._redis.expire(key, _LIFETIME)
        await self._redis.publish(key, "")
        return True

    async def fail(self, lane: Level, request_id: str, error: SluiceError) -> bool:
        """Ends the request with an `error` event."""
        return await self.finish(lane, request_id, Event("error", error.problem(request_id)))

    async def finished(self, lane: Level, request_id: str) -> bool:
        return bool(await self._redis.xrange(_key(lane, request_id), _TERMINAL_ID, _TERMINAL_ID))

    async def cancel(self, lane: Level, request_id: str) -> None:
        """The next write of the request's workers raises CancelledByClientError."""
        await self._redis.set(_cancel_key(_key(lane, request_id)), "1", ex=_LIFETIME)

    async def cancelled(self, lane: Level, request_id: str) -> bool:
        return bool(await self._redis.exists(_cancel_key(_key(lane, request_id))))

    async def listened(self, lane: Level, request_id: str) -> bool:
        """Whether anybody reads this log just now, in any process."""
        [(_, readers)] = await self._redis.pubsub_numsub(_key(lane, request_id))
        return readers > 0

    async def read(self, lane: Level, request_id: str, after: str | None = None) -> AsyncGenerator[Event]:
        """Every event after the id `after`, once and in order, up to the terminal one; an outage only delays them."""
        key, last = _key(lane, request_id), after or "0-0"
        if _position(last) >= _position(_TERMINAL_ID):
            return
        async with self._wakeups.of(key) as wakeup:
            while True:
                wakeup.clear()
                entries = await self._entries(key, last)
                for entry_id, fields in entries:
                    last = entry_id.decode()
                    event = Event(fields[b"event"].decode(), json.loads(fields[b"data"]), last)
                    yield event
                    if event.terminal:
                        return
                if not entries:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(wakeup.wait(), _SILENCE_SECONDS)

    async def _entries(self, key: str, last: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        ends = time.monotonic() + _OUTAGE_SECONDS
        while True:
            try:
                return await self._redis.xrange(key, f"({last}", "+")
            except (RedisConnectionError, RedisTimeoutError, OSError):
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def terminal(self, lane: Level, request_id: str) -> Event:
        """Waits for the terminal event."""
        async with aclosing(self.read(lane, request_id)) as events:
            async for event in events:
                if event.terminal:
                    return event
        raise AssertionError("a reply log is read up to its terminal event")

    async def close(self) -> None:
        await self._wakeups.close()


class _Wakeups:
    """Turns pub/sub messages of one connection into asyncio events, a key's readers at a time."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._readers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def of(self, key: str) -> AsyncGenerator[asyncio.Event]:
        event = asyncio.Event()
        self._readers[key].add(event)
        try:
            await self._change("subscribe", key)
            yield event
        finally:
            self._readers[key].discard(event)
            if not self._readers[key]:
                del self._readers[key]
                await self._change("unsubscribe", key)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._pubsub is not None:
            await self._pubsub.aclose()

    async def _change(self, command: str, key: str) -> None:
        """A lost subscription only costs speed: readers look again after a second of silence."""
        try:
            if self._pubsub is None:
                self._pubsub = self._redis.pubsub()
            await getattr(self._pubsub, command)(key)
            if self._task is None:
                self._task = asyncio.create_task(self._listen(self._pubsub))
        except RedisError as error:
            logger.warning("replies.subscription-failed", extra={"error": type(error).__name__})

    async def _listen(self, pubsub: Any) -> None:
        while True:
            try:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_SILENCE_SECONDS)
            except RedisError as error:
                logger.warning("replies.listening-failed", extra={"error": type(error).__name__})
                await asyncio.sleep(_SILENCE_SECONDS)
                continue
            except RuntimeError:  # nothing is subscribed at this moment
                await asyncio.sleep(0.02)
                continue
            if message:
                for event in self._readers.get(message["channel"].decode(), ()):
                    event.set()


def _key(lane: Level, request_id: str) -> str:
    return f"reply:{{{lane.lower()}:{request_id}}}"


def _position(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _cancel_key(key: str) -> str:
    return f"{key}:cancelled"


def _fields(event: Event) -> dict[Any, Any]:
    return {"event": event.name, "data": json.dumps(event.data, ensure_ascii=False, default=str)}
