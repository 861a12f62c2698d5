"""Taking documents in: the row first, then the sealed original, then the message."""

import asyncio
import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from gateway.errors import NotFoundError
from gateway.passports import Errand, Holder
from gateway.ports import AuditLog, Blobs, Catalog, Publisher
from gateway.progress import may_begin_again
from gateway.records import AuditEntry, Document, DocumentState, Job, Principal
from gateway.tokens import new_id
from sluice.access import Level, PassportSigner, Right
from sluice.errors import AccessDeniedError, TransientError
from sluice.messages import (
    BulkDocumentSubmitted,
    DocumentDeleted,
    DocumentProgress,
    DocumentReference,
    DocumentSubmitted,
    JobState,
    message_id_of,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file's name and bytes, or a URL to fetch."""

    name: str
    data: bytes | None = None
    address: str | None = None

    @property
    def url(self) -> str | None:
        """Without bytes, its name is where to fetch it, unless an address says otherwise."""
        return None if self.data is not None else self.address or self.name


@dataclass(frozen=True, kw_only=True)
class Submit:
    catalog: Catalog
    blobs: Blobs
    publisher: Publisher
    audit: AuditLog
    signer: PassportSigner
    deadline: timedelta

    async def __call__(
        self,
        principal: Principal,
        upload: Upload,
        level: Level,
        *,
        job_id: str | None = None,
        bulk: bool = False,
        offered_at: datetime | None = None,
    ) -> tuple[Document, Job]:
        """Accepts one document. Once this returns, its job ends in done or in failed.

        A `job_id` that is there already names the same upload: what its first sender left undone is done now.
        A `bulk` job waits for its turn.

        Raises:
            AccessDeniedError: the level lies above the clearance of whoever asks.
            BeingMovedError: there is such a document, and its level is being changed.
            StorageFullError: the tenant has no room for it.
        """
        if level not in principal.clearance.readable:
            raise AccessDeniedError(f"you cannot write {level} documents")
        if job_id and (known := await self.catalog.job(principal.tenant.id, job_id)):
            job, document = known
            return await self._go_on(principal, document, job, upload.data)
        document = await asyncio.to_thread(_new_document, principal, upload, level)
        job = _new_job(principal.id, document, "index", job_id=job_id or new_id())
        job = replace(job, bulk=bulk, offered_at=offered_at)
        async with self.audit.together():
            if made := await self.catalog.submit(document, job):
                await self._note(principal, "document.submitted", *made)
        if made is None:  # by another request at the same moment
            job, document = await self.find_job(principal, job.id)
            return await self._go_on(principal, document, job, upload.data)
        document, job = made
        if not job.state.terminal:
            await self._send(principal, document, job, upload.data)
        return document, job

    async def _go_on(
        self, principal: Principal, document: Document, job: Job, data: bytes | None
    ) -> tuple[Document, Job]:
        """Does what the first sender did not come to do."""
        if job.published_at is not None or job.waiting_lane is not None or not may_begin_again(job, document):
            return document, job
        if job.state is JobState.FAILED:
            job = await self.catalog.again(job) or job
        if job.state is JobState.QUEUED:
            await self._send(principal, document, job, data)
        return document, job

    async def delete(self, principal: Principal, document: Document) -> None:
        """Begins to delete a document; doing it again changes nothing."""
        job = _new_job(principal.id, document, "delete", job_id=new_id())
        async with self.audit.together():
            if begun := await self.catalog.delete(document.id, job):
                await self._note(principal, "document.deleted", *begun)
        if begun:
            await self.publish(Holder.of(principal, Right.UPLOAD), *begun)

    async def delete_again(self, document: Document, last: Job) -> None:
        """Begins anew what the last job did not bring to its end; the reconciler sends its message."""
        job = _new_job(last.created_by, document, "delete", job_id=new_id())
        await self.catalog.delete(document.id, replace(job, run=last.run + 1))

    async def find(self, principal: Principal, document_id: str) -> Document:
        """A document within the clearance of whoever asks; else NotFoundError."""
        document = await self.catalog.document(principal.tenant.id, document_id)
        if document is None or document.access_level not in principal.clearance.readable:
            raise NotFoundError("there is no such document")
        return document

    async def find_job(self, principal: Principal, job_id: str) -> tuple[Job, Document]:
        """A job on a document within the clearance of whoever asks; else NotFoundError."""
        found = await self.catalog.job(principal.tenant.id, job_id)
        if found is None or found[1].access_level not in principal.clearance.readable:
            raise NotFoundError("there is no such job")
        return found

    async def publish(self, holder: Holder, document: Document, job: Job) -> bool:
        """Sends the job's message, under the same id each time, and notes that it was sent.

        A broker that is away does not fail what was accepted: the reconciler sends it again. False: it is away.
        """
        message = _kind(job)(
            message_id=message_id(job),
            run=job.run,
            document=reference_of(document, job),
            **self.errand(holder, document, job).envelope(self.signer),
        )
        try:
            await self.publisher.publish(message)
        except TransientError as error:
            logger.warning("job.not-published", exc_info=error, extra={"request_id": job.id})
            return False
        await self.catalog.published(job, datetime.now(UTC))
        return True

    def errand(self, holder: Holder, document: Document, job: Job) -> Errand:
        return Errand(
            holder=holder,
            job=job.id,
            kinds=(_kind(job), DocumentProgress),
            deadline=datetime.now(UTC) + self.deadline,
            bound={"document": reference_of(document, job)},
            traceparent=job.traceparent,
        )

    async def _send(self, principal: Principal, document: Document, job: Job, data: bytes | None) -> None:
        holder = Holder.of(principal, Right.UPLOAD)
        if data is not None:
            scope = self.errand(holder, document, job).passport().scope
            try:
                await self.blobs.put(scope, document.access_level, original_path(document, job), data)
            except Exception:
                await self.catalog.fail_job(job.id, "the upload could not be stored: upload it again", run=job.run)
                raise
        if job.bulk:
            await self.catalog.wait(job.id, principal.clearance)
        else:
            await self.publish(holder, document, job)

    async def _note(self, principal: Principal, action: str, document: Document, job: Job) -> None:
        detail = {"job": job.id, "access_level": document.access_level, "generation": job.generation}
        tenant_id, actor = principal.tenant.id, principal.id
        entry = AuditEntry(tenant_id=tenant_id, actor=actor, action=action, target=document.id, detail=detail)
        await self.audit.record(entry)


def reference_of(document: Document, job: Job) -> DocumentReference:
    return DocumentReference(
        document_id=document.id,
        generation=job.generation,
        access_level=job.access_level or document.access_level,
        title=document.title,
        url=document.url,
        sha256=document.sha256,
        moved=job.kind == "relevel",
    )


def original_path(document: Document, job: Job) -> tuple[str, ...]:
    """Where the ingest-worker looks for the file that was uploaded; made of our own ids alone."""
    return ("documents", document.id, str(job.generation), "original")


def _kind(job: Job) -> type[DocumentSubmitted] | type[DocumentDeleted]:
    if job.kind == "delete":
        return DocumentDeleted
    return BulkDocumentSubmitted if job.bulk else DocumentSubmitted


def message_id(job: Job) -> str:
    return message_id_of(_kind(job), job.id, run=job.run)


def streams_of(job: Job) -> tuple[str, ...]:
    """Where its message may stand."""
    return _kind(job).streams()


def _new_document(principal: Principal, upload: Upload, level: Level) -> Document:
    now = datetime.now(UTC)
    return Document(
        id=new_id(),
        tenant_id=principal.tenant.id,
        access_level=level,
        name=upload.name,
        title=upload.name,
        url=upload.url,
        sha256=None if upload.data is None else hashlib.sha256(upload.data).hexdigest(),
        generation=1,
        state=DocumentState.PENDING,
        chunk_count=0,
        created_by=principal.id,
        created_at=now,
        updated_at=now,
        size=len(upload.data or b""),
    )


def _new_job(principal_id: str, document: Document, kind: Literal["index", "delete"], *, job_id: str) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=job_id,
        document_id=document.id,
        tenant_id=document.tenant_id,
        generation=document.generation,
        kind=kind,
        state=JobState.QUEUED,
        created_by=principal_id,
        created_at=now,
        updated_at=now,
    )
