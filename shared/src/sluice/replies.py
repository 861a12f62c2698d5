"""The reply log of a request: a short-lived Redis stream that any gateway can read, from any point.

An entry's id is `{attempt}-{sequence}`, so an older attempt cannot write behind a newer one, and the terminal event has
the highest id of all: nothing can follow it, and there is never a second one. Its data is sealed for the tenant and the
lane, and opens in this request, attempt and event alone.
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sluice.access import Level
from sluice.connection import RedisClient
from sluice.errors import PermanentError, SealBrokenError, SluiceError, TransientError
from sluice.following import Listener, LogEntry, Position, position
from sluice.roundtrips import RoundTrips
from sluice.sealing import Keyring

logger = logging.getLogger(__name__)
_TERMINAL_ID = "4294967295-0"
_LIFETIME = timedelta(hours=1)
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
_AGAIN_SECONDS = 0.25
_OUTAGE_SECONDS = 60.0
"""How long a reader waits for a broker that is away: it comes back, and the log goes on."""


_ENDED = "equal or smaller"
"""What Redis says of an id behind which the log has gone on already."""
_GONE, _TAKEN = 2, 3
_WRITE = """
local attempt, sequence = ARGV[1]:match('^(%d+)-(%S+)$')
local next = tonumber(sequence)
local cancelled, lines = redis.call('EXISTS', KEYS[2]), {}
if ARGV[4] ~= '' then
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not last and ARGV[4] == 'later' then return 2 end
  local writer, place = (last and last[1] or '-'):match('^(%d*)-(%d*)$')
  if writer == attempt and ARGV[4] == 'first' then return 3 end
  if writer == attempt and next and tonumber(place) >= next then return cancelled end
