"""Processes that a benchmark starts, talks with by lines of JSON, and whose CPU time and connections it counts."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"


@dataclass
class Child:
    process: asyncio.subprocess.Process
    ready: Any = None
    """What it told when it was ready."""

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Self:
        """Runs the module, which tells by a first line that it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
        )  # fmt: skip
        child = cls(process)
        child.ready = await child.answer()
        return child

    async def ask(self, what: str, value: Any = None) -> Any:
        await self.tell(what, value)
        return await self.answer()

    async def tell(self, what: str, value: Any = None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, value]).encode() + b"\n")
        await self.process.stdin.drain()

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 180))

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 20)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def told() -> tuple[str, Any] | None:
    """In the child: what it was told next; None at the end."""
    reader = await _standard_input()
    line = await reader.readline()
    if not line:
        return None
    what, value = json.loads(line)
    return what, value


async def _standard_input(found: list[asyncio.StreamReader] = []) -> asyncio.StreamReader:  # noqa: B006
    if not found:
        reader = asyncio.StreamReader(limit=2**26)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        found.append(reader)
    return found[0]


def tell_parent(value: Any = None) -> None:
    print(json.dumps(value), flush=True)


def cpu_seconds(pid: int) -> float:
    """User and system time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def connections_to(pid: int, port: int) -> set[int]:
    """Local ports of the process's established connections to a local port."""
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found: set[int] = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if state == _ESTABLISHED and int(remote.partition(":")[2], 16) == port and f"socket:[{rest[5]}]" in sockets:
            found.add(int(local.partition(":")[2], 16))
    return found


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
