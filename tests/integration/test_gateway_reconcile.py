"""What the gateway brings to its end by itself: jobs that nobody tells of, deletions that came to nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from sqlalchemy import update

from gateway.models import jobs
from gateway.records import Document, Job
from sluice.access import Level
from sluice.messages import DocumentDeleted, DocumentProgress, DocumentSubmitted, JobState
from tests.support.gateway import RunningGateway, Workers
from tests.support.identity import Office
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"


async def _uploaded(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer = await client.post(DOCUMENTS, files=[("files", ("a.txt", b"one"))])
    return answer.json()["jobs"][0]


async def _set(gateway: RunningGateway, **changes: Any) -> None:
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(jobs).values(changes))


async def _found(gateway: RunningGateway, job_id: str) -> tuple[Job, Document]:
    tenant = await gateway.services.accounts.tenant("default")
    assert tenant is not None
    found = await gateway.services.catalog.job(tenant.id, job_id)
    assert found is not None
    return found


async def _tell(workers: Workers, message: DocumentSubmitted | DocumentDeleted, state: JobState) -> None:
    await workers.broker.publish(message.follow(DocumentProgress, state, document=message.document, state=state))


async def _job_state(client: httpx2.AsyncClient, job_id: str) -> str:
    return (await client.get(f"{JOBS}/{job_id}")).json()["state"]


async def _is_gone(client: httpx2.AsyncClient, document_id: str) -> bool:
    return (await client.get(f"{DOCUMENTS}/{document_id}")).status_code == 404


def _past_the_deadline(gateway: RunningGateway) -> datetime:
    """Late enough for the passport to be void too."""
    return datetime.now(UTC) - timedelta(seconds=gateway.settings.job_deadline_seconds, minutes=11)


async def test_a_job_that_nobody_tells_of_in_time_fails_with_what_to_do(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        accepted = await _uploaded(admin)
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.PARSING)
        await until(lambda: _is(admin, accepted["job_id"], "parsing"), what="the job's progress")
        await _set(any_gateway, published_at=_past_the_deadline(any_gateway))
        await until(lambda: _is(admin, accepted["job_id"], "failed"), what="the job's end")
        assert "upload it again" in (await admin.get(f"{JOBS}/{accepted['job_id']}")).json()["error"]
        assert (await admin.get(f"{DOCUMENTS}/{accepted['document_id']}")).json()["state"] == "failed"


async def _is(client: httpx2.AsyncClient, job_id: str, state: str) -> bool:
    return await _job_state(client, job_id) == state


async def test_a_job_within_its_deadline_is_left_alone(gateway: RunningGateway, workers: Workers) -> None:
    """The other job's end tells that the reconciler has looked."""
    async with await gateway.admin() as admin:
        late = await _uploaded(admin)
        await workers.take(DocumentSubmitted)
        await _set(gateway, published_at=_past_the_deadline(gateway))
        answer = await admin.post(DOCUMENTS, files=[("files", ("b.txt", b"two"))])
        await until(lambda: _is(admin, late["job_id"], "failed"), what="the late job's end")
        assert await _job_state(admin, answer.json()["jobs"][0]["job_id"]) == "queued"


async def test_a_job_whose_publication_was_not_noted_is_late_only_when_it_was_not_told_of_for_long(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """However long it waited before. It can also be found lost. On SQLite and on PostgreSQL."""
    catalog, long_ago = any_gateway.services.catalog, _past_the_deadline(any_gateway)
    async with await any_gateway.admin() as admin:
        job_id = (await _uploaded(admin))["job_id"]
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.PARSING)
        await until(lambda: _is(admin, job_id, "parsing"), what="the job's progress")
        await _set(any_gateway, published_at=None, created_at=long_ago)
        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert await catalog.overdue(long_ago) == []
        assert [job.id for job, _ in await catalog.overdue(soon)] == [job_id]
        [(job, _)] = await catalog.unheard(soon, None)
        assert job.id == job_id
        assert await catalog.unheard(soon, job) == []
        assert await catalog.overdue(soon, job) == []


async def test_when_a_message_was_sent_is_noted_once(any_gateway: RunningGateway, workers: Workers) -> None:
    """A sender that comes later does not move the deadline; on SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        accepted = await _uploaded(admin)
        catalog, long_ago = any_gateway.services.catalog, datetime.now(UTC) - timedelta(hours=1)
        await _set(any_gateway, published_at=long_ago)
        job, _ = await _found(any_gateway, accepted["job_id"])
        await catalog.published(job, datetime.now(UTC))
        assert (await _found(any_gateway, accepted["job_id"]))[0].published_at == long_ago
        fresh = await catalog.again(job)
        assert fresh is not None
        await catalog.published(job, datetime.now(UTC))  # of the run before
        assert (await _found(any_gateway, accepted["job_id"]))[0].published_at is None


async def test_a_deletion_that_failed_is_begun_again_after_a_while(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL: what was told to be on its way out does not stay findable."""
    async with await any_gateway.admin() as admin:
        document_id = (await _uploaded(admin))["document_id"]
        await admin.delete(f"{DOCUMENTS}/{document_id}")
        first = await workers.take(DocumentDeleted)
        await _tell(workers, first, JobState.FAILED)
        await until(lambda: _is(admin, first.request_id, "failed"), what="the first job's end")
        await _set(any_gateway, updated_at=datetime.now(UTC) - timedelta(minutes=11))
        second = await workers.take(DocumentDeleted)
        assert second.request_id != first.request_id
        assert second.document == first.document
        await _tell(workers, second, JobState.DELETED)
        await until(lambda: _is_gone(admin, document_id), what="the document's end")


async def test_a_deletion_that_nobody_tells_of_in_time_is_begun_again(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        document_id = (await _uploaded(admin))["document_id"]
        await admin.delete(f"{DOCUMENTS}/{document_id}")
        first = await workers.take(DocumentDeleted)
        await _set(gateway, published_at=_past_the_deadline(gateway))
        await until(lambda: _is(admin, first.request_id, "failed"), what="the first job's end")
        await _set(gateway, updated_at=datetime.now(UTC) - timedelta(minutes=11))
        assert (await workers.take(DocumentDeleted)).document == first.document


async def test_a_deletion_goes_on_although_who_asked_for_it_is_gone(
    gateway: RunningGateway, workers: Workers, office: Office
) -> None:
    """By the system, with the right and the level that it takes, and no more."""
    person = await gateway.person("leaver@razorpay.com", "read", "upload", "teach")
    async with person, await gateway.admin() as admin:
        me = (await person.get("/api/v1/me")).json()["id"]
        document_id = (await _uploaded(person))["document_id"]
        await person.delete(f"{DOCUMENTS}/{document_id}")
        first = await workers.take(DocumentDeleted)
        assert (await admin.delete(f"/api/v1/people/{me}")).status_code == 204
        await _set(gateway, published_at=None, run=jobs.c.run + 1)
        again = await workers.take(DocumentDeleted)
        assert (again.request_id, again.document) == (first.request_id, first.document)
        passport = office.verifier.verify(again.passport, stream=again.stream, job=again.request_id, asked=again.asked)
        assert (passport.subject, passport.rights) == ("system:removal", {"upload"})
        assert (passport.tenant, passport.clearance) == ("default", Level.INTERNAL)
        await _tell(workers, again, JobState.DELETED)
        await until(lambda: _is_gone(admin, document_id), what="the document's end")
