"""One work stream in Redis: its group, its delayed set and its dead letters, each change of an entry atomic.

Keys: the stream itself, `{stream}:delayed` (sorted set by due time), `{stream}:dead` (stream), `{stream}:places` (hash:
where each message that is not done stands) and `{stream}:done:ID` (ids handled in the last hour). They share a hash
tag, so that a cluster can run the scripts. Where Redis is out of memory, a script may write once it has begun to free:
so each begins with what it takes away.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Self

from redis.commands.core import AsyncScript
from redis.exceptions import OutOfMemoryError, ResponseError

from sluice.connection import RedisClient
from sluice.errors import SluiceError
from sluice.roundtrips import RoundTrips, Together

BODY_FIELD = b"__data__"
ID_FIELD = b"id"
_DONE_LIFETIME = timedelta(hours=1)
_LONGEST_NUMBER = 13  # digits of a time in milliseconds; what is longer is no number of ours
_AT_ONCE = 100  # entries that a script puts back, as it stands in there

_PUBLISH = """
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
local place = redis.call('HGET', KEYS[2], ARGV[1])
if place then
  local where, entry = place:match('^(%a+) ?(.*)$')
  local stream = ({stream = KEYS[1], dead = KEYS[4]})[where]
  if stream and redis.call('XLEN', stream) > 0 then return 0 end
  if where == 'delayed' and redis.call('ZCOUNT', KEYS[3], entry, entry) > 0 then return 0 end
