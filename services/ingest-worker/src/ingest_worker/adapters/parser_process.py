"""Parses a document in a child process of its own, which has limits, no environment, and dies with its work."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import asdict
from subprocess import DEVNULL
from typing import Any

from ingest_worker.confinement import landlock_version
from ingest_worker.documents import NOT_ISOLATED, ParsedDocument, ParserLimits, Section
from ingest_worker.isolation import can_isolate
from sluice.errors import TransientError, UnreadableDocumentError

logger = logging.getLogger(__name__)
_CHILD = ("-I", "-B", "-W", "ignore", "-m", "ingest_worker.parser")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
_BYTES_PER_CHARACTER = 6  # the longest way that JSON writes a character
_BYTES_AROUND = 1_000_000  # braces, page numbers, the title


class ParserProcess:
    """Starts a child a document. A document that kills its child is unreadable; nothing else is harmed."""

    def __init__(self, limits: ParserLimits, *, child: tuple[str, ...] = _CHILD) -> None:
        self._limits = limits
        self._child = child
        if not can_isolate():
            logger.warning("parser.not-isolated")
        if not landlock_version():
            logger.warning("parser.not-confined")

    async def __call__(self, data: bytes, name: str) -> ParsedDocument:
        """What the child read.

        Raises:
            UnreadableDocumentError: names the limit that was exceeded.
            TransientError: the child cannot be started, or the kernel does not let it give up the network.
        """
        if len(data) > self._limits.file_bytes:
            raise UnreadableDocumentError(f"the file is larger than {self._limits.file_bytes // 1_000_000} MB")
        job = json.dumps({"name": name, "limits": asdict(self._limits)}).encode() + b"\n"
        process = await self._start()
        try:
            async with asyncio.timeout(self._limits.seconds):
                output = await self._talk(process, job + data)
                return self._document(output, await process.wait())
        except TimeoutError as error:
            raise UnreadableDocumentError(self._too_slow()) from error
        finally:
            await _end(process)

    async def _start(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *self._child,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise TransientError("the document parser cannot be started") from error

    async def _talk(self, process: Process, question: bytes) -> bytes:
        feeding = asyncio.create_task(_feed(process, question))
        try:
            return await self._receive(process)
        finally:
            feeding.cancel()

    async def _receive(self, process: Process) -> bytes:
        assert process.stdout is not None
        output = bytearray()
        limit = self._limits.text_characters * _BYTES_PER_CHARACTER + _BYTES_AROUND
        while data := await process.stdout.read(1 << 16):
            output += data
            if len(output) > limit:
                raise UnreadableDocumentError(
                    f"the file holds more than {self._limits.text_characters:,} characters: split it"
                )
        return bytes(output)

    def _document(self, output: bytes, status: int) -> ParsedDocument:
        if status == NOT_ISOLATED:
            raise TransientError("the kernel does not let the document parser give up the network (seccomp)")
        if status != 0 or not output.endswith(b"\n"):
            raise UnreadableDocumentError(self._how_it_died(status))
        *sections, last = (json.loads(line) for line in output.split(b"\n")[:-1])
        if "error" in last:
            raise UnreadableDocumentError(last["error"])
        return _parsed(sections, last)

    def _how_it_died(self, status: int) -> str:
        if status == -signal.SIGXCPU:
            return self._too_slow()
        if status == -signal.SIGKILL:
            return f"reading the file took more than {self._limits.memory_bytes // 1_000_000} MB of memory: split it"
        return f"the file made its parser crash ({status}): save it anew"

    def _too_slow(self) -> str:
        return f"reading the file took longer than {self._limits.seconds:g} seconds: split it, or save it anew"


def _parsed(sections: list[dict[str, Any]], last: dict[str, Any]) -> ParsedDocument:
    return ParsedDocument(
        kind=last["kind"],
        title=last["title"],
        sections=tuple(Section(**section) for section in sections),
        unreadable_pages=tuple(last["unreadable_pages"]),
    )


async def _feed(process: Process, question: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # the child may end before it has read everything
        process.stdin.write(question)
        await process.stdin.drain()
        process.stdin.close()


async def _end(process: Process) -> None:
    """The whole group, also when this task is cancelled: a child must never outlive its document."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
