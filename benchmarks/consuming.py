"""A consuming process, told what to do by lines on its standard input, and its handle in the measuring process."""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from benchmarks.contenders import contenders


@dataclass
class Child:
    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, name: str, url: str, public_key: bytes, keys: Path) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, name, url, public_key.hex(), str(keys),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        child = cls(process)
        await child._answer()
        return child

    async def drain(self, count: int) -> dict[str, float]:
        """Handles so many messages that wait: how many a second, and microseconds of CPU for each."""
        return await self._ask("drain", count)

    async def listen(self) -> None:
        await self._ask("listen", 0)

    async def rest(self) -> None:
        await self._ask("rest", 0)

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()

    async def _ask(self, what: str, count: int) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {count}\n".encode())
        return await self._answer()

    async def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 120)
        return json.loads(line)


async def serve(name: str, url: str, public_key: bytes, keys: Path) -> None:
    [contender] = [each for each in contenders(url, public_key, keys) if each.name == name]
    redis: Any = Redis.from_url(url)
    listening = AsyncExitStack()
    print("null", flush=True)

    async def reply(request_id: str) -> None:
        await redis.rpush(f"reply:{request_id}", "1")

    while line := await asyncio.to_thread(sys.stdin.readline):
        what, _, count = line.strip().partition(" ")
        result: Any = None
        if what == "drain":
            result = await drain(contender, int(count))
        elif what == "listen":
            await listening.enter_async_context(contender.consuming(reply))
        elif what == "rest":
            await listening.aclose()
        print(json.dumps(result), flush=True)
    await contender.close()
    await redis.aclose()


async def drain(contender: Any, count: int) -> dict[str, float]:
    """From the first message handled to the last."""
    seen: set[str] = set()
    marks: list[tuple[float, float]] = []
    complete = asyncio.Event()

    async def handle(request_id: str) -> None:
        seen.add(request_id)
        if len(seen) in (1, count):
            marks.append((time.perf_counter(), time.process_time()))
        if len(seen) == count:
            complete.set()

    async with contender.consuming(handle):
        await asyncio.wait_for(complete.wait(), 100)
        (begun, cpu_begun), (ended, cpu_ended) = marks[:2]
        await asyncio.sleep(0.1)  # the last acknowledgements
    return {"rate": (count - 1) / (ended - begun), "cpu_us": (cpu_ended - cpu_begun) / (count - 1) * 1e6}


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]), Path(sys.argv[4])))
