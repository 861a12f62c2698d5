"""The dead letters of all streams, for operators: count, list, look at, put back, discard. Their bytes never change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from redis.exceptions import ResponseError

from sluice.connection import RedisClient
from sluice.messages import MESSAGES, UNSIGNED
from sluice.workstream import Keys

STREAMS: tuple[str, ...] = tuple(
    sorted({s for kind in MESSAGES for s in kind.streams()} | {u.stream for u in UNSIGNED})
)
LARGEST_LISTED = 64 * 1024
"""A list carries a letter's bytes up to this size."""

_LIST = """
local letters = {}
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])) do
  local fields, size = entry[2], 0
  for i = 1, #fields, 2 do
    if fields[i] == '__data__' then
      size = #fields[i + 1]
      if size > tonumber(ARGV[3]) then fields[i + 1] = '' end
    end
  end
  letters[#letters + 1] = {entry[1], size, fields}
end
return letters
"""
_TAKE = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return 0 end
local of = {}
for i = 1, #found[2], 2 do of[found[2][i]] = found[2][i + 1] end
local id = of.id or ''
redis.call('XDEL', KEYS[1], ARGV[1])
"""
_DISCARD = (
    _TAKE
    + """
if redis.call('HGET', KEYS[2], id) == 'dead ' .. ARGV[1] then redis.call('HDEL', KEYS[2], id) end
return 1
"""
)
_PUT_BACK = (
    _TAKE
    + """
local entry = redis.call('XADD', KEYS[3], '*', '__data__', of.__data__ or '', 'id', id, 'failures', 0, 'crashes', 0,
  'queued', of.queued or '')
if id ~= '' then redis.call('HSET', KEYS[2], id, 'stream ' .. entry) end
return 1
"""
)


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """What a consumer gave up, with the reason. What a producer may send is as it came: `body` may be anything."""

    stream: str
    id: str
    size: int
    body: bytes | None
    """None in a list, where it is larger than LARGEST_LISTED."""
    message_id: str
    attempts: int
    failures: int
    crashes: int
    error: str
    error_class: str
    detail: str
    worker: str
    died_at: datetime

    @classmethod
    def parse(cls, stream: str, entry_id: bytes, size: int, fields: Sequence[bytes]) -> Self:
        of = dict(zip(fields[::2], fields[1::2], strict=True))
        body = of.pop(b"__data__", b"")
        text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in of.items()}
        milliseconds = int(entry_id.partition(b"-")[0])
        return cls(
            stream=stream,
            id=entry_id.decode(),
            size=size,
            body=body if len(body) == size else None,
            message_id=text.get("id", ""),
            **{name: _number(text.get(name)) for name in ("attempts", "failures", "crashes")},
            error=text.get("error", ""),
            error_class=text.get("class", ""),
            detail=text.get("detail", ""),
            worker=text.get("worker", ""),
            died_at=datetime.fromtimestamp(milliseconds / 1000, UTC),
        )

    @property
    def place(self) -> tuple[int, int, str]:
        """By which letters are ordered, over all streams."""
        milliseconds, _, number = self.id.partition("-")
        return int(milliseconds), int(number), self.stream


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


class DeadLetters:
    """Every method raises redis.RedisError when the broker is away."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._list = redis.register_script(_LIST)
        self._discard = redis.register_script(_DISCARD)
        self._put_back = redis.register_script(_PUT_BACK)

    async def counts(self) -> dict[str, int]:
        """How many each stream has; streams without any are left out."""
        pipeline = self._redis.pipeline(transaction=False)
        for stream in STREAMS:
            pipeline.xlen(Keys(stream).dead)
        return {stream: count for stream, count in zip(STREAMS, await pipeline.execute(), strict=True) if count}

    async def page(
        self, streams: Sequence[str], limit: int, before: tuple[int, int, str] | None = None
    ) -> list[DeadLetter]:
        """The newest letters of these streams whose place comes before the one that is given."""
        start = f"{before[0]}-{before[1]}" if before else "+"
        # One more of each: a letter that died in the same moment as `before` may have to be left out.
        pipeline = self._redis.pipeline(transaction=False)
        for stream in streams:
            await self._list(keys=[Keys(stream).dead], args=[start, limit + 1, LARGEST_LISTED], client=pipeline)
        found = zip(streams, await pipeline.execute(), strict=True)
        letters = [DeadLetter.parse(stream, *letter) for stream, letters in found for letter in letters]
        letters.sort(key=lambda letter: letter.place, reverse=True)
        return [letter for letter in letters if before is None or letter.place < before][:limit]

    async def get(self, stream: str, letter_id: str) -> DeadLetter | None:
        """The letter with all its bytes."""
        try:
            found = await self._redis.xrange(Keys(stream).dead, letter_id, letter_id)
        except ResponseError:  # what is no id of an entry is nobody's
            return None
        if not found:
            return None
        [(entry_id, fields)] = found
        flat = [part for pair in fields.items() for part in pair]
        return DeadLetter.parse(stream, entry_id, len(fields.get(b"__data__", b"")), flat)

    async def discard(self, letter: DeadLetter) -> bool:
        """Deletes the letter, so that its message may be published again. False: it is gone already."""
        keys = Keys(letter.stream)
        return bool(await self._discard(keys=[keys.dead, keys.places], args=[letter.id]))

    async def put_back(self, letter: DeadLetter) -> bool:
        """Puts the letter's bytes back on its stream, as if they came for the first time. False: it is gone."""
        keys = Keys(letter.stream)
        return bool(await self._put_back(keys=[keys.dead, keys.places, keys.stream], args=[letter.id]))
