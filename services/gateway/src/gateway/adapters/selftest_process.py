"""The leak self-test in a child process, which ends with whoever listens to it."""

import asyncio
import contextlib
import json
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from gateway.errors import SelftestFailedError

_LONGEST_SECONDS = 3600
_GRACE_SECONDS = 10
_LINE_BYTES = 1 << 20
_TOLD_CHARACTERS = 2000
_REPORT_BYTES = 16 << 20


class SelftestProcess:
    """Runs the operator's command with the operator's environment, and nothing that a request says.

    It leads no group of its own: whoever kills the gateway's group ends it too.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment

    @property
    def there(self) -> bool:
        return bool(self._command)

    async def __call__(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """The report; each line that the child says on the way is told. A child that is cancelled clears up.

        Raises:
            SelftestFailedError: it gave no report.
        """
        process = await self._start()
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                last, output = await asyncio.gather(_told(process, tell), _output(process))
                return _report(output, last or f"it ended with status {await process.wait()}")
        except TimeoutError as error:
            raise SelftestFailedError("the self-test took longer than an hour") from error
        except ValueError as error:
            raise SelftestFailedError("the self-test said more than a self-test says") from error
        finally:
            await _end(process)

    async def _start(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=dict(self._environment), limit=_LINE_BYTES
            )
        except OSError as error:
            raise SelftestFailedError(f"the self-test cannot be started ({error.strerror})") from error


async def _told(process: Process, tell: Callable[[str], None]) -> str:
    """The last line, once all are told. Raises ValueError: one is too long."""
    assert process.stderr is not None
    last = ""
    async for line in process.stderr:
        if text := line.decode(errors="replace").rstrip()[:_TOLD_CHARACTERS]:
            last = text
            tell(text)
    return last


async def _output(process: Process) -> bytes:
    """Raises ValueError: it is too long."""
    assert process.stdout is not None
    output = bytearray()
    while data := await process.stdout.read(1 << 16):
        output += data
        if len(output) > _REPORT_BYTES:
            raise ValueError("the report is too long")
    return bytes(output)


def _report(output: bytes, otherwise: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        report: object = json.loads(output)
        if isinstance(report, dict):
            return cast("dict[str, Any]", report)
    raise SelftestFailedError(f"the self-test gave no report: {otherwise}")


async def _end(process: Process) -> None:
    """It removes what it planted within the grace, unless this is cancelled too."""
    if process.returncode is not None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
