"""Finding what fell between the row and its message, and ending what will never end by itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from gateway.lost import FindLost
from gateway.passports import SLACK
from gateway.ports import IdempotencyKeys
from gateway.records import Document, FixRow, FixState, Job, Turn
from gateway.resend import Resend
from sluice.errors import DeadlineExceededError, PermanentError, SluiceError

logger = logging.getLogger(__name__)
R = TypeVar("R")
_LATE = timedelta(minutes=1)
_DELETE_AGAIN = timedelta(minutes=10)
_LONGEST_PAUSE = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Reconcile:
    resend: Resend
    find_lost: FindLost
    keys: IdempotencyKeys
    after: timedelta
    keep_keys: timedelta

    async def forever(self, pause: timedelta, lost: asyncio.Event) -> None:
        """Looks at once, after every pause, and when the broker has `lost` something.

        Then once more when all that was under way at that time can be told from what is being handled.
        """
        while True:
            again_after = min(pause, self.find_lost.after) if lost.is_set() else pause
            lost.clear()
            try:
                await self()
            except SluiceError as error:
                logger.warning("reconcile.failed", exc_info=error)
            except Exception as error:
                logger.exception("reconcile.broken", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(again_after.total_seconds()):
                    await lost.wait()

    async def __call__(self) -> None:
        """Publishes what never was, or is lost; closes what nobody will bring to its end any more."""
        now, resend = datetime.now(UTC), self.resend
        await _each(await resend.catalog.unpublished(now - self.after), lambda found: resend.job(*found))
        await _each(await resend.fixes.unpublished(now - self.after), self._send_fix)
        await self.find_lost()
        await _each(await resend.catalog.overdue(now - resend.submit.deadline - SLACK), self._close_job)
        await _each(await resend.fixes.overdue(now - resend.teach.deadline - SLACK), self._close_fix)
        await _each(await resend.catalog.undeleted(now - _DELETE_AGAIN), self._delete_again)
        await _each(await resend.conversations.overdue(now - resend.ask.deadline - _LATE), self._close_turn)
        await self.keys.forget(now - self.keep_keys)

    async def _send_fix(self, fix: FixRow) -> None:
        """One that failed before waits twice as long each time."""
        if fix.error is None or fix.updated_at < datetime.now(UTC) - pause_before(fix.run, self.after):
            await self.resend.fix(fix)

    async def _close_job(self, found: tuple[Job, Document]) -> None:
        """By now the passport is void too: no worker can tell anything of the job any more."""
        job, document = found
        then = "it is deleted again" if job.kind == "delete" else "upload it again"
        logger.warning("job.overdue", extra={"document_id": document.id, "request_id": job.id})
        await self.resend.catalog.fail_job(job.id, f"this did not come to its end in time; {then}", run=job.run)

    async def _close_fix(self, fix: FixRow) -> None:
        logger.warning("fix.overdue", extra={"request_id": fix.id})
        if fix.state is FixState.WITHDRAWING:
            await self.resend.fixes.withdraw_again(fix, "this was not withdrawn in time; it is tried again")
        else:
            await self.resend.fixes.fail(fix, "this was not indexed in time; teach it again")

    async def _delete_again(self, found: tuple[Job, Document]) -> None:
        job, document = found
        if job.updated_at < datetime.now(UTC) - pause_before(job.run, _DELETE_AGAIN):
            logger.warning("document.deleted-again", extra={"document_id": document.id, "request_id": job.id})
            await self.resend.submit.delete_again(document, job)

    async def _close_turn(self, turn: Turn) -> None:
        error = DeadlineExceededError("no answer came in time; ask again")
        await self.resend.conversations.fail(turn.id, error.detail)
        await self.resend.replies.fail(turn.lane, turn.id, error)


def pause_before(run: int, first: timedelta) -> timedelta:
    """How long to wait before the next try of what nobody may give up: twice as long after each."""
    return min(first * 2 ** min(run - 1, 30), _LONGEST_PAUSE)


async def _each(rows: Iterable[R], work: Callable[[R], Awaitable[None]]) -> None:
    """A row that cannot be helped does not keep the others waiting."""
    for row in rows:
        try:
            await work(row)
        except PermanentError as error:
            logger.error("reconcile.row-failed", exc_info=error)
