"""What was sent and stands nowhere any more, as after a flush of the broker: begun anew, or ended with the reason."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.ports import News, Places
from gateway.records import Document, FixRow, FixState, Job, Turn
from gateway.resend import Resend
from gateway.steps import each_row, each_step
from gateway.submit import message_id, streams_of
from gateway.teach import kind_of
from gateway.teach import message_id as fix_message_id
from sluice.errors import PermanentError
from sluice.messages import (
    AnswerCompleted,
    DocumentProgress,
    FixIndexed,
    QuestionAsked,
    QuestionFollowedUp,
    QuestionGrounded,
    message_id_of,
)
from sluice.places import Place

logger = logging.getLogger(__name__)
_ON_ITS_WAY = (QuestionFollowedUp, QuestionAsked, QuestionGrounded, AnswerCompleted)
"""In this order: each is published before the one ahead of it is done, so that none slips by between two looks."""
_MOST_RUNS = 20
_PATIENCE = timedelta(seconds=5)
_NO_REASON = "this was given up, and no reason was kept"


@dataclass(frozen=True, kw_only=True)
class FindLost:
    """Looks at what is open and has not changed for a while, so that what is being handled is not doubled."""

    places: Places
    news: News
    resend: Resend
    after: timedelta

    async def __call__(self) -> None:
        before = datetime.now(UTC) - self.after
        await each_step(lambda: self._jobs(before), lambda: self._fixes(before), lambda: self._turns(before))

    async def _jobs(self, before: datetime) -> None:
        last: Job | None = None
        while page := await self.resend.catalog.unheard(before, last):
            last = page[-1][0]
            places = await asyncio.gather(*(self._place(streams_of(job), message_id(job)) for job, _ in page))
            lost = [found for found, place in zip(page, places, strict=True) if place is None]
            await each_row(zip(page, places, strict=True), self._end_dead_job)
            if lost and await self.news.heard(DocumentProgress, _PATIENCE):
                await each_row(lost, self._begin_job)

    async def _end_dead_job(self, found: tuple[tuple[Job, Document], Place | None]) -> None:
        (job, _), place = found
        if place and place.state == "dead":
            await self.resend.catalog.fail_job(job.id, place.reason or _NO_REASON, run=job.run)

    async def _begin_job(self, found: tuple[Job, Document]) -> None:
        job, document = found
        if job.kind == "index" and job.run >= _MOST_RUNS:
            await self.resend.catalog.fail_job(job.id, "this was lost too often: upload it again", run=job.run)
        elif fresh := await self.resend.catalog.again(job):
            logger.warning("job.lost", extra={"request_id": job.id, "run": fresh.run})
            await self.resend.job(fresh, document)

    async def _fixes(self, before: datetime) -> None:
        last: FixRow | None = None
        while page := await self.resend.fixes.unheard(before, last):
            last = page[-1]
            streams = [kind_of(fix).streams() for fix in page]
            found = zip(streams, map(fix_message_id, page), strict=True)
            places = await asyncio.gather(*(self._place(*where) for where in found))
            lost = [fix for fix, place in zip(page, places, strict=True) if place is None]
            await each_row(zip(page, places, strict=True), self._end_dead_fix)
            if lost and await self.news.heard(FixIndexed, _PATIENCE):
                await each_row(lost, self._begin_fix)

    async def _end_dead_fix(self, found: tuple[FixRow, Place | None]) -> None:
        fix, place = found
        if place and place.state == "dead":
            await self._end_fix(fix, place.reason or _NO_REASON)

    async def _end_fix(self, fix: FixRow, reason: str) -> None:
        if fix.state is FixState.WITHDRAWING:
            await self.resend.fixes.withdraw_again(fix, reason)
        else:
            await self.resend.fixes.fail(fix, reason)

    async def _begin_fix(self, fix: FixRow) -> None:
        if fresh := await self.resend.fixes.again(fix):
            logger.warning("fix.lost", extra={"request_id": fix.id, "run": fresh.run})
            await self.resend.fix(fresh)

    async def _turns(self, before: datetime) -> None:
        last: Turn | None = None
        while page := await self.resend.conversations.unheard(before, last):
            last = page[-1][0]
            await each_row(page, self._turn)

    async def _turn(self, found: tuple[Turn, str]) -> None:
        turn, person_id = found
        if turn.created_at + self.resend.ask.deadline <= datetime.now(UTC):
            return
        place = None
        for kind in _ON_ITS_WAY:
            place = place or await self.places.find(
                kind.stream_of(turn.lane), message_id_of(kind, turn.id, run=turn.run)
            )
        if place and place.state == "dead":
            await self._end_turn(turn, place.reason or _NO_REASON)
        elif place is None and await self.resend.replies.finished(turn.lane, turn.id):
            await self._end_turn(turn, "this was given up")
        elif place is None and (fresh := await self.resend.conversations.again(turn)):
            logger.warning("question.lost", extra={"request_id": turn.id, "run": fresh.run})
            await self.resend.turn(fresh, person_id)

    async def _end_turn(self, turn: Turn, reason: str) -> None:
        await self.resend.conversations.fail(turn.id, reason)
        await self.resend.replies.fail(turn.tenant, turn.lane, turn.id, PermanentError(reason))

    async def _place(self, streams: Iterable[str], message: str) -> Place | None:
        for stream in streams:
            if place := await self.places.find(stream, message):
                return place
        return None
