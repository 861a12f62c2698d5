"""/api/v1/knowledge: the documents that there are, and the jobs on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.records import ApiKey, Document, DocumentState, Job, Person
from gateway.routes.dependencies import DocumentReader, Present, PresentUploader, ServicesIn, Uploader
from gateway.routes.schemas import Body, IdPath, LevelIn, Listing, Output, PageIn, Text, listing
from gateway.routes.streaming import EVENT_STREAM, event_stream
from gateway.services import Services
from sluice.access import Level
from sluice.errors import SluiceError, TransientError
from sluice.messages import JobState
from sluice.replies import Event

router = APIRouter(prefix="/api/v1/knowledge", tags=["knowledge"])
_LOOK_SECONDS = 0.25
NamedIn = Annotated[
    Text | None, Query(max_length=300, description="Those alone with this in their file name, address or title.")
]


class Progress(Output):
    done: int
    total: int


class JobOut(Output):
    job_id: str
    document_id: str
    name: str
    state: JobState
    progress: Progress
    attempt: int
    error: str | None
    unchanged: bool
    created_at: datetime
    updated_at: datetime


class WaitingOut(Output):
    """Why a job is not done: `detail` says it in words. `due`: when it is tried again."""

    state: Literal["turn", "unsent", "waiting", "running", "delayed", "dead"]
    detail: str
    attempt: int
    since: datetime | None
    due: datetime | None


class JobNow(JobOut):
    waiting: WaitingOut | None = Field(description="Null when the job has ended, or the queue cannot be asked now.")


class DocumentOut(Output):
    id: str
    title: str
    name: str
    url: str | None
    access_level: Level
    version: int
    state: DocumentState
    chunk_count: int
    created_at: datetime
    updated_at: datetime


class DocumentChange(Body):
    access_level: LevelIn


@router.get("/jobs/{job_id}")
async def get_job(job_id: IdPath, uploader: Uploader, services: ServicesIn) -> JobNow:
    job, document = await services.submit.find_job(uploader, job_id)
    return JobNow(**job_out(job, document).model_dump(), waiting=await _waiting(services, job))


async def _waiting(services: Services, job: Job) -> WaitingOut | None:
    """A broker that is away hides why, not the job."""
    with suppress(TransientError):
        if why := await services.explain(job):
            return WaitingOut.model_validate(why)
    return None


@router.get("/jobs/{job_id}/events", response_class=Response, responses=EVENT_STREAM)
async def get_job_events(job_id: IdPath, uploader: PresentUploader, services: ServicesIn) -> Response:
    """A `progress` event a change, up to `done` or `error`; also when the session or the right ends meanwhile."""
    await services.submit.find_job(await uploader.now(), job_id)
    return event_stream(_job_events(services, uploader, job_id), services.settings.heartbeat_seconds)


@router.get("/documents")
async def get_documents(
    reader: DocumentReader, services: ServicesIn, page: PageIn, name: NamedIn = None
) -> Listing[DocumentOut]:
    rows = await services.catalog.documents(reader.tenant.id, reader.clearance.readable, page, name=name)
    return listing(rows, page, document_out, lambda row: (row.created_at, row.id))


@router.get("/documents/{document_id}")
async def get_document(document_id: IdPath, reader: DocumentReader, services: ServicesIn) -> DocumentOut:
    return document_out(await services.submit.find(reader, document_id))


@router.patch("/documents/{document_id}", status_code=HTTPStatus.ACCEPTED)
async def patch_document(document_id: IdPath, body: DocumentChange, uploader: Uploader, services: ServicesIn) -> JobOut:
    """Gives it another access level. Only when the job is done can nobody be told of it who may not be.

    INTERNAL it is listed as at once, EXTERNAL when the job is done; that takes the right to declassify.
    """
    document, job = await services.relevel(uploader, document_id, body.access_level)
    return job_out(job, document)


@router.delete("/documents/{document_id}", status_code=HTTPStatus.ACCEPTED)
async def delete_document(document_id: IdPath, uploader: Uploader, services: ServicesIn) -> DocumentOut:
    """The document is `deleting`, and then not found any more."""
    document = await services.submit.find(uploader, document_id)
    await services.submit.delete(uploader, document)
    return document_out(await services.submit.find(uploader, document_id))


def job_out(job: Job, document: Document) -> JobOut:
    return JobOut(
        job_id=job.id,
        document_id=document.id,
        name=document.name,
        state=job.state,
        progress=Progress(done=job.done, total=job.total),
        attempt=job.attempt,
        error=job.error,
        unchanged=job.unchanged,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )


def document_out(document: Document) -> DocumentOut:
    named = {name: getattr(document, name) for name in DocumentOut.model_fields if name != "version"}
    return DocumentOut(version=document.generation, **named)


async def _job_events(services: Services, uploader: Present[Person | ApiKey], job_id: str) -> AsyncIterator[Event]:
    told: JobOut | None = None
    while True:
        try:
            now = job_out(*await services.submit.find_job(await uploader.now(), job_id))
        except SluiceError as error:
            yield Event("error", error.problem(job_id))
            return
        if now != told:
            told = now
            name = "progress" if not now.state.terminal else "done" if now.state is not JobState.FAILED else "error"
            yield Event(name, now.model_dump(mode="json"))
        if now.state.terminal:
            return
        await asyncio.sleep(_LOOK_SECONDS)
