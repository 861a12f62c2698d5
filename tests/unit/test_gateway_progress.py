"""How a job goes on."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.progress import goes_forward
from gateway.records import Job
from sluice.access import Level
from sluice.messages import DocumentProgress, DocumentReference, JobState


def _job(state: str, **fields: Any) -> Job:
    now = datetime.now(UTC)
    return Job(
        tenant_id="tenant-1",
        id="job-1",
        document_id="document-1",
        generation=1,
        kind="index",
        state=JobState(state),
        created_by="person-1",
        created_at=now,
        updated_at=now,
        **fields,
    )


def _told(state: str, **fields: Any) -> DocumentProgress:
    document = DocumentReference(document_id="document-1", generation=1, access_level=Level.EXTERNAL, title="a.txt")
    return DocumentProgress(
        request_id="job-1",
        tenant="default",
        passport="",
        deadline=datetime.now(UTC),
        document=document,
        state=JobState(state),
        **fields,
    )


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (_job("queued"), _told("fetching")),
        (_job("queued"), _told("done")),
        (_job("parsing"), _told("embedding", done=1, total=9)),
        (_job("embedding", done=1), _told("embedding", done=2, total=9)),
        (_job("indexing"), _told("failed")),
        (_job("embedding", done=5), _told("retrying")),
        (_job("retrying"), _told("fetching")),
        (_job("retrying", attempt=1), _told("parsing", attempt=2)),
        (_job("indexing", attempt=1), _told("fetching", attempt=2)),
        (_job("fetching", attempt=2), _told("done", attempt=1)),
        (_job("queued", attempt=3), _told("deleted", attempt=2)),
        (_job("queued", run=2), _told("failed", run=2)),
        (_job("parsing", run=2), _told("done", run=1)),
    ],
)
def test_a_job_goes_forward(job: Job, told: DocumentProgress) -> None:
    assert goes_forward(job, told)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (_job("embedding", done=2), _told("embedding", done=1, total=9)),
        (_job("embedding", done=2), _told("embedding", done=2, total=9)),
        (_job("embedding"), _told("parsing")),
        (_job("fetching", attempt=2), _told("indexing", attempt=1)),
        (_job("fetching", attempt=2), _told("failed", attempt=1)),
        (_job("done"), _told("failed")),
        (_job("queued", run=2), _told("indexing", attempt=3)),
        (_job("queued", run=2), _told("failed", attempt=3)),
        (_job("queued"), _told("parsing", run=2)),
        (_job("failed"), _told("done", attempt=2)),
        (_job("deleted"), _told("done", attempt=2)),
    ],
)
def test_what_is_old_or_comes_after_the_end_changes_nothing(job: Job, told: DocumentProgress) -> None:
    assert not goes_forward(job, told)
