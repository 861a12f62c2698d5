"""Beginning anew what was given up: under the same id, and with the rights of whoever asked as they are now."""

from dataclasses import dataclass

from gateway.errors import ConflictError
from gateway.passports import Holder
from gateway.records import Document, DocumentState, FixState, Job, Tenant
from gateway.resend import Resend
from sluice.access import Right
from sluice.messages import DocumentDeleted, DocumentSubmitted, FixTaught, FixWithdrawn, JobState

_NEWER = "it was begun again since: look at that; this can be discarded"
_NOT_ANY_MORE = "who asked for this may not do so any more"


@dataclass(frozen=True, kw_only=True)
class BeginAgain:
    """Each raises ConflictError with the reason why not, and changes nothing then."""

    resend: Resend

    async def job(self, message: DocumentSubmitted | DocumentDeleted) -> None:
        tenant = await self._tenant(message.tenant)
        found = await self.resend.catalog.job(tenant.id, message.request_id)
        if found is None:
            raise ConflictError("its document is gone")
        job, document = found
        if job.run != message.run:
            raise ConflictError(_NEWER)
        if job.state in (JobState.DONE, JobState.DELETED):
            raise ConflictError("its job is done")
        if job.generation != document.generation:
            raise ConflictError("a newer upload of the document took its place")
        if job.kind == "index":
            await self._check_upload(job, document)
        fresh = await self.resend.catalog.again(job)
        if fresh is None:
            raise ConflictError(_NEWER)
        await self.resend.job(fresh, document)

    async def fix(self, message: FixTaught | FixWithdrawn) -> None:
        tenant = await self._tenant(message.tenant)
        fix = await self.resend.fixes.fix(tenant.id, message.fix.fix_id)
        if fix is None:
            raise ConflictError("the fix is gone")
        withdrawal = isinstance(message, FixWithdrawn)
        if fix.run != message.run or withdrawal is not (fix.state is FixState.WITHDRAWING):
            raise ConflictError(_NEWER)
        if fix.state is FixState.ACTIVE:
            raise ConflictError("the fix is indexed")
        if not withdrawal and not await self.resend.still(fix.created_by, Right.TEACH, fix.access_level):
            raise ConflictError(_NOT_ANY_MORE)
        fresh = await self.resend.fixes.again(fix)
        if fresh is None:
            raise ConflictError(_NEWER)
        await self.resend.fix(fresh)

    async def _tenant(self, slug: str) -> Tenant:
        if tenant := await self.resend.accounts.tenant(slug):
            return tenant
        raise ConflictError("its tenant is gone")

    async def _check_upload(self, job: Job, document: Document) -> None:
        if document.state is DocumentState.DELETING:
            raise ConflictError("the document is being deleted")
        principal = await self.resend.still(job.created_by, Right.UPLOAD, document.access_level)
        if principal is None:
            raise ConflictError(_NOT_ANY_MORE)
        holder = Holder.of(principal, Right.UPLOAD)
        if document.url is None and not await self.resend.stored(holder, job, document):
            raise ConflictError("the uploaded file is not there any more: upload it again")
