"""Finding what fell between the row and its message, and ending what will never end by itself."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.lost import FindLost
from gateway.passports import SLACK
from gateway.ports import IdempotencyKeys
from gateway.records import Document, FixRow, FixState, Job, Turn
from gateway.resend import Resend
from gateway.steps import each_page, each_step
from sluice.errors import DeadlineExceededError

logger = logging.getLogger(__name__)
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
            await self()
            with suppress(TimeoutError):
                async with asyncio.timeout(again_after.total_seconds()):
                    await lost.wait()

    async def __call__(self) -> None:
        """Publishes what never was, or is lost; closes what nobody will bring to its end any more.

        What cannot be done now, as while the broker is away, does not keep the rest waiting.
        """
        await each_step(
            self._send_jobs,
            self._send_fixes,
            self.find_lost,
            self._close_jobs,
            self._close_fixes,
            self._delete_all_again,
            self.resend.relevel.begin_failed_again,
            self._close_turns,
            self._forget_keys,
        )

    async def _send_jobs(self) -> None:
        unpublished, before = self.resend.catalog.unpublished, datetime.now(UTC) - self.after
        await each_page(lambda last: unpublished(before, last and last[0]), self._send_job)

    async def _send_fixes(self) -> None:
        unpublished, before = self.resend.fixes.unpublished, datetime.now(UTC) - self.after
        await each_page(lambda last: unpublished(before, last), self._send_fix)

    async def _close_jobs(self) -> None:
        overdue, before = self.resend.catalog.overdue, datetime.now(UTC) - self.resend.submit.deadline - SLACK
        await each_page(lambda last: overdue(before, last and last[0]), self._close_job)

    async def _close_fixes(self) -> None:
        overdue, before = self.resend.fixes.overdue, datetime.now(UTC) - self.resend.teach.deadline - SLACK
        await each_page(lambda last: overdue(before, last), self._close_fix)

    async def _delete_all_again(self) -> None:
        undeleted, before = self.resend.catalog.undeleted, datetime.now(UTC) - _DELETE_AGAIN
        await each_page(lambda last: undeleted(before, last and last[0]), self._delete_again)

    async def _close_turns(self) -> None:
        overdue, before = self.resend.conversations.overdue, datetime.now(UTC) - self.resend.ask.deadline - _LATE
        await each_page(lambda last: overdue(before, last), self._close_turn)

    async def _forget_keys(self) -> None:
        await self.keys.forget(datetime.now(UTC) - self.keep_keys)

    async def _send_job(self, found: tuple[Job, Document]) -> None:
        await self.resend.job(*found)

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
        await self.resend.replies.fail(turn.tenant, turn.lane, turn.id, error)


def pause_before(run: int, first: timedelta) -> timedelta:
    """How long to wait before the next try of what nobody may give up: twice as long after each."""
    return min(first * 2 ** min(run - 1, 30), _LONGEST_PAUSE)
