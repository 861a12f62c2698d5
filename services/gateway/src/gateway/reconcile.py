"""Finding what fell between the row and its message, and ending what will never end by itself."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.errors import NotFoundError
from gateway.passports import SLACK, Holder
from gateway.ports import Accounts, Blobs, Catalog, Conversations, Fixes, Principals, Replies
from gateway.records import Document, FixRow, FixState, Job, Principal
from gateway.submit import Submit, original_path
from gateway.teach import Teach
from sluice.access import Level, Right
from sluice.errors import DeadlineExceededError, SluiceError

logger = logging.getLogger(__name__)
_UPLOAD_TIME = timedelta(minutes=10)
_LATE = timedelta(minutes=1)
_DELETE_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Reconcile:
    accounts: Accounts
    principals: Principals
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
        """Publishes jobs and fixes that never were; closes what nobody will bring to its end any more."""
        now = datetime.now(UTC)
        await self._publish(now - self.after)
        await self._close_jobs(now - self.submit.deadline - SLACK)
        await self._close_fixes(now - self.teach.deadline - SLACK)
        for job, document in await self.catalog.undeleted(now - _DELETE_AGAIN):
            logger.warning("document.deleted-again", extra={"document_id": document.id, "request_id": job.id})
            await self.submit.delete_again(document, job)
        for turn in await self.conversations.overdue(now - self.question_deadline - _LATE):
            error = DeadlineExceededError("no answer came in time; ask again")
            await self.conversations.fail(turn.id, error.detail)
            await self.replies.fail(turn.lane, turn.id, error)

    async def _publish(self, before: datetime) -> None:
        for job, document in await self.catalog.unpublished(before):
            if job.kind == "delete":
                holder = await self._remover(document.tenant_id, job.created_by, document.access_level, Right.UPLOAD)
                await self.submit.publish(holder, document, job)
            else:
                await self._index(job, document)
        for fix in await self.fixes.unpublished(before):
            if fix.state is FixState.WITHDRAWING:
                holder = await self._remover(fix.tenant_id, fix.created_by, fix.access_level, Right.TEACH)
                await self.teach.publish(holder, fix)
            else:
                await self._teach(fix)

    async def _close_jobs(self, published_before: datetime) -> None:
        """By then the passport is void too: no worker can tell anything of the job any more."""
        for job, document in await self.catalog.overdue(published_before):
            then = "it is deleted again" if job.kind == "delete" else "upload it again"
            logger.warning("job.overdue", extra={"document_id": document.id, "request_id": job.id})
            await self.catalog.fail_job(job.id, f"this did not come to its end in time; {then}")

    async def _close_fixes(self, published_before: datetime) -> None:
        for fix in await self.fixes.overdue(published_before):
            logger.warning("fix.overdue", extra={"request_id": fix.id})
            if fix.state is FixState.WITHDRAWING:
                await self.fixes.withdraw_again(fix.id, "this was not withdrawn in time; it is tried again")
            else:
                await self.fixes.fail(fix.id, "this was not indexed in time; teach it again")

    async def _teach(self, fix: FixRow) -> None:
        if person := await self._still(fix.created_by, Right.TEACH):
            await self.teach.publish(Holder.of(person), fix)
        else:
            await self.fixes.fail(fix.id, "who taught this may not do so any more")

    async def _index(self, job: Job, document: Document) -> None:
        person = await self._still(job.created_by, Right.UPLOAD)
        if person is None or document.access_level not in person.clearance.readable:
            await self.catalog.fail_job(job.id, "who asked for this may not do so any more")
        elif document.url is not None or await self._stored(Holder.of(person), job, document):
            await self.submit.publish(Holder.of(person), document, job)
        elif job.created_at < datetime.now(UTC) - _UPLOAD_TIME:
            await self.catalog.fail_job(job.id, "the upload was cut off: upload it again")

    async def _stored(self, holder: Holder, job: Job, document: Document) -> bool:
        *folder, name = original_path(document, job)
        scope = self.submit.errand(holder, document, job).passport().scope
        return name in await self.blobs.list(scope, document.access_level, tuple(folder))

    async def _remover(self, tenant_id: str, person_id: str, level: Level, right: Right) -> Holder:
        """Whoever asked, with what the removal takes and no more.

        They had the right when the removal was accepted. What they lost since, or that they are gone, must not keep
        findable what was told to be on its way out.
        """
        tenant = await self.accounts.tenant_of(tenant_id)
        if tenant is None:
            raise NotFoundError("there is no such tenant")
        return Holder(tenant=tenant.slug, subject=person_id, clearance=level, rights=frozenset({right}))

    async def _still(self, principal_id: str, right: Right) -> Principal | None:
        """Who asked, as they are now, if they may still do this."""
        principal = await self.principals.principal(principal_id)
        return principal if principal and right in principal.rights else None