end
for i = 5, #ARGV, 2 do
  local id = next and string.format('%s-%d', attempt, next + (i - 5) / 2) or ARGV[1]
  lines[#lines + 1] = redis.call('XADD', KEYS[1], id, 'event', ARGV[i], 'data', ARGV[i + 1])
  lines[#lines + 1] = ARGV[i]
  lines[#lines + 1] = ARGV[i + 1]
end
if #lines > 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  local told = table.concat(lines, '\\n')
  redis.call('PUBLISH', KEYS[1], #told <= tonumber(ARGV[3]) and told or '')
end
return cancelled
"""
"""A sole writer numbers its entries itself: a write that is sent again because its answer was lost is known."""
_TOLD_BYTES = 4096
"""More than that is not told to the readers: they look."""


class CancelledByClientError(PermanentError):
    """The asker stopped the request or went away."""

    type = "cancelled"


class SupersededError(PermanentError):
    """A newer attempt writes this reply, or it has ended: this one must stop."""

    type = "superseded"


class AttemptTakenError(TransientError):
    """Another run of this attempt has begun to write: the next attempt writes behind it."""


class Event:  # noqa: PLW1641  # its data can change
    """A server-sent event; `id` is set when it was read from a log, and `more` says that the next one is there already.

    What was read is kept as it was written, and only parsed for who asks for its data: most events just pass through.
    """

    __slots__ = ("_data", "_written", "id", "more", "name")

    def __init__(
        self,
        name: str,
        data: dict[str, Any] | None = None,
        id: str = "",  # noqa: A002  # as the standard calls it
        *,
        written: str = "",
        more: bool = False,
    ) -> None:
        self.name = name
        self.id = id
        self.more = more
        self._written = written
        self._data = {} if data is None and not written else data

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            self._data = json.loads(self._written)
        return self._data

    @property
    def json(self) -> str:
        return self._written or _encode(self.data)

    @property
    def terminal(self) -> bool:
        return self.id == _TERMINAL_ID

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.name, self.data, self.id) == (other.name, other.data, other.id)

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {self.data!r}, {self.id!r})"


@dataclass(frozen=True)
class RequestLog:
    """One request's log, and how its data is written: plain where there is no keyring."""

    tenant: str
    lane: Level
    request_id: str
    keyring: Keyring | None

    @property
    def key(self) -> str:
        return _key(self.lane, self.request_id)

    def seal(self, attempt: int, event: Event) -> str:
        if self.keyring is None:
            return event.json
        sealed = self.keyring.seal(event.json.encode(), **self._place(attempt, event.name))
        return base64.b64encode(sealed).decode()

    def open(self, entry: LogEntry, *, more: bool = False) -> Event:
        """Raises SealBrokenError for what was not written here by this system."""
        attempt, sequence = entry.position
        return Event(entry.name, id=f"{attempt}-{sequence}", written=self._opened(entry), more=more)

    def _opened(self, entry: LogEntry) -> str:
        if self.keyring is None:
            return entry.data
        try:
            sealed = base64.b64decode(entry.data, validate=True)
        except ValueError as error:
            raise SealBrokenError("an event of this reply was not written by this system") from error
        return self.keyring.open(sealed, **self._place(entry.position[0], entry.name)).decode()

    def _place(self, attempt: int, name: str) -> dict[str, Any]:
        return {"tenant": self.tenant, "level": self.lane, "row_id": f"reply/{self.request_id}/{attempt}/{name}"}


class ReplyWriter:
    """Writes the events of one attempt, in order."""

    def __init__(self, write: "_Writes", log: RequestLog, attempt: int, *, sole: bool) -> None:
        self._write = write
        self._log = log
        self._attempt = attempt
        self._sole = sole
        self._written = 0

    async def append(self, *events: Event) -> None:
        """Writes the events in one round trip; without events it only looks whether to go on.

        Raises:
            CancelledByClientError: the asker is gone.
            SupersededError: a newer attempt, or the terminal event, has been written; or the log is gone with what
                this attempt wrote, as after a flush, which the request's message did not outlive either.
            AttemptTakenError: of a sole writer, another has begun this attempt.
        """
        entry_id = f"{self._attempt}-{self._written if self._sole else '*'}"
        try:
            cancelled = await self._write(self._log, entry_id, *events, when=self._when(events))
        except ResponseError as error:
            if _ENDED in str(error):
                raise SupersededError("a newer attempt writes this reply") from None
            raise
        self._written += len(events)
        if cancelled:
            raise CancelledByClientError("the request was cancelled")

    def _when(self, events: Sequence[Event]) -> str:
        if self._written:
            return "later"
        return "first" if self._sole and events else ""


class _Writes:
    """Writes of all requests, which share round trips."""

    def __init__(self, redis: RedisClient, round_trips: RoundTrips) -> None:
        self._script = redis.register_script(_WRITE)
        self._round_trips = round_trips

    async def __call__(self, log: RequestLog, entry_id: str, *events: Event, when: str = "") -> bool:
        """Whether the request was cancelled. Raises ResponseError with _ENDED, SupersededError, AttemptTakenError."""
        attempt = int(entry_id.partition("-")[0])
        parts = [part for event in events for part in (event.name, log.seal(attempt, event))]
        lifetime = int(_LIFETIME.total_seconds())
        keys = [log.key, _cancel_key(log.key)]
        result = await self._round_trips.run(self._script, keys, entry_id, lifetime, _TOLD_BYTES, when, *parts)
        if result == _GONE:
            raise SupersededError("this reply is gone from the broker, and is begun anew")
        if result == _TAKEN:
            raise AttemptTakenError("another run of this attempt has begun to write this reply")
        return bool(result)


class ReplyLog:
    """The reply logs of all requests; one pub/sub connection wakes all readers of this process.

    Without a keyring they are plain: so are those of log searches, whose writer holds no key.
    """

    def __init__(self, redis: RedisClient, keyring: Keyring | None) -> None:
        self._redis = redis
        self._keyring = keyring
        self._round_trips = RoundTrips(redis)
        self._write = _Writes(redis, self._round_trips)
        self._listener = Listener(redis)

    def writer(self, tenant: str, lane: Level, request_id: str, attempt: int, *, sole: bool = False) -> ReplyWriter:
        """Attempt 0 is for what comes before the answer itself. A `sole` writer lets no other write its attempt."""
        return ReplyWriter(self._write, self._log(tenant, lane, request_id), attempt, sole=sole)

    async def finish(self, tenant: str, lane: Level, request_id: str, event: Event) -> bool:
        """Writes the terminal event. False if there was one already."""
        try:
            await self._write(self._log(tenant, lane, request_id), _TERMINAL_ID, event)
        except ResponseError as error:
            if _ENDED in str(error):
                return False
            raise
        return True

    async def fail(self, tenant: str, lane: Level, request_id: str, error: SluiceError) -> bool:
        """Ends the request with an `error` event."""
        return await self.finish(tenant, lane, request_id, Event("error", error.problem(request_id)))

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

    async def read(self, tenant: str, lane: Level, request_id: str, after: str | None = None) -> AsyncGenerator[Event]:
        """Every event after the id `after`, once and in order, up to the terminal one; an outage only delays them.

        Raises:
            SealBrokenError: somebody else wrote into the log.
        """
        log, last = self._log(tenant, lane, request_id), after or "0-0"
        key = log.key
        if position(last) >= position(_TERMINAL_ID):
            return
        at = position(last)
        async with self._listener.following(key) as follower:
            while True:
                entries = follower.after(at)
                if entries is None:
                    entries = await self._entries(key, at)
                for entry in entries:
                    at = entry.position
                    event = log.open(entry, more=entry is not entries[-1])
                    yield event
                    if event.terminal:
                        return
                if not entries:
                    await follower.wait()

    async def _entries(self, key: str, after: Position) -> Sequence[LogEntry]:
        ends = time.monotonic() + _OUTAGE_SECONDS
        while True:
            try:
                entries = await self._round_trips.command("XRANGE", key, f"({after[0]}-{after[1]}", "+")
                return [LogEntry.of(entry_id, fields) for entry_id, fields in entries]
            except (RedisConnectionError, RedisTimeoutError, OSError):
                if time.monotonic() > ends:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    async def terminal(self, tenant: str, lane: Level, request_id: str) -> Event:
        """Waits for the terminal event."""
        async with aclosing(self.read(tenant, lane, request_id)) as events:
            async for event in events:
                if event.terminal:
                    return event
        raise AssertionError("a reply log is read up to its terminal event")

    async def close(self) -> None:
        await self._listener.close()

    def _log(self, tenant: str, lane: Level, request_id: str) -> RequestLog:
        return RequestLog(tenant, lane, request_id, self._keyring)


def _key(lane: Level, request_id: str) -> str:
    return f"reply:{{{lane.lower()}:{request_id}}}"


def _cancel_key(key: str) -> str:
    return f"{key}:cancelled"
