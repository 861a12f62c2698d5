"""One work stream in Redis: its group, its delayed set and its dead letters, each change of an entry atomic.

Keys: the stream itself, `{stream}:delayed` (sorted set by due time), `{stream}:dead` (stream) and
`{stream}:done:ID` (ids handled in the last hour). They share a hash tag, so that a cluster can run the scripts.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Self

from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from sluice.connection import RedisClient
from sluice.errors import SluiceError

BODY_FIELD = b"__data__"
_DONE_LIFETIME = timedelta(hours=1)

_HOLD = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', 2, 'JUSTID')
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then return 2 end
return 1
"""
_DONE = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
if KEYS[2] then redis.call('SET', KEYS[2], '1', 'EX', ARGV[3]) end
return 1
"""
_DELAY = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
return 1
"""
_BURY = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return 1
"""
_WAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, member in ipairs(due) do
  local entry = cjson.decode(member)
  redis.call('XADD', KEYS[1], '*', '__data__', entry.body, 'failures', entry.failures, 'crashes', entry.crashes)
  redis.call('ZREM', KEYS[2], member)
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
    redis.call('XADD', KEYS[1], '*', '__data__', fields['__data__'] or '',
      'failures', fields['failures'] or '0', 'crashes', (tonumber(fields['crashes'] or '0') or 0) + crashed)
  end
end
return #pending
"""
"""Without a consumer (ARGV[4]): what lost its lease. An entry that was held, which its count of 2 tells, has taken its
worker down; one that was only read ahead has not. With a consumer: all that it has, at its stop."""


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

    @classmethod
    def parse(cls, entry_id: bytes, fields: dict[bytes, bytes]) -> Self:
        """Counters that are no numbers, as a foreign producer may send, count as zero."""
        failures, crashes = (_count(fields.get(name)) for name in (b"failures", b"crashes"))
        return cls(entry_id.decode(), fields.get(BODY_FIELD, b""), failures, crashes)

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        return self.failures + self.crashes + 1


def _count(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0


class WorkStream:
    """A consumer's view of one stream. Every method raises redis.RedisError when the broker is away."""

    def __init__(self, redis: RedisClient, stream: str, *, group: str, consumer: str, lease: timedelta) -> None:
        self.stream = stream
        self.group = group
        self._redis = redis
        self._consumer = consumer
        self._lease_ms = int(lease.total_seconds() * 1000)
        self._delayed = f"{{{stream}}}:delayed"
        self._dead = f"{{{stream}}}:dead"
        self._hold = redis.register_script(_HOLD)
        self._done = redis.register_script(_DONE)
        self._delay = redis.register_script(_DELAY)
        self._bury = redis.register_script(_BURY)
        self._wake = redis.register_script(_WAKE)
        self._put_back = redis.register_script(_PUT_BACK)

    async def ensure_group(self) -> None:
        """Makes stream and group, from the first entry on; what is there already stays."""
        try:
            await self._redis.xgroup_create(self.stream, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def hold(self, entry: Entry, message_id: str | None = None) -> Hold:
        """Renews the lease, if this consumer still has it."""
        keys = [self.stream] if message_id is None else [self.stream, self._done_key(message_id)]
        return Hold(await _run(self._hold, keys, self.group, self._consumer, entry.entry_id))

    async def done(self, entry: Entry, message_id: str) -> bool:
        """Acknowledges and removes. False: the lease was lost, and the work counts as another's."""
        keys = [self.stream, self._done_key(message_id)]
        lifetime = int(_DONE_LIFETIME.total_seconds())
        return bool(await _run(self._done, keys, self.group, entry.entry_id, lifetime))

    async def drop(self, entry: Entry) -> bool:
        """Acknowledges and removes without counting the message as done: another copy of it may still be needed."""
        return bool(await _run(self._done, [self.stream], self.group, entry.entry_id))

    async def delay(self, entry: Entry, delay: timedelta) -> bool:
        """Takes the entry off the stream, to come back after the delay with one failure more."""
        due = (datetime.now(UTC) + delay).timestamp() * 1000
        member = json.dumps(
            {
                "id": entry.entry_id,
                "body": entry.body.decode(),
                "failures": entry.failures + 1,
                "crashes": entry.crashes,
            },
            ensure_ascii=False,
        )
        return bool(await _run(self._delay, [self.stream, self._delayed], self.group, entry.entry_id, due, member))

    async def bury(self, entry: Entry, error: SluiceError) -> bool:
        """Moves the entry to the dead letters, its bytes as they were, with the reason."""
        reason: dict[str, Any] = {
            "__data__": entry.body,
            "failures": entry.failures,
            "crashes": entry.crashes,
            "error": error.type,
            "detail": error.detail,
            "worker": self._consumer,
            "time": datetime.now(UTC).isoformat(),
        }
        arguments = [part for pair in reason.items() for part in pair]
        return bool(await _run(self._bury, [self.stream, self._dead], self.group, entry.entry_id, *arguments))

    async def wake(self) -> int:
        """Puts the delayed entries that are due back on the stream; returns how many."""
        now = datetime.now(UTC).timestamp() * 1000
        return int(await _run(self._wake, [self.stream, self._delayed], now))

    async def reap(self) -> int:
        """Puts the entries whose lease ran out back on the stream; returns how many.

        An entry counts a crash more if its worker had begun with it.
        """
        return int(await _run(self._put_back, [self.stream], self.group, self._consumer, self._lease_ms, ""))

    async def release(self) -> int:
        """Puts all that this consumer has back on the stream, uncounted; for a consumer that stops."""
        arguments = (self.group, self._consumer, 0, self._consumer)
        return int(await _run(self._put_back, [self.stream], *arguments))

    def _done_key(self, message_id: str) -> str:
        return f"{{{self.stream}}}:done:{message_id}"


async def _run(script: AsyncScript, keys: list[str], *arguments: Any) -> Any:
    return await script(keys=keys, args=list(arguments))
