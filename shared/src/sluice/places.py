"""Where a message stands, and why it is not done yet: read without changing anything."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sluice.connection import RedisClient
from sluice.workstream import Keys

COUNTED = 200
"""As many as are counted before a message, since Redis waits meanwhile; that many may be more."""

_FIND = """
local where, entry = (redis.call('HGET', KEYS[2], ARGV[1]) or ''):match('^(%a+) (.+)$')
if where == 'delayed' then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], entry, entry)) do
    local of = cjson.decode(member)
    if of.id == ARGV[1] then return {'delayed', entry, of.failures + of.crashes + 1, of.reason or ''} end
  end
elseif where then
  local found = redis.call('XRANGE', where == 'dead' and KEYS[4] or KEYS[1], entry, entry)[1]
  if not found then return nil end
  local of = {}
  for i = 1, #found[2], 2 do of[found[2][i]] = found[2][i + 1] end
  if where == 'dead' then return {'dead', entry, of.attempts or '1', of.detail or '', of.worker or ''} end
  local attempt = (tonumber(of.failures) or 0) + (tonumber(of.crashes) or 0) + 1
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local taken = redis.call('XPENDING', KEYS[1], group[2], entry, entry, 1)[1]
    if taken and taken[4] >= 2 then return {'running', entry, attempt, taken[3], taken[2]} end
  end
  local queued = (of.queued or ''):match('^%d+$')
  if not queued or #queued > 13 then queued = entry end
  return {'waiting', queued, attempt, #redis.call('XRANGE', KEYS[1], '-', '(' .. entry, 'COUNT', ARGV[2]), entry}
end
return nil
"""
"""The hash tells where to look; what is not there any more stands nowhere. An entry that was read ahead (count 1) still
waits, and what is done is deleted: all that stands before an entry is waited for."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a message stands. What does not belong to its state is None.

    waiting: `ahead` messages stand before it (at most COUNTED are counted), `since` it was first put on the stream.
    running: `worker` has it, and gave its last sign of life at `since`.
    delayed: tried again at `due`, because of `reason`.
    dead: given up at `since` by `worker`, because of `reason`; `entry_id` is the dead letter's.
    """

    state: Literal["waiting", "running", "delayed", "dead"]
    attempt: int
    """The attempt that comes next or runs, 1 for the first; of a dead letter the last."""
    entry_id: str | None = None
    ahead: int | None = None
    worker: str | None = None
    since: datetime | None = None
    due: datetime | None = None
    reason: str | None = None


class Places:
    """Looks messages up by stream and id. Every method raises redis.RedisError when the broker is away."""

    def __init__(self, redis: RedisClient) -> None:
        self._find = redis.register_script(_FIND)

    async def find(self, stream: str, message_id: str) -> Place | None:
        """Where the message stands; None: nowhere, as it is done or was never sent."""
        keys = Keys(stream)
        names = [keys.stream, keys.places, keys.delayed, keys.dead]
        found = await self._find(keys=names, args=[message_id, COUNTED])
        return _place(*(part.decode() if isinstance(part, bytes) else part for part in found)) if found else None


def _place(state: Any, where: str, attempt: Any, *more: Any) -> Place:
    attempt = int(attempt)
    if state == "delayed":
        due = datetime.fromtimestamp(float(where) / 1000, UTC)
        return Place(state=state, attempt=attempt, due=due, reason=more[0] or None)
    if state == "running":
        seen = datetime.now(UTC) - timedelta(milliseconds=more[0])
        return Place(state=state, attempt=attempt, entry_id=where, since=seen, worker=more[1])
    since = datetime.fromtimestamp(int(where.partition("-")[0]) / 1000, UTC)
    if state == "waiting":
        return Place(state=state, attempt=attempt, entry_id=more[1], since=since, ahead=more[0])
    return Place(
        state=state, attempt=attempt, entry_id=where, since=since, reason=more[0] or None, worker=more[1] or None
    )
