"""Documents on their way to another level, in SQL."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql import values_of
from gateway.adapters.sql_catalog import JOB, close_jobs, document_of, job_of, same_name
from gateway.database import Database
from gateway.errors import ConflictError
from gateway.models import MOVE, OPEN_TURN, conversations, documents, jobs, people, turns
from gateway.records import Document, DocumentState, Job
from sluice.access import Level
from sluice.messages import JobState

_CLOCKS = timedelta(seconds=5)
"""By how much gateways' clocks may differ."""
_MOVE = text(f"jobs.{MOVE.text}")
"""In the words of the index of these, which serves no others."""
_later = jobs.alias()
_STANDS = or_(
    jobs.c.generation == documents.c.generation,
    and_(  # what failed is not made good by an upload that fails too
        jobs.c.state == JobState.FAILED,
        documents.c.state == DocumentState.FAILED,
        ~exists().where(
            _later.c.document_id == jobs.c.document_id,
            _later.c.generation > jobs.c.generation,
            or_(_later.c.kind == "relevel", _later.c.state == JobState.DONE),
        ),
    ),
)
"""Whether nothing took the place of a change of the document's level."""


class SqlMoves:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, document: Document, job: Job) -> tuple[Document, Job] | None:
        locked = select(documents).where(documents.c.id == document.id).with_for_update()
        async with self._database.write() as connection:
            row = (await connection.execute(locked)).mappings().first()
            if row is None or row["state"] == DocumentState.DELETING:
                return None
            if row["access_level"] != document.access_level:
                raise ConflictError("the document's access level was changed meanwhile: look at it again")
            document = document_of(row)
            last = await self._last(connection, document)
            if _goes_there(document, last, job):
                if last is not None and not last.state.terminal:
                    return document, last
                job = replace(job, state=JobState.DONE, unchanged=True, generation=document.generation)
                await connection.execute(insert(jobs).values(values_of(job)))
                return document, job
            if job.access_level is Level.EXTERNAL and _becomes_internal(last):
                raise ConflictError("the document is being made INTERNAL: wait until that is done")
            return await self._begin(connection, document, job)

    async def _begin(self, connection: AsyncConnection, document: Document, job: Job) -> tuple[Document, Job]:
        level = job.access_level or document.access_level
        if await same_name(connection, document, level):
            raise ConflictError(f"there is a document of this name at {level}: delete the one that is not needed")
        document = replace(
            document,
            generation=document.generation + 1,
            access_level=max(level, document.access_level),  # a lower one is its own when all is there
            state=DocumentState.PENDING,
            updated_at=job.created_at,
        )
        job = replace(job, generation=document.generation)
        await connection.execute(update(documents).where(documents.c.id == document.id).values(values_of(document)))
        await close_jobs(connection, document.id, "the document's access level is being changed")
        await connection.execute(insert(jobs).values(values_of(job)))
        return document, job

    async def _last(self, connection: AsyncConnection, document: Document) -> Job | None:
        """The last change of its level that nothing else took the place of."""
        which = (jobs.c.document_id == document.id, _MOVE, _STANDS)
        query = JOB.where(*which, jobs.c.unchanged.is_(False)).order_by(jobs.c.created_at.desc()).limit(1)
        row = (await connection.execute(query)).mappings().first()
        return job_of(row) if row else None

    async def unsent(self) -> list[tuple[Job, Document]]:
        return await self._moves(jobs.c.state == JobState.QUEUED, jobs.c.published_at.is_(None))

    async def settling(self) -> list[tuple[Job, Document]]:
        return await self._moves(jobs.c.state == JobState.SETTLING)

    async def failed(self, ended_before: datetime, *, below_run: int) -> list[tuple[Job, Document]]:
        return await self._moves(
            jobs.c.state == JobState.FAILED,
            jobs.c.run < below_run,
            _STANDS,
            documents.c.state != DocumentState.DELETING,
            jobs.c.updated_at < ended_before,
        )

    async def others(self, job: Job, changed_after: datetime) -> list[Job]:
        which = (jobs.c.document_id == job.document_id, jobs.c.id != job.id, jobs.c.updated_at > changed_after)
        async with self._database.read() as connection:
            rows = (
                (await connection.execute(JOB.where(*which).order_by(jobs.c.updated_at.desc()).limit(100)))
                .mappings()
                .all()
            )
        return [job_of(row) for row in rows]

    async def questions_open(self, tenant_id: str, asked_before: datetime) -> bool:
        of_tenant = exists().where(
            conversations.c.id == turns.c.conversation_id,
            people.c.id == conversations.c.person_id,
            people.c.tenant_id == tenant_id,
        )
        query = select(turns.c.id).where(
            OPEN_TURN, turns.c.lane == Level.EXTERNAL, turns.c.created_at < asked_before + _CLOCKS, of_tenant
        )
        async with self._database.read() as connection:
            return (await connection.execute(query.limit(1))).first() is not None

    async def unsettled(self, job: Job, at: datetime) -> None:
        still = (jobs.c.id == job.id, jobs.c.run == job.run, jobs.c.state == JobState.SETTLING)
        async with self._database.write() as connection:
            await connection.execute(update(jobs).where(*still).values(updated_at=at))

    async def settled(self, job: Job, at: datetime) -> bool:
        still = (jobs.c.id == job.id, jobs.c.run == job.run, jobs.c.state == JobState.SETTLING)
        async with self._database.write() as connection:
            ended = await connection.execute(update(jobs).where(*still).values(state=JobState.DONE, updated_at=at))
        return bool(ended.rowcount)

    async def _moves(self, *conditions: ColumnElement[bool]) -> list[tuple[Job, Document]]:
        query = JOB.where(_MOVE, *conditions).order_by(jobs.c.created_at, jobs.c.id).limit(100)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [(job_of(row), document_of(row, "document__")) for row in rows]


def _goes_there(document: Document, last: Job | None, job: Job) -> bool:
    """Whether the document has the job's level, or is on its way to it."""
    if last is None or last.state is JobState.DONE:
        return document.access_level == job.access_level
    return last.access_level == job.access_level and last.state is not JobState.FAILED


def _becomes_internal(last: Job | None) -> bool:
    return last is not None and last.access_level is Level.INTERNAL and last.state is not JobState.DONE