end
local entry = redis.call('XADD', KEYS[1], '*', '__data__', ARGV[2], 'id', ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], 'stream ' .. entry)
return 1
"""
"""A message that stands somewhere, or is done, is not put on the stream a second time: who did not get the answer to a
publication may publish again. Who sends may not read the stream (`sluice.acl`), so an entry that its place names counts
as standing there while the stream has any: only a stream that was deleted, or is empty, is known to have lost it."""
_HOLD = """
local held = {}
for i = 3, #ARGV, 2 do
  local id, done = ARGV[i], KEYS[tonumber(ARGV[i + 1])]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  local mine = pending[1] and pending[1][2] == ARGV[2]
  if mine then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', 2, 'JUSTID') end
  held[#held + 1] = not mine and 0 or (done and redis.call('EXISTS', done) == 1) and 2 or 1
end
return held
"""
_DONE = """
local acknowledged = {}
for i = 3, #ARGV, 3 do
  local id, message, done = ARGV[i], ARGV[i + 1], KEYS[tonumber(ARGV[i + 2])]
  local mine = redis.call('XACK', KEYS[1], ARGV[1], id)
  if mine == 1 then
    redis.call('XDEL', KEYS[1], id)
    if message ~= '' then redis.call('HDEL', KEYS[2], message) end
    if done then redis.call('SET', done, '1', 'EX', ARGV[2]) end
  end
  acknowledged[#acknowledged + 1] = mine
end
return acknowledged
"""
"""These two take many entries at once, each with the place of its `done` among the keys, or 0."""
_DELAY = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[5])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], 'delayed ' .. ARGV[4]) end
return 1
"""
_BURY = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
local dead = redis.call('XADD', KEYS[3], '*', unpack(ARGV, 4))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[3], 'dead ' .. dead) end
return 1
"""
_FARTHEST = timedelta(days=1)
_MEND = """
local now = redis.call('TIME')[1] * 1000
local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
local last = '0'
for i = 1, info.err and 0 or #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1]:match('^%d+') end end
if tonumber(last) > now + ARGV[2] then
  local entries = redis.call('XRANGE', KEYS[1], '-', '+')
  redis.call('DEL', KEYS[1])
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
  for _, old in ipairs(entries) do
    local of = {}
    for i = 1, #old[2], 2 do of[old[2][i]] = old[2][i + 1] end
    local since, id = old[1]:match('^%d+'), of['id'] or ''
    if tonumber(since) > now then since = string.format('%.0f', now) end
    local entry = redis.call('XADD', KEYS[1], '*', '__data__', of['__data__'] or '', 'id', id,
      'failures', of['failures'] or '0', 'crashes', of['crashes'] or '0', 'queued', of['queued'] or since)
    if id ~= '' then redis.call('HSET', KEYS[2], id, 'stream ' .. entry) end
  end
  return 1
end
return 0
"""
"""A producer may choose the id of its entry, and all that come after have a higher one: one from the far future leaves
no room for others. The stream is then made anew with all that stands on it; who is busy with an entry loses its lease.
"""
_WAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[3], member)
  local waiting = cjson.decode(member)
  local entry = redis.call('XADD', KEYS[1], '*', '__data__', waiting.body, 'id', waiting.id,
    'failures', waiting.failures, 'crashes', waiting.crashes, 'queued', waiting.queued or '')
  if waiting.id ~= '' then redis.call('HSET', KEYS[2], waiting.id, 'stream ' .. entry) end
end
return #due
"""
_PUT_BACK = """
local pending
if ARGV[4] == '' then
  pending = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', 100)
else
  pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[4])
end
for _, item in ipairs(pending) do
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], item[1])
  local crashed = (ARGV[4] == '' and item[4] >= 2) and 1 or 0
  redis.call('XACK', KEYS[1], ARGV[1], item[1])
  if claimed[1] then
    local fields = {}
    for i = 1, #claimed[1][2], 2 do fields[claimed[1][2][i]] = claimed[1][2][i + 1] end
    redis.call('XDEL', KEYS[1], item[1])
    local id = fields['id'] or ''
    local entry = redis.call('XADD', KEYS[1], '*', '__data__', fields['__data__'] or '', 'id', id,
      'failures', fields['failures'] or '0', 'crashes', (tonumber(fields['crashes'] or '0') or 0) + crashed,
      'queued', fields['queued'] or item[1]:match('^%d+'))
    if id ~= '' then redis.call('HSET', KEYS[2], id, 'stream ' .. entry) end
  end
end
if ARGV[4] ~= '' and #pending < 100 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[4]) end
return #pending
"""
"""Without a consumer (ARGV[4]): what lost its lease. An entry that was held, which its count of 2 tells, has taken its
worker down; one that was only read ahead has not. With a consumer: all that it has, at its stop, and then itself."""
_FORGET = """
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #consumer, 2 do of[consumer[i]] = consumer[i + 1] end
  if of.pending == 0 and of.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    forgotten = forgotten + 1
  end
end
return forgotten
"""
"""Only a consumer without pending entries: what it has would be lost with it."""


@dataclass(frozen=True)
class Keys:
    """The keys of one stream, in the order in which the scripts take them."""

    stream: str

    @property
    def places(self) -> str:
        return f"{{{self.stream}}}:places"

    @property
    def delayed(self) -> str:
        return f"{{{self.stream}}}:delayed"

    @property
    def dead(self) -> str:
        return f"{{{self.stream}}}:dead"

    @property
    def consumers(self) -> str:
        return f"{{{self.stream}}}:consumers"

    def done(self, message_id: str) -> str:
        return f"{{{self.stream}}}:done:{message_id}"


class Publication:
    """Puts messages on any stream, each once."""

    def __init__(self, redis: RedisClient) -> None:
        self._publish = redis.register_script(_PUBLISH)
        self._round_trips = RoundTrips(redis)

    async def __call__(self, stream: str, message_id: str, body: str) -> bool:
        """False: the message stands on the stream, waits, is dead, or was handled in the last hour."""
        keys = Keys(stream)
        names = [keys.stream, keys.places, keys.delayed, keys.dead, keys.done(message_id)]
        return bool(await self._round_trips.run(self._publish, names, message_id, body))


class Hold(IntEnum):
    """What a worker that was given an entry may do with it."""

    LOST = 0
    HELD = 1
    DONE_BEFORE = 2


@dataclass(frozen=True)
class Entry:
    """A stream entry: the message's bytes as they were sent, and how often it failed or took its worker down."""

    entry_id: str
    body: bytes
    failures: int = 0
    crashes: int = 0
    message_id: str = ""
    """As its publication noted it; empty for a foreign producer's, whose place nobody keeps."""
    first_queued_ms: int = 0
    """Carried along by an entry that was put back; 0 for one that was not."""

    @classmethod
    def parse(cls, entry_id: bytes, fields: dict[bytes, bytes]) -> Self:
        """Counters that are no numbers, as a foreign producer may send, count as zero."""
        failures, crashes, queued_ms = (_count(fields.get(name)) for name in (b"failures", b"crashes", b"queued"))
        message_id = fields.get(ID_FIELD, b"").decode(errors="replace")
        return cls(entry_id.decode(), fields.get(BODY_FIELD, b""), failures, crashes, message_id, queued_ms)

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        return self.failures + self.crashes + 1

    @property
    def queued_ms(self) -> int:
        return self.first_queued_ms or int(self.entry_id.partition("-")[0])

    @property
    def queued_at(self) -> datetime:
        """When it was first put on the stream, by the server's clock; a time to come counts as now."""
        now = datetime.now(UTC)
        return now if self.queued_ms / 1000 > now.timestamp() else datetime.fromtimestamp(self.queued_ms / 1000, UTC)


_Settling = tuple[Entry, str | None]
"""An entry, and the message's id where it is known by that as done."""


def _count(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() and len(value) <= _LONGEST_NUMBER else 0


class WorkStream:
    """A consumer's view of one stream. Every method raises redis.RedisError when the broker is away."""

    def __init__(self, redis: RedisClient, stream: str, *, group: str, consumer: str, lease: timedelta) -> None:
        self.stream = stream
        self.group = group
        self.keys = Keys(stream)
        self._redis = redis
        self._consumer = consumer
        self._lease_ms = int(lease.total_seconds() * 1000)
        self._holds = Together(self._hold_all)
        self._dones = Together(self._done_all)
        self._hold = redis.register_script(_HOLD)
        self._done = redis.register_script(_DONE)
        self._delay = redis.register_script(_DELAY)
        self._bury = redis.register_script(_BURY)
        self._mend = redis.register_script(_MEND)
        self._wake = redis.register_script(_WAKE)
        self._put_back = redis.register_script(_PUT_BACK)
        self._forget = redis.register_script(_FORGET)

    async def ensure_group(self) -> bool:
        """Makes stream and group, from the first entry on; what is there already stays. Whether it had to be made."""
        try:
            await self._redis.xgroup_create(self.stream, self.group, id="0", mkstream=True)
        except OutOfMemoryError:
            if not await self._has_group():
                raise
            return False
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            return False
        return True

    async def _has_group(self) -> bool:
        """Redis without memory makes no group, but a consumer of one that is there can start and free some."""
        try:
            groups = await self._redis.xinfo_groups(self.stream)
        except ResponseError:  # there is no such stream
            return False
        return any(group["name"] == self.group.encode() for group in groups)

    async def hold(self, entry: Entry, message_id: str | None = None) -> Hold:
        """Renews the lease, if this consumer still has it."""
        return Hold(await self._holds((entry, message_id)))

    async def _hold_all(self, calls: list[_Settling]) -> list[int]:
        keys, arguments = [self.stream], [self.group, self._consumer]
        for entry, message_id in calls:
            arguments += [entry.entry_id, self._done_key(keys, message_id)]
        return await _run(self._hold, keys, *arguments)

    async def done(self, entry: Entry, message_id: str) -> bool:
        """Acknowledges and removes. False: the lease was lost, and the work counts as another's."""
        return bool(await self._dones((entry, message_id)))

    async def drop(self, entry: Entry) -> bool:
        """Acknowledges and removes without counting the message as done: another copy of it may still be needed."""
        return bool(await self._dones((entry, None)))

    async def _done_all(self, calls: list[_Settling]) -> list[int]:
        keys, arguments = self._both, [self.group, str(int(_DONE_LIFETIME.total_seconds()))]
        for entry, message_id in calls:
            arguments += [entry.entry_id, entry.message_id, self._done_key(keys, message_id)]
        return await _run(self._done, keys, *arguments)

    def _done_key(self, keys: list[str], message_id: str | None) -> str:
        """Adds the key to the others, and tells its place among them."""
        if message_id is None:
            return "0"
        keys.append(self.keys.done(message_id))
        return str(len(keys))

    async def delay(self, entry: Entry, delay: timedelta, reason: str = "") -> bool:
        """Takes the entry off the stream, to come back after the delay with one failure more."""
        due = (datetime.now(UTC) + delay).timestamp() * 1000
        member = json.dumps(
            {
                "entry": entry.entry_id,
                "id": entry.message_id,
                "body": entry.body.decode(),
                "failures": entry.failures + 1,
                "crashes": entry.crashes,
                "reason": reason,
                "queued": str(entry.queued_ms),
            },
            ensure_ascii=False,
        )
        keys = [self.stream, self.keys.places, self.keys.delayed]
        return bool(await _run(self._delay, keys, self.group, entry.entry_id, entry.message_id, due, member))

    async def bury(self, entry: Entry, error: SluiceError) -> bool:
        """Moves the entry to the dead letters, its bytes as they were, with the reason."""
        reason: dict[str, Any] = {
            "__data__": entry.body,
            "id": entry.message_id,
            "failures": entry.failures,
            "crashes": entry.crashes,
            "queued": entry.queued_ms,
            "attempts": entry.attempt,
            "error": error.type,
            "class": type(error).__name__,
            "detail": error.detail,
            "worker": self._consumer,
            "time": datetime.now(UTC).isoformat(),
        }
        arguments = [part for pair in reason.items() for part in pair]
        keys = [self.stream, self.keys.places, self.keys.dead]
        return bool(await _run(self._bury, keys, self.group, entry.entry_id, entry.message_id, *arguments))

    async def mend(self) -> bool:
        """Gives the entries ids of the present, if one of them is from the future. Whether that had to be done."""
        return bool(await _run(self._mend, self._both, self.group, int(_FARTHEST.total_seconds() * 1000)))

    async def wake(self) -> int:
        """Puts the delayed entries that are due back on the stream; returns how many."""
        now = datetime.now(UTC).timestamp() * 1000
        return int(await _run(self._wake, [self.stream, self.keys.places, self.keys.delayed], now))

    async def reap(self) -> int:
        """Puts the entries whose lease ran out back on the stream; returns how many.

        An entry counts a crash more if its worker had begun with it.
        """
        return int(await _run(self._put_back, self._both, self.group, self._consumer, self._lease_ms, ""))

    async def release(self) -> int:
        """Puts all that this consumer has back on the stream, uncounted, and takes it out of the group."""
        released, last = 0, _AT_ONCE
        while last == _AT_ONCE:
            last = int(await _run(self._put_back, self._both, self.group, self._consumer, 0, self._consumer))
            released += last
        return released

    async def forget(self, idle: timedelta = timedelta(hours=1)) -> int:
        """Takes consumers that have nothing, and have not asked for so long, out of the group; returns how many."""
        return int(await _run(self._forget, [self.stream], self.group, int(idle.total_seconds() * 1000)))

    @property
    def _both(self) -> list[str]:
        return [self.stream, self.keys.places]


async def _run(script: AsyncScript, keys: list[str], *arguments: Any) -> Any:
    return await script(keys=keys, args=list(arguments))
