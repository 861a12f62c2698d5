"""Beginning anew what was given up: under the same id, and with the rights of whoever asked as they are now."""

from dataclasses import dataclass

from gateway.errors import ConflictError
from gateway.passports import Holder
from gateway.ports import Accounts, Blobs, Catalog, Fixes, Principals
from gateway.records import Document, DocumentState, FixState, Job, Tenant
from gateway.submit import Submit, original_path
from gateway.teach import Teach
from sluice.access import Level, Right
from sluice.messages import DocumentDeleted, DocumentSubmitted, FixTaught, FixWithdrawn, JobState

_NEWER = "it was begun again since: look at that; this can be discarded"


@dataclass(frozen=True, kw_only=True)
class BeginAgain:
    """Each raises ConflictError with the reason why not."""

    accounts: Accounts
    principals: Principals
    catalog: Catalog
    fixes: Fixes
    blobs: Blobs
    submit: Submit
    teach: Teach

    async def job(self, message: DocumentSubmitted | DocumentDeleted) -> None:
        tenant = await self._tenant(message.tenant)
        found = await self.catalog.job(tenant.id, message.request_id)
        if found is None:
            raise ConflictError("its document is gone")
        job, document = found
        if job.run != message.run:
            raise ConflictError(_NEWER)
        if job.state in (JobState.DONE, JobState.DELETED):
            raise ConflictError("its job is done")
        if job.generation != document.generation:
            raise ConflictError("a newer upload of the document took its place")
        if job.kind == "delete":
            holder = _remover(tenant, job.created_by, document.access_level, Right.UPLOAD)
        else:
            holder = await self._indexer(job, document)
        fresh = await self.catalog.again(job)
        if fresh is None:
            raise ConflictError(_NEWER)
        if fresh.waiting_lane is None:  # else it waits for its turn in bulk
            await self.submit.publish(holder, document, fresh)

    async def fix(self, message: FixTaught | FixWithdrawn) -> None:
        tenant = await self._tenant(message.tenant)
        fix = await self.fixes.fix(tenant.id, message.fix.fix_id)
        if fix is None:
            raise ConflictError("the fix is gone")
        withdrawal = isinstance(message, FixWithdrawn)
        if fix.run != message.run or withdrawal is not (fix.state is FixState.WITHDRAWING):
            raise ConflictError(_NEWER)
        if fix.state is FixState.ACTIVE:
            raise ConflictError("the fix is indexed")
        if withdrawal:
            holder = _remover(tenant, fix.created_by, fix.access_level, Right.TEACH)
        else:
            holder = await self._holder(fix.created_by, fix.access_level, Right.TEACH)
        fresh = await self.fixes.again(fix)
        if fresh is None:
            raise ConflictError(_NEWER)
        await self.teach.publish(holder, fresh)

    async def _tenant(self, slug: str) -> Tenant:
        if tenant := await self.accounts.tenant(slug):
            return tenant
        raise ConflictError("its tenant is gone")

    async def _indexer(self, job: Job, document: Document) -> Holder:
        if document.state is DocumentState.DELETING:
            raise ConflictError("the document is being deleted")
        holder = await self._holder(job.created_by, document.access_level, Right.UPLOAD)
        *folder, name = original_path(document, job)
        scope = self.submit.errand(holder, document, job).passport().scope
        if document.url is None and name not in await self.blobs.list(scope, document.access_level, tuple(folder)):
            raise ConflictError("the uploaded file is not there any more: upload it again")
        return holder

    async def _holder(self, principal_id: str, level: Level, right: Right) -> Holder:
        principal = await self.principals.principal(principal_id)
        if principal is None or right not in principal.rights or level not in principal.clearance.readable:
            raise ConflictError("who asked for this may not do so any more")
        return Holder.of(principal)


def _remover(tenant: Tenant, subject: str, level: Level, right: Right) -> Holder:
    """What was told to be on its way out goes, whatever its remover may do by now; with what that takes and no more."""
    return Holder(tenant=tenant.slug, subject=subject, clearance=level, rights=frozenset({right}))
