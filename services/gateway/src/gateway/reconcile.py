"""Finding what fell between the row and its message, and ending what will never end by itself."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.ports import Accounts, Blobs, Catalog, Conversations, Fixes, Replies
from gateway.records import Document, Job, Person
from gateway.submit import Submit, original_path
from gateway.teach import Teach
from sluice.access import Right
from sluice.errors import DeadlineExceededError, SluiceError

logger = logging.getLogger(__name__)
_UPLOAD_TIME = timedelta(minutes=10)
_LATE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Reconcile:
    accounts: Accounts
    catalog: Catalog
    fixes: Fixes
    conversations: Conversations
    blobs: Blobs
    replies: Replies
    submit: Submit
    teach: Teach
    after: timedelta
    question_deadline: timedelta

    async def forever(self, pause: timedelta) -> None:
        """Looks at once, and then again after every pause."""
        while True:
            try:
                await self()
            except SluiceError as error:
                logger.warning("reconcile.failed", exc_info=error)
            except Exception as error:
                logger.exception("reconcile.broken", exc_info=error)
            await asyncio.sleep(pause.total_seconds())

    async def __call__(self) -> None:
        """Publishes jobs and fixes that never were; closes questions that nobody will answer any more."""
        before = datetime.now(UTC) - self.after
        for job, document in await self.catalog.unpublished(before):
            await self._job(job, document)
        for fix in await self.fixes.unpublished(before):
            if person := await self._still(fix.created_by, Right.TEACH):
                await self.teach.publish(person, fix)
            else:
                await self.fixes.fail(fix.id, "who taught this may not do so any more")
        late = datetime.now(UTC) - self.question_deadline - _LATE
        for turn in await self.conversations.overdue(late):
            error = DeadlineExceededError("no answer came in time; ask again")
            await self.conversations.fail(turn.id, error.detail)
            await self.replies.fail(turn.lane, turn.id, error)

    async def _job(self, job: Job, document: Document) -> None:
        person = await self._still(job.created_by, Right.UPLOAD)
        if person is None or document.access_level not in person.clearance.readable:
            await self.catalog.fail_job(job.id, "who asked for this may not do so any more")
        elif job.kind == "delete" or document.url is not None or await self._stored(person, job, document):
            await self.submit.publish(person, document, job)
        elif job.created_at < datetime.now(UTC) - _UPLOAD_TIME:
            await self.catalog.fail_job(job.id, "the upload was cut off: upload it again")

    async def _stored(self, person: Person, job: Job, document: Document) -> bool:
        *folder, name = original_path(document, job)
        scope = self.submit.errand(person, document, job).passport().scope
        return name in await self.blobs.list(scope, document.access_level, tuple(folder))

    async def _still(self, person_id: str, right: Right) -> Person | None:
        """The person as they are now, if they may still do this."""
        person = await self.accounts.person(person_id)
        return person if person and person.active and right in person.rights else None
