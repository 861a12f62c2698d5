"""A process that writes tokens to the reply logs of many requests: the very bytes that a ReplyWriter sends.

They are made beforehand, so that what a router does beside the gateway costs the gateway nothing of a small machine.
Each token carries its number and when it was due, in seconds after the first, so that the writer's own lateness counts
as delay.
"""

import asyncio
import hashlib
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hiredis
import uvloop
from pydantic import SecretStr

from benchmarks.children import tell_parent, told
from benchmarks.figures import percentile
from sluice.access import Level
from sluice.connection import connect
from sluice.replies import Event, ReplyLog
from sluice.sealing import Keyring

LANE = Level.INTERNAL
TENANT = "default"
_TICK_SECONDS = 0.002


class Recorder:
    """A client that sends nothing and keeps each call of a script, as it goes over the wire."""

    def __init__(self) -> None:
        self.script = ""
        self.sent: list[bytes] = []

    def register_script(self, script: str) -> "Recorder":
        self.script = script
        return self

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.script.encode()).hexdigest()  # Redis's name for it

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> int:
        self.sent.append(hiredis.pack_command(("EVALSHA", self.sha, len(keys), *keys, *args)))
        return 0


class Wire:
    """A bare connection, whose answers are counted and are errors or not."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answers = hiredis.Reader()
        self._open = 0

    @classmethod
    async def to(cls, url: str) -> "Wire":
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    def send(self, commands: Sequence[bytes]) -> None:
        self._open += len(commands)
        self._writer.write(b"".join(commands))

    async def settle(self, upto: int = 0) -> None:
        """Waits until at most so many answers are missing."""
        while self._open > upto:
            self._answers.feed(await self._reader.read(2**16))
            while (answer := self._answers.gets()) is not False:
                if isinstance(answer, Exception):
                    raise answer
                self._open -= 1

    def close(self) -> None:
        self._writer.close()


async def prepare(
    keyring: Keyring, request_ids: Sequence[str], rate: float, count: int
) -> tuple[Recorder, list[tuple[float, bytes]]]:
    """The tokens in the order in which they are due: the streams begin at random moments of the first interval."""
    recorder, due = Recorder(), list[float]()
    replies = ReplyLog(recorder, keyring)
    for request_id in request_ids:
        writer, first = replies.writer(TENANT, LANE, request_id, 1), random.random() / rate
        for number in range(count):
            due.append(first + number / rate)
            await writer.append(Event("token", {"text": f"{number}@{due[-1]:.4f} ", "attempt": 1}))
    return recorder, sorted(zip(due, recorder.sent, strict=True))


async def write(
    url: str, replies: ReplyLog, keyring: Keyring, request_ids: list[str], rate: float, seconds: float
) -> dict[str, float]:
    """Writes at the rate to all of them, then ends each. Tells when it began, and how late it was itself."""
    count = int(rate * seconds)
    recorder, tokens = await prepare(keyring, request_ids, rate, count)
    wire = await Wire.to(url)
    wire.send([hiredis.pack_command(("SCRIPT", "LOAD", recorder.script))])
    await wire.settle()
    began, sent, late = time.monotonic(), 0, list[float]()
    tell_parent()
    while sent < len(tokens):
        now, upto = time.monotonic() - began, sent
        while upto < len(tokens) and tokens[upto][0] <= now:
            late.append(now - tokens[upto][0])
            upto += 1
        wire.send([token for _, token in tokens[sent:upto]])
        sent = upto
        await wire.settle(upto=1000)
        await asyncio.sleep(_TICK_SECONDS)
    await wire.settle()
    took = time.monotonic() - began
    wire.close()
    await asyncio.gather(*[replies.finish(TENANT, LANE, request_id, Event("done")) for request_id in request_ids])
    late.sort()
    return {"began": began, "tokens_per_s": len(tokens) / took, "late_p95_ms": percentile(late, 0.95) * 1000}


async def capacity(url: str, keyring: Keyring, streams: int, tokens: int) -> float:
    """Tokens a second that it can write when nothing paces it and nobody reads."""
    recorder, prepared = await prepare(keyring, [f"capacity-{number}" for number in range(streams)], 10, tokens)
    wire = await Wire.to(url)
    wire.send([hiredis.pack_command(("SCRIPT", "LOAD", recorder.script))])
    began = time.monotonic()
    for at in range(0, len(prepared), streams):
        wire.send([token for _, token in prepared[at : at + streams]])
        await wire.settle(upto=1000)
    await wire.settle()
    wire.close()
    return len(prepared) / (time.monotonic() - began)


def keyring_of(state: Path) -> Keyring:
    """What the lane has in a system whose state lies there."""
    return Keyring.from_files({LANE: (state / "keys" / f"level-{LANE.lower()}.key",)}, state / "data" / "keys")


async def serve(url: str, state: Path) -> None:
    redis, keyring = connect(SecretStr(url)), keyring_of(state)
    replies = ReplyLog(redis, keyring)
    tell_parent()
    while (order := await told()) is not None:
        what, value = order
        tell_parent(
            await write(url, replies, keyring, **value) if what == "write" else await capacity(url, keyring, **value)
        )
    await replies.close()
    await redis.aclose()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
