"""The catalog of documents and jobs in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    TextClause,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql import comes_after, newest_first, once_more, record_of, values_of
from gateway.adapters.sql_storage import check_storage
from gateway.database import Database
from gateway.errors import BeingMovedError
from gateway.models import OPEN_JOB, documents, jobs, tenants
from gateway.progress import after_done, begun_again, goes_forward, may_begin_again, state_after
from gateway.records import Document, DocumentState, Job, Page
from sluice.access import Level
from sluice.messages import DocumentProgress, JobState

_TERMINAL = [state for state in JobState if state.terminal]
_OPEN = text(f"jobs.{OPEN_JOB.text}")
"""In the words of the index of what is open, which serves no others."""
_NOT_SETTLING = jobs.c.state != JobState.SETTLING
_SENT_WITHOUT_NOTE = and_(jobs.c.published_at.is_(None), jobs.c.state != JobState.QUEUED)
"""Progress tells that a message was sent, also when the note of it was lost."""
_NEWER = "a newer upload of this document took its place"
JOB = select(jobs, *(c.label(f"document__{c.name}") for c in documents.c)).select_from(jobs.join(documents))


class SqlCatalog:
    def __init__(self, database: Database, storage_bytes: int = 0) -> None:
        self._database = database
        self._storage_bytes = storage_bytes

    async def submit(self, document: Document, job: Job) -> tuple[Document, Job] | None:
        async def submit() -> tuple[Document, Job] | None:
            async with self._database.write() as connection:
                return await self._submit(connection, document, job)

        return await once_more(submit)

    async def _submit(self, connection: AsyncConnection, document: Document, job: Job) -> tuple[Document, Job] | None:
        known = await self._same(connection, document)
        if known is not None and await _moving(connection, known):
            raise BeingMovedError("the document's access level is being changed: upload it again when that is done")
        if (await connection.execute(select(jobs.c.id).where(jobs.c.id == job.id))).first():
            return None
        if known is None:
            await check_storage(connection, document.tenant_id, document.size, self._storage_bytes)
            await connection.execute(insert(documents).values(values_of(document)))
        elif await _overtaken(connection, known, job):
            job = replace(job, state=JobState.FAILED, error=_NEWER)
            document = replace(known, generation=known.generation - 1)
        elif known.state is DocumentState.DONE and known.sha256 is not None and known.sha256 == document.sha256:
            job = replace(job, state=JobState.DONE, unchanged=True, done=known.chunk_count, total=known.chunk_count)
            document = known
        else:
            await check_storage(connection, document.tenant_id, document.size - known.size, self._storage_bytes)
            document = replace(
                document, id=known.id, generation=known.generation + 1, created_at=known.created_at, title=known.title
            )
            await connection.execute(
                update(documents)
                .where(documents.c.id == known.id)
                .values(values_of(document, chunk_count=known.chunk_count))
            )
            await close_jobs(connection, known.id, _NEWER)
        job = replace(job, document_id=document.id, generation=document.generation)
        await connection.execute(insert(jobs).values(values_of(job)))
        return document, job

    async def _same(self, connection: AsyncConnection, document: Document) -> Document | None:
        query = (
            select(documents)
            .where(documents.c.tenant_id == document.tenant_id, documents.c.name == document.name)
            .where(documents.c.access_level == document.access_level, documents.c.state != DocumentState.DELETING)
            .with_for_update()
        )
        row = (await connection.execute(query)).mappings().first()
        return document_of(row) if row else None

    async def check_storage(self, tenant_id: str, more: int) -> None:
        async with self._database.read() as connection:
            await check_storage(connection, tenant_id, more, self._storage_bytes)

    async def document(self, tenant_id: str, document_id: str) -> Document | None:
        query = select(documents).where(documents.c.id == document_id, documents.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return document_of(row) if row else None

    async def documents(
        self, tenant_id: str, levels: Sequence[Level], page: Page, *, name: str | None = None
    ) -> list[Document]:
        visible = select(documents).where(documents.c.tenant_id == tenant_id, documents.c.access_level.in_(levels))
        if name is not None:
            named = [column.icontains(name, autoescape=True) for column in (documents.c.name, documents.c.title)]
            visible = visible.where(or_(*named))
        query = newest_first(visible, documents.c.created_at, documents.c.id, page)
        async with self._database.read() as connection:
            return [document_of(row) for row in (await connection.execute(query)).mappings()]

    async def delete(self, document_id: str, job: Job) -> tuple[Document, Job] | None:
        under_way = select(jobs.c.id).where(
            jobs.c.document_id == document_id, jobs.c.kind == "delete", jobs.c.state.not_in(_TERMINAL)
        )
        locked = select(documents).where(documents.c.id == document_id).with_for_update()
        changes = {"state": DocumentState.DELETING, "updated_at": job.created_at}
        async with self._database.write() as connection:
            row = (await connection.execute(locked)).mappings().first()
            if row is None or (await connection.execute(under_way)).first():
                return None
            document = replace(document_of(row), state=DocumentState.DELETING, updated_at=job.created_at)
            job = replace(job, generation=document.generation)
            await connection.execute(update(documents).where(documents.c.id == document_id).values(changes))
            await close_jobs(connection, document_id, "the document was deleted")
            await connection.execute(insert(jobs).values(values_of(job)))
        return document, job

    async def job(self, tenant_id: str, job_id: str) -> tuple[Job, Document] | None:
        query = JOB.where(jobs.c.id == job_id, documents.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return (job_of(row), document_of(row, "document__")) if row else None

    async def wait(self, job_id: str, lane: Level) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job_id).values(waiting_lane=lane))

    async def published(self, job: Job, at: datetime) -> None:
        first = and_(jobs.c.id == job.id, jobs.c.run == job.run, jobs.c.published_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(update(jobs).where(first).values(published_at=at))

    async def unpublished(self, changed_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        unsent = (jobs.c.published_at.is_(None), jobs.c.waiting_lane.is_(None), jobs.c.updated_at < changed_before)
        return await self._oldest(jobs.c.state == JobState.QUEUED, *unsent, after=after)

    async def unheard(self, changed_before: datetime, after: Job | None) -> list[tuple[Job, Document]]:
        sent = or_(jobs.c.published_at < changed_before, _SENT_WITHOUT_NOTE)
        return await self._oldest(_OPEN, _NOT_SETTLING, sent, jobs.c.updated_at < changed_before, after=after)

    async def again(self, job: Job) -> Job | None:
        async with self._database.write() as connection:
            found = await self._locked(connection, jobs.c.id == job.id)
            if found is None or (found[0].run, found[0].updated_at) != (job.run, job.updated_at):
                return None
            now, document = found
            if not may_begin_again(now, document):
                return None
            fresh = begun_again(now, datetime.now(UTC))
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(values_of(fresh)))
            if fresh.kind != "delete":
                pending = {"state": DocumentState.PENDING, "updated_at": fresh.updated_at}
                await connection.execute(update(documents).where(documents.c.id == document.id).values(pending))
        return fresh

    async def overdue(self, published_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        sent = or_(jobs.c.published_at.is_not(None), _SENT_WITHOUT_NOTE)
        at = func.coalesce(jobs.c.published_at, jobs.c.updated_at)
        return await self._oldest(_OPEN, _NOT_SETTLING, sent, at < published_before, after=after)

    async def undeleted(self, ended_before: datetime, after: Job | None = None) -> list[tuple[Job, Document]]:
        other = jobs.alias()
        later = exists().where(
            other.c.document_id == jobs.c.document_id,
            other.c.kind == "delete",
            or_(other.c.created_at > jobs.c.created_at, other.c.state.not_in(_TERMINAL)),
        )
        return await self._oldest(
            documents.c.state == DocumentState.DELETING,
            jobs.c.kind == "delete",
            jobs.c.updated_at < ended_before,
            ~later,
            after=after,
        )

    async def _oldest(
        self, *conditions: ColumnElement[bool] | TextClause, after: Job | None = None
    ) -> list[tuple[Job, Document]]:
        query = JOB.where(*conditions).order_by(jobs.c.created_at, jobs.c.id).limit(100)
        if after is not None:
            query = query.where(comes_after(jobs.c.created_at, jobs.c.id, after.created_at, after.id))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [(job_of(row), document_of(row, "document__")) for row in rows]

    async def fail_job(self, job_id: str, error: str, *, run: int | None = None) -> None:
        async with self._database.write() as connection:
            found = await self._locked(connection, jobs.c.id == job_id)
            if found is None or found[0].state.terminal or run not in (None, found[0].run):
                return
            job, document = found
            failed = {"state": JobState.FAILED, "error": error, "updated_at": datetime.now(UTC)}
            await connection.execute(update(jobs).where(jobs.c.id == job_id).values(failed))
            if document.generation == job.generation and document.state is not DocumentState.DELETING:
                await connection.execute(
                    update(documents).where(documents.c.id == document.id).values(state=DocumentState.FAILED)
                )

    async def progress(self, message: DocumentProgress, tenant: str) -> bool:
        of_tenant = documents.c.tenant_id.in_(select(tenants.c.id).where(tenants.c.slug == tenant))
        async with self._database.write() as connection:
            found = await self._locked(connection, and_(jobs.c.id == message.request_id, of_tenant))
            if found is None or not goes_forward(found[0], message):
                return False
            await self._advance(connection, *found, message)
        return True

    async def _locked(self, connection: AsyncConnection, which: ColumnElement[bool]) -> tuple[Job, Document] | None:
        """A job and its document once the document is ours: every writer locks that first, so none waits in a ring."""
        document_id = select(jobs.c.document_id).join(documents).where(which).scalar_subquery()
        await connection.execute(select(documents.c.id).where(documents.c.id == document_id).with_for_update())
        row = (await connection.execute(JOB.where(which))).mappings().first()
        return (job_of(row), document_of(row, "document__")) if row else None

    async def _advance(
        self, connection: AsyncConnection, job: Job, document: Document, message: DocumentProgress
    ) -> None:
        now = datetime.now(UTC)
        changes = {name: getattr(message, name) for name in ("state", "attempt", "done", "total", "error")}
        if message.state is JobState.DONE:
            changes["state"] = after_done(job)
        await connection.execute(
            update(jobs).where(jobs.c.id == message.request_id).values(changes | {"updated_at": now})
        )
        if message.document.generation != document.generation:
            return
        if message.state is JobState.DELETED and document.state is DocumentState.DELETING:
            await connection.execute(delete(documents).where(documents.c.id == document.id))
        elif state := state_after(document, message):
            row = {"state": state, "updated_at": now}
            row |= {} if message.chunk_count is None else {"chunk_count": message.chunk_count}
            row |= {"title": message.title} if message.title else {}
            if state is DocumentState.DONE and job.access_level is Level.EXTERNAL:
                row |= await _lowered(connection, document)
            await connection.execute(update(documents).where(documents.c.id == document.id).values(row))


async def _moving(connection: AsyncConnection, document: Document) -> bool:
    moving = and_(jobs.c.document_id == document.id, jobs.c.kind == "relevel", jobs.c.state.not_in(_TERMINAL))
    return (await connection.execute(select(jobs.c.id).where(moving))).first() is not None


async def _overtaken(connection: AsyncConnection, document: Document, job: Job) -> bool:
    """Whether a version that was offered later was taken in already: offers that wait come back in any order."""
    if job.offered_at is None:
        return False
    later = select(jobs.c.id).where(jobs.c.document_id == document.id, jobs.c.offered_at > job.offered_at)
    return (await connection.execute(later)).first() is not None


async def same_name(connection: AsyncConnection, document: Document, level: Level) -> bool:
    """Whether the level has another document of this name."""
    query = select(documents.c.id).where(
        documents.c.tenant_id == document.tenant_id,
        documents.c.name == document.name,
        documents.c.access_level == level,
        documents.c.state != DocumentState.DELETING,
        documents.c.id != document.id,
    )
    return (await connection.execute(query)).first() is not None


async def _lowered(connection: AsyncConnection, document: Document) -> dict[str, str]:
    """It is EXTERNAL from now on; where its name was taken meanwhile, it gets one of its own."""
    taken = await same_name(connection, document, Level.EXTERNAL)
    name = {"name": f"{document.name} ({document.id[:8]})"} if taken else {}
    return {"access_level": Level.EXTERNAL, **name}


async def close_jobs(connection: AsyncConnection, document_id: str, reason: str) -> None:
    await connection.execute(
        update(jobs)
        .where(jobs.c.document_id == document_id, jobs.c.state.not_in(_TERMINAL))
        .values(state=JobState.FAILED, error=reason, updated_at=datetime.now(UTC))
    )


def document_of(row: RowMapping, prefix: str = "") -> Document:
    level, state = Level(row[f"{prefix}access_level"]), DocumentState(row[f"{prefix}state"])
    return record_of(Document, row, prefix, access_level=level, state=state)


def job_of(row: RowMapping) -> Job:
    lane = Level(row["waiting_lane"]) if row["waiting_lane"] else None
    level = Level(row["access_level"]) if row["access_level"] else None
    return record_of(Job, row, state=JobState(row["state"]), waiting_lane=lane, access_level=level)
