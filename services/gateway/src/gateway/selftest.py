"""The leak self-test at the push of a button: one at a time, told as it goes, and ended when nobody listens."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from gateway.errors import ConflictError, NotSetUpError
from gateway.ports import AuditLog, LeakSelftest
from gateway.records import AuditEntry
from sluice.errors import SluiceError
from sluice.replies import Event

_COUNTS = ("ways", "canaries_seen", "trespasses", "untried")
Told = asyncio.Queue[Event | None]


@dataclass(frozen=True)
class Run:
    """`events`: progress, then a report or an error. Who does not listen any more calls `leave`."""

    events: AsyncGenerator[Event]
    work: asyncio.Task[None]

    def leave(self) -> None:
        _cancel(self.work)


class Selftest:
    def __init__(self, find_leaks: LeakSelftest, audit: AuditLog) -> None:
        self._find_leaks = find_leaks
        self._audit = audit
        self._work: asyncio.Task[None] | None = None

    def begin(self, request_id: str) -> Run:
        """
        Raises:
            NotSetUpError: this gateway was given no command.
            ConflictError: one is running, or still clearing up.
        """
        if not self._find_leaks.there:
            raise NotSetUpError(
                "no self-test can be started here: run `sluice selftest leaks` on the operators' machine"
            )
        if self._work is not None and not self._work.done():
            raise ConflictError("a self-test is running: wait until it has ended")
        told = Told()
        self._work = asyncio.create_task(self._run(told, request_id))
        return Run(_heard(told), self._work)

    async def close(self) -> None:
        if self._work is not None:
            _cancel(self._work)
            await asyncio.wait([self._work])

    async def _run(self, told: Told, request_id: str) -> None:
        try:
            told.put_nowait(await self._outcome(told, request_id))
        finally:
            told.put_nowait(None)

    async def _outcome(self, told: Told, request_id: str) -> Event:
        """The last event; how it came to it stands in the audit log."""
        detail: dict[str, Any] = {"outcome": "stopped"}
        await self._note("selftest.started", {})
        try:
            report = await self._find_leaks(lambda line: told.put_nowait(Event("progress", {"line": line})))
            detail = {"outcome": "reported", **{name: report.get(name) for name in _COUNTS}}
            return Event("report", report)
        except SluiceError as error:
            detail = {"outcome": "failed"}
            return Event("error", error.problem(request_id))
        finally:
            await self._note("selftest.ended", detail)

    async def _note(self, action: str, detail: dict[str, Any]) -> None:
        entry = AuditEntry(tenant_id=None, actor="operator", action=action, target="leaks", detail=detail)
        await self._audit.record(entry)


async def _heard(told: Told) -> AsyncGenerator[Event]:
    while event := await told.get():
        yield event


def _cancel(work: asyncio.Task[None]) -> None:
    """Once: a second time would cut off its clearing up."""
    if not work.cancelling():
        work.cancel()
