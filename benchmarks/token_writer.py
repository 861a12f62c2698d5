"""A process that writes tokens to the reply logs of many requests, as the llm-router does: by ReplyWriter, coalesced.

Each token carries its number and the time at which it was due, so that the writer's own lateness counts as delay.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from benchmarks.children import tell_parent, told
from benchmarks.figures import percentile
from sluice.access import Level
from sluice.connection import connect
from sluice.replies import Event, ReplyLog, ReplyWriter
from sluice.sealing import Keyring

LANE = Level.INTERNAL
TENANT = "default"
_TICK_SECONDS = 0.01


@dataclass
class _Stream:
    request_id: str
    writer: ReplyWriter
    begins: float
    written: int = 0

    def due(self, now: float, interval: float, count: int) -> list[tuple[int, float]]:
        """The tokens that were to be written by now, each with its time."""
        until = min(count, int((now - self.begins) / interval) + 1) if now >= self.begins else 0
        tokens = [(n, self.begins + n * interval) for n in range(self.written, until)]
        self.written = max(until, self.written)
        return tokens


async def write(replies: ReplyLog, request_ids: list[str], rate: float, seconds: float) -> dict[str, float]:
    """Writes at the rate to all of them, from random moments on; then ends each. Tells how late it was itself."""
    begins, count = time.monotonic() + 0.5, int(rate * seconds)
    streams = [
        _Stream(id_, replies.writer(TENANT, LANE, id_, 1), begins + random.random() / rate) for id_ in request_ids
    ]
    late: list[float] = []
    while open_streams := [stream for stream in streams if stream.written < count]:
        now = time.monotonic()
        writes = [(stream, stream.due(now, 1 / rate, count)) for stream in open_streams]
        await asyncio.gather(*[_append(stream, tokens, late) for stream, tokens in writes if tokens])
        await asyncio.sleep(max(0.0, now + _TICK_SECONDS - time.monotonic()))
    took = time.monotonic() - begins
    await asyncio.gather(*[replies.finish(TENANT, LANE, stream.request_id, Event("done")) for stream in streams])
    late.sort()
    return {"tokens_per_s": len(streams) * count / took, "late_p95_ms": percentile(late, 0.95) * 1000}


async def capacity(replies: ReplyLog, streams: int, seconds: float) -> float:
    """Tokens a second that it can write when nothing paces it and nobody reads."""
    ends, written = time.monotonic() + seconds, 0

    async def one(number: int) -> None:
        nonlocal written
        writer = replies.writer(TENANT, LANE, f"capacity-{number}", 1)
        while (now := time.monotonic()) < ends:
            await writer.append(Event("token", {"text": f"{written}@{now:.4f} ", "attempt": 1}))
            written += 1

    await asyncio.gather(*[one(number) for number in range(streams)])
    return written / seconds


async def _append(stream: _Stream, tokens: list[tuple[int, float]], late: list[float]) -> None:
    text = "".join(f"{number}@{due:.4f} " for number, due in tokens)
    await stream.writer.append(Event("token", {"text": text, "attempt": 1}))
    late += [time.monotonic() - due for _, due in tokens]


def keyring_of(state: Path) -> Keyring:
    """What the lane has in a system whose state lies there."""
    return Keyring.from_files({LANE: (state / "keys" / f"level-{LANE.lower()}.key",)}, state / "data" / "keys")


async def serve(url: str, state: Path) -> None:
    redis = connect(SecretStr(url))
    replies = ReplyLog(redis, keyring_of(state))
    tell_parent()
    while (order := await told()) is not None:
        what, value = order
        tell_parent(await (write if what == "write" else capacity)(replies, **value))
    await replies.close()
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
