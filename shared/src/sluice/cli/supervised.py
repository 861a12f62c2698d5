"""One program kept running, in a session of its own."""

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from sluice.cli.lane_users import UMASK, SystemUser
from sluice.cli.pidfiles import PidFiles
from sluice.cli.programs import Program
from sluice.errors import SluiceError

_FIRST_BACKOFF_SECONDS = 0.5
_LAST_BACKOFF_SECONDS = 4.0
_STEADY_SECONDS = 10.0
_PIPE_GRACE_SECONDS = 1.0
_TAIL_LINES = 15
_READ_BYTES = 65_536
_LINE_BYTES = 262_144


class StartError(SluiceError):
    """A program did not get ready; `tail` holds the last lines that it wrote."""

    def __init__(self, detail: str, tail: list[bytes]) -> None:
        super().__init__(detail)
        self.tail = tail


class Supervised:
    """Starts a program, starts it again when it ends unasked, and stops it.

    The session of its own keeps a Ctrl-C at the terminal from reaching it: the supervisor decides who stops when.
    """

    def __init__(
        self, program: Program, *, output: Callable[[Program, bytes], None], say: Callable[[str], None], pids: PidFiles
    ) -> None:
        self.program = program
        self._output = output
        self._say = say
        self._pids = pids
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._process: Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._herald: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and return once it is ready for work.

        Raises:
            StartError: it ended first, or was not ready in time.
        """
        began = time.monotonic()
        process = await self._spawn()
        ended = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self.program.probe.wait())
        try:
            timeout = self.program.start_timeout_seconds
            done, _ = await asyncio.wait({ended, ready}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            ready.cancel()
        if ended in done:
            await self._settle(process)
            raise StartError(f"{self.program.name} {_ending(process)} before it was ready", list(self._tail))
        if not done:
            raise StartError(f"{self.program.name} was not ready within {timeout:g} s", list(self._tail))
        self._say(f"{self.program.name} is ready ({time.monotonic() - began:.1f} s)")
        self._keeper = asyncio.create_task(self._keep(process))

    async def stop(self) -> None:
        """Ask it to stop (SIGTERM), wait for its grace, then kill what is left of its session."""
        await _cancel(self._keeper)
        await _cancel(self._herald)
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.program.grace_seconds):
                await process.wait()
        except TimeoutError:
            self._say(f"{self.program.name} did not stop within {self.program.grace_seconds:g} s and was killed")
            self.kill()
            await process.wait()
        await self._settle(process)

    def kill(self) -> None:
        """Kill its whole process group at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _keep(self, process: Process) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            began = time.monotonic()
            await process.wait()
            await self._settle(process)
            await _cancel(self._herald)
            if time.monotonic() - began > _STEADY_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            self._complain(_ending(process), backoff)
            process, backoff = await self._start_again(backoff)
            self._herald = asyncio.create_task(self._announce())

    async def _start_again(self, backoff: float) -> tuple[Process, float]:
        """The new process, and how long to wait before the next one."""
        while True:
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)
            try:
                return await self._spawn(), backoff
            except OSError as error:
                self._complain(f"cannot be started ({error.strerror})", backoff)

    def _complain(self, what: str, backoff: float) -> None:
        if self.program.quiet:
            for line in self._tail:
                self._say(f"  {self.program.name}: {line.decode(errors='replace')}")
        self._say(f"{self.program.name} {what}; starting it again in {backoff:g} s")

    async def _announce(self) -> None:
        await self.program.probe.wait()
        self._say(f"{self.program.name} is ready again")

    async def _spawn(self) -> Process:
        self._tail.clear()
        # A pipe of our own: with asyncio's, `wait` ends only when every heir of the pipe has closed it as well.
        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=dict(self.program.environment),
                stdin=DEVNULL,
                stdout=theirs,
                stderr=STDOUT,
                start_new_session=True,
                **_as(self.program.user),
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._pids.write(self.program.name, process.pid)
        self._process = process
        self._pump = asyncio.create_task(self._read(ours))
        return process

    async def _read(self, descriptor: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", 0)
        )
        try:
            async for line in lines(stream):
                self._tail.append(line)
                self._output(self.program, line)
        finally:
            transport.close()

    async def _settle(self, process: Process) -> None:
        """Once, after its end: kill what it left in its group, and read what it said last."""
        if self._process is not process:
            return
        self.kill()
        self._process = None
        self._pids.remove(self.program.name)
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=_PIPE_GRACE_SECONDS)
            await _cancel(self._pump)


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, none empty; one longer than 256 KB is cut into pieces."""
    rest = b""
    while block := await stream.read(_READ_BYTES):
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > _LINE_BYTES:
            whole, rest = [*whole, rest], b""
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _as(user: SystemUser | None) -> dict[str, Any]:
    """Nothing of root's groups goes along."""
    if user is None:
        return {}
    return {"user": user.uid, "group": user.gid, "extra_groups": user.groups, "umask": UMASK}


def _ending(process: Process) -> str:
    code = process.returncode
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended by itself (exit status {code})"


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
