"""Sending what was accepted, later: by what whoever asked may do now, not by what they could when they asked."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.ask import Ask
from gateway.errors import NotFoundError
from gateway.passports import Holder
from gateway.ports import Accounts, Blobs, Catalog, Conversations, Fixes, Principals, Replies
from gateway.records import Document, FixRow, FixState, Job, Person, Principal, Turn
from gateway.relevel import Relevel
from gateway.submit import Submit, original_path
from gateway.teach import Teach
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError, PermanentError

_UPLOAD_TIME = timedelta(minutes=10)
_NOT_ANY_MORE = "who asked for this may not do so any more"


@dataclass(frozen=True, kw_only=True)
class Resend:
    """Publishes a row's message with a new passport, or ends the row with the reason why not."""

    accounts: Accounts
    principals: Principals
    catalog: Catalog
    fixes: Fixes
    conversations: Conversations
    blobs: Blobs
    replies: Replies
    submit: Submit
    relevel: Relevel
    teach: Teach
    ask: Ask

    async def job(self, job: Job, document: Document) -> None:
        """A bulk job waits for its turn instead, once its file is stored."""
        if job.kind == "relevel":
            await self.relevel.send(job, document)
            return
        if job.kind == "delete":
            holder = await self._remover(document.tenant_id, document.access_level, Right.UPLOAD)
            await self.submit.publish(holder, document, job)
            return
        if await self._suspended(document.tenant_id):
            return  # it waits
        principal = await self.still(job.created_by, Right.UPLOAD, document.access_level)
        if principal is None:
            await self.catalog.fail_job(job.id, _NOT_ANY_MORE, run=job.run)
        elif document.url is not None or await self.stored(Holder.of(principal, Right.UPLOAD), job, document):
            await self._index(principal, job, document)
        elif job.updated_at < datetime.now(UTC) - _UPLOAD_TIME:
            await self.catalog.fail_job(job.id, "the upload was cut off: upload it again", run=job.run)

    async def fix(self, fix: FixRow) -> None:
        if fix.state is FixState.WITHDRAWING:
            holder = await self._remover(fix.tenant_id, fix.access_level, Right.TEACH)
            await self.teach.publish(holder, fix)
        elif fix.state is FixState.FAILED:  # it does not open
            await self.fixes.fail(fix, fix.error or _NOT_ANY_MORE)
        elif await self._suspended(fix.tenant_id):
            return
        elif teacher := await self.still(fix.created_by, Right.TEACH, fix.access_level):
            await self.teach.publish(Holder.of(teacher, Right.TEACH), fix)
        else:
            await self.fixes.fail(fix, _NOT_ANY_MORE)

    async def turn(self, turn: Turn, person_id: str) -> None:
        person = await self.still(person_id, Right.READ, turn.lane)
        if turn.error is None and isinstance(person, Person):
            await self.ask.publish(person, turn)
            return
        error = AccessDeniedError(_NOT_ANY_MORE) if turn.error is None else PermanentError(turn.error)
        await self.conversations.fail(turn.id, error.detail)
        await self.replies.fail(turn.tenant, turn.lane, turn.id, error)

    async def _index(self, principal: Principal, job: Job, document: Document) -> None:
        if job.bulk:
            await self.catalog.wait(job.id, principal.clearance)
        else:
            await self.submit.publish(Holder.of(principal, Right.UPLOAD), document, job)

    async def stored(self, holder: Holder, job: Job, document: Document) -> bool:
        """Whether the uploaded file is there."""
        *folder, name = original_path(document, job)
        scope = self.submit.errand(holder, document, job).passport().scope
        return name in await self.blobs.list(scope, document.access_level, tuple(folder))

    async def _remover(self, tenant_id: str, level: Level, right: Right) -> Holder:
        """The system, with what the removal takes and no more.

        Who asked had the right when the removal was accepted, and the audit log names them. What they lost since, or
        that they are gone, must not keep findable what was told to be on its way out.
        """
        tenant = await self.accounts.tenant_of(tenant_id)
        if tenant is None:
            raise NotFoundError("there is no such tenant")
        return Holder.system("removal", tenant.slug, level, right)

    async def _suspended(self, tenant_id: str) -> bool:
        tenant = await self.accounts.tenant_of(tenant_id)
        return tenant is not None and tenant.suspended_at is not None

    async def still(self, principal_id: str, right: Right, level: Level) -> Principal | None:
        """Who asked, as they are now, if they may still do this."""
        principal = await self.principals.principal(principal_id)
        may = principal and right in principal.rights and level in principal.clearance.readable
        return principal if may else None
