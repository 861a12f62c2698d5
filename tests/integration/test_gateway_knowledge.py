"""Documents over HTTP: accepted, sealed, published, followed to their end."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import update

from gateway.models import jobs, people
from sluice.access import Level
from sluice.messages import DocumentDeleted, DocumentProgress, DocumentSubmitted, JobState
from tests.support.gateway import RunningGateway, Workers, events_of, gateway_settings, running_gateway
from tests.support.identity import Office, passport
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"


async def _upload(
    client: httpx2.AsyncClient,
    *files: tuple[str, bytes],
    urls: tuple[str, ...] = (),
    level: str | None = None,
    **fields: str,
) -> httpx2.Response:
    parts: list[Any] = [("files", file) for file in files]
    parts += [("urls", (None, url)) for url in urls]
    parts += [("access_level", (None, level))] if level else []
    parts += [(name, (None, value)) for name, value in fields.items()]
    return await client.post(DOCUMENTS, files=parts)


async def _report(workers: Workers, submitted: DocumentSubmitted | DocumentDeleted, state: str, **fields: Any) -> None:
    progress = submitted.follow(
        DocumentProgress, f"{state} {fields}", document=submitted.document, state=JobState(state), **fields
    )
    await workers.broker.publish(progress)


async def _job(client: httpx2.AsyncClient, job_id: str, state: str) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        job = (await client.get(f"{JOBS}/{job_id}")).json()
        return job if job["state"] == state else None

    return await until(reached, what=f"the job's state {state}")


async def test_an_upload_is_stored_sealed_published_and_followed_to_its_end(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        answer = await _upload(admin, ("Guide.txt", b"Forty days."), urls=("https://example.com/help",))
        assert answer.status_code == 202
        file, url = answer.json()["jobs"]
        assert (file["name"], url["name"]) == ("Guide.txt", "https://example.com/help")
        submitted = await workers.take(DocumentSubmitted)
        assert submitted.request_id == file["job_id"]
        assert submitted.document.access_level is Level.INTERNAL
        assert (submitted.document.title, submitted.document.generation) == ("Guide.txt", 1)
        fetched = await workers.take(DocumentSubmitted)
        assert (fetched.document.url, fetched.document.sha256) == ("https://example.com/help", None)
        await _original_is_sealed(any_gateway, submitted)
        await _report(workers, submitted, "embedding", done=3, total=7)
        job = await _job(admin, file["job_id"], "embedding")
        assert job["progress"] == {"done": 3, "total": 7}
        await _report(workers, submitted, "done", done=7, total=7, chunk_count=7, title="The guide")
        await _job(admin, file["job_id"], "done")
        document = (await admin.get(f"{DOCUMENTS}/{file['document_id']}")).json()
        assert (document["state"], document["chunk_count"], document["title"]) == ("done", 7, "The guide")
        listed = (await admin.get(DOCUMENTS)).json()["items"]
        assert [item["name"] for item in listed] == ["https://example.com/help", "Guide.txt"]


async def _original_is_sealed(gateway: RunningGateway, submitted: DocumentSubmitted) -> None:
    document = submitted.document
    path = ("documents", document.document_id, str(document.generation), "original")
    scope = passport(tenant="default", clearance=Level.INTERNAL).scope
    stored: Any = gateway.adapters.blobs
    assert await stored.get(scope, Level.INTERNAL, path) == b"Forty days."
    file = gateway.settings.data_dir.joinpath("blobs", "internal", "default", *path)
    assert b"Forty" not in file.read_bytes()


async def test_the_same_bytes_again_are_done_at_once_and_other_bytes_are_a_new_generation(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        first = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        await _report(workers, await workers.take(DocumentSubmitted), "done", chunk_count=1)
        await _job(admin, first["job_id"], "done")
        again = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        assert again["document_id"] == first["document_id"]
        job = (await admin.get(f"{JOBS}/{again['job_id']}")).json()
        assert (job["state"], job["unchanged"]) == ("done", True)
        assert workers.idle(), "nothing was published"
        changed = (await _upload(admin, ("a.txt", b"two"))).json()["jobs"][0]
        assert changed["document_id"] == first["document_id"]
        assert (await workers.take(DocumentSubmitted)).document.generation == 2
        other_level = (await _upload(admin, ("a.txt", b"two"), level="EXTERNAL")).json()["jobs"][0]
        assert other_level["document_id"] != first["document_id"]


async def test_a_newer_upload_ends_the_job_of_the_older_and_its_late_progress_changes_nothing(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        old = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        stale = await workers.take(DocumentSubmitted)
        new = (await _upload(admin, ("a.txt", b"two"))).json()["jobs"][0]
        current = await workers.take(DocumentSubmitted)
        assert "newer upload" in (await _job(admin, old["job_id"], "failed"))["error"]
        await _report(workers, stale, "done", chunk_count=99, title="stale")
        await _report(workers, current, "done", chunk_count=2)
        await _job(admin, new["job_id"], "done")
        document = (await admin.get(f"{DOCUMENTS}/{new['document_id']}")).json()
    assert (document["version"], document["chunk_count"], document["title"]) == (2, 2, "a.txt")


async def test_a_failed_job_says_why_and_stays_failed(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        job = (await _upload(admin, ("a.pdf", b"%PDF-"))).json()["jobs"][0]
        submitted = await workers.take(DocumentSubmitted)
        await _report(workers, submitted, "failed", error="no text found in this PDF file")
        assert (await _job(admin, job["job_id"], "failed"))["error"] == "no text found in this PDF file"
        await _report(workers, submitted, "embedding", attempt=2, done=1, total=2)
        await until(lambda: _progress_read(workers), what="the late message")
        assert (await admin.get(f"{JOBS}/{job['job_id']}")).json()["state"] == "failed"
        async with admin.stream("GET", f"{JOBS}/{job['job_id']}/events") as events:
            lines = [line async for line in events.aiter_lines()]
    assert lines[0] == "event: error"


async def _progress_read(workers: Workers) -> bool:
    return await workers.broker.redis.xlen("documents.progress.v1") == 0


async def test_a_jobs_events_come_as_it_goes_on(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        job = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        submitted = await workers.take(DocumentSubmitted)
        names: list[str] = []
        async with admin.stream("GET", f"{JOBS}/{job['job_id']}/events") as events:
            async for line in events.aiter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                    if len(names) < 3:
                        step = {"state": "parsing"} if len(names) == 1 else {"state": "done", "chunk_count": 1}
                        await _report(workers, submitted, **step)
    assert names == ["progress", "progress", "done"]


async def test_a_jobs_events_end_with_the_session_the_right_or_the_clearance(gateway: RunningGateway) -> None:
    names = ("suspended", "unentitled", "outsider")
    persons = [await gateway.person(f"{name}@razorpay.com", "read", "upload") for name in names]
    async with await gateway.admin() as admin, persons[0], persons[1], persons[2]:
        ids = [(await person.get("/api/v1/me")).json()["id"] for person in persons]
        opened = [asyncio.Event() for _ in persons]
        following = [asyncio.create_task(_last_event(*each)) for each in zip(persons, names, opened, strict=True)]
        await asyncio.gather(*(event.wait() for event in opened))
        await admin.patch(f"/api/v1/people/{ids[0]}", json={"suspended": True})
        await admin.patch(f"/api/v1/people/{ids[1]}", json={"rights": ["read"]})
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(people).where(people.c.id == ids[2]).values(email_verified=False))
        ends = await asyncio.wait_for(asyncio.gather(*following), 30)
    assert [end["type"].rpartition(":")[2] for end in ends] == ["not-signed-in", "access-denied", "not-found"]


async def _last_event(person: httpx2.AsyncClient, name: str, opened: asyncio.Event) -> dict[str, Any]:
    """What the events of a job end with on which nothing happens."""
    job = (await _upload(person, (f"{name}.txt", b"text"))).json()["jobs"][0]
    told: list[dict[str, Any]] = []
    async with person.stream("GET", f"{JOBS}/{job['job_id']}/events") as answer:
        async for _, data, _ in events_of(answer):
            told.append(data)
            opened.set()
    return told[-1]


async def test_a_deleted_document_is_deleting_then_gone_and_its_name_is_free_at_once(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        job = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        await _report(workers, await workers.take(DocumentSubmitted), "done", chunk_count=1)
        await _job(admin, job["job_id"], "done")
        path = f"{DOCUMENTS}/{job['document_id']}"
        for _ in range(2):
            assert (await admin.delete(path)).json()["state"] == "deleting"
        deleted = await workers.take(DocumentDeleted)
        assert deleted.document.document_id == job["document_id"]
        assert workers.idle(), "the second call published nothing"
        again = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        assert again["document_id"] != job["document_id"]
        await _report(workers, deleted, "deleted")
        await until(lambda: _is_gone(admin, path), what="the document's end")
        assert (await admin.get(f"{DOCUMENTS}/{again['document_id']}")).status_code == 200


async def test_a_deletion_deletes_the_generation_that_there_is_then(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL: an upload that came between reading the document and deleting it is deleted too."""
    services = any_gateway.services
    async with await any_gateway.admin() as admin:
        accepted = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        person = await services.accounts.person((await admin.get("/api/v1/me")).json()["id"])
        assert person
        document = await services.submit.find(person, accepted["document_id"])
        await _upload(admin, ("a.txt", b"two"))
        await services.submit.delete(person, document)
        deleted = await workers.take(DocumentDeleted)
        assert deleted.document.generation == 2
        await _report(workers, deleted, "deleted")
        path = f"{DOCUMENTS}/{accepted['document_id']}"
        await until(lambda: _is_gone(admin, path), what="the document's end")


async def _is_gone(client: httpx2.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 404


async def test_what_is_no_upload_is_refused_with_its_field_and_nothing_is_accepted(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, max_files=3, max_file_bytes=2000)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        good = ("good.txt", b"text")
        refused = [
            (await _upload(admin), "files"),
            (await _upload(admin, good, ("empty.txt", b"")), "files.1"),
            (await _upload(admin, *[good] * 4), "files"),
            (await _upload(admin, good, urls=("ftp://example.com/",)), "urls.0"),
            (await _upload(admin, good, urls=("https://user:pass@example.com/",)), "urls.0"),
            (await _upload(admin, good, urls=("",)), "urls.0"),
            (await _upload(admin, good, level="SECRET"), "access_level"),
            (await _upload(admin, good, tenant="acme"), "tenant"),
            (await _upload(admin, good, document_id="1"), "document_id"),
            (await _upload(admin, ("..", b"text")), "files.0"),
        ]
        for answer, field in refused:
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
            assert "pass@" not in answer.text
        large = await _upload(admin, good, ("large.txt", b"x" * 2001))
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        assert (await admin.get(DOCUMENTS)).json()["items"] == []


async def test_an_upload_that_is_larger_than_all_may_be_is_cut_off(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """With its length said, and without."""
    settings = gateway_settings(tmp_path, empty_valkey.url, max_upload_bytes=10_000)

    async def chunks() -> Any:
        yield b"--b\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n"
        for _ in range(10):
            yield b"x" * 2000

    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        said = await _upload(admin, ("a.txt", b"x" * 10_001))
        unsaid = await admin.post(
            DOCUMENTS, content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
    for answer in (said, unsaid):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_the_body_of_an_upload_is_read_only_for_those_who_may_upload(gateway: RunningGateway) -> None:
    """Who may not has the answer while most of the body is still to come."""
    reader = await gateway.person("reader@razorpay.com", "read")
    async with reader:
        tokens = {"": 401, "Authorization: Bearer nobody\r\n": 401}
        tokens[f"Authorization: {reader.headers['authorization']}\r\n"] = 403
        for header, status in tokens.items():
            assert await _status_of_a_begun_upload(gateway, header) == status


async def _status_of_a_begun_upload(gateway: RunningGateway, header: str) -> int:
    from_server, to_server = await asyncio.open_connection("127.0.0.1", gateway.settings.port)
    part = b"--b\r\nContent-Disposition: form-data; name=files; filename=a\r\n\r\n" + b"x" * 100_000
    head = f"POST {DOCUMENTS} HTTP/1.1\r\nHost: localhost\r\n{header}Transfer-Encoding: chunked\r\n"
    to_server.write(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
    to_server.write(b"%x\r\n%b\r\n" % (len(part), part))  # and no last chunk
    try:
        status_line = await asyncio.wait_for(from_server.readline(), 30)
    finally:
        to_server.close()
    return int(status_line.split()[1])


async def test_a_form_that_cannot_be_read_is_refused(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        kinds = ("multipart/form-data", "multipart/form-data; boundary=b", "multipart/form-data; boundary=b; charset=x")
        for kind in kinds:
            answer = await admin.post(DOCUMENTS, content=b"--c\r\nno form", headers={"Content-Type": kind})
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), kind


async def test_what_a_browser_sends_for_fields_left_out_is_left_out(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        fields = ('files; filename=""', "access_level", "urls")
        head = [f"--b\r\nContent-Disposition: form-data; name={field}\r\n\r\n" for field in fields]
        body = f"{head[0]}\r\n{head[1]}\r\n{head[2]}https://example.com/\r\n--b--\r\n"
        answer = await admin.post(
            DOCUMENTS, content=body.encode(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code == 202, answer.text
        assert [job["name"] for job in answer.json()["jobs"]] == ["https://example.com/"]


async def test_a_file_name_is_never_a_path(gateway: RunningGateway, workers: Workers) -> None:
    """case 30: names with folders are shown without them, and stored under an id of ours."""
    async with await gateway.admin() as admin:
        for name in ("../../etc/passwd", "/etc/passwd", "C:\\x\\passwd", "..\\passwd", "pass\u200bwd"):
            job = (await _upload(admin, (name, name.encode()))).json()["jobs"][0]
            assert job["name"] == "passwd"
            assert (await workers.take(DocumentSubmitted)).document.document_id == job["document_id"]
    names = {path.name for path in gateway.settings.data_dir.rglob("*") if path.is_file()}
    assert not {name for name in names if "passwd" in name}


async def test_an_external_person_writes_and_sees_external_documents_alone(
    gateway: RunningGateway, workers: Workers
) -> None:
    """cases 3 and 5: another level cannot be written, and is found by no id."""
    customer = await gateway.person("partner@example.com", "read", "upload")
    async with customer, await gateway.admin() as admin:
        secret = (await _upload(admin, ("secret.txt", b"s"))).json()["jobs"][0]
        for level in (None, "INTERNAL"):
            refused = await _upload(customer, ("a.txt", b"a"), level=level)
            assert refused.status_code == 403
        public = (await _upload(customer, ("a.txt", b"a"), level="EXTERNAL")).json()["jobs"][0]
        submitted = await workers.take(DocumentSubmitted, Level.EXTERNAL)
        assert submitted.request_id == public["job_id"]
        assert [item["name"] for item in (await customer.get(DOCUMENTS)).json()["items"]] == ["a.txt"]
        for method, path in (
            ("GET", f"{DOCUMENTS}/{secret['document_id']}"),
            ("DELETE", f"{DOCUMENTS}/{secret['document_id']}"),
            ("GET", f"{JOBS}/{secret['job_id']}"),
            ("GET", f"{JOBS}/{secret['job_id']}/events"),
        ):
            assert (await customer.request(method, path)).status_code == 404


async def test_a_job_whose_message_never_arrived_is_published_again(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        job = (await _upload(admin, ("a.txt", b"one"))).json()["jobs"][0]
        first = await workers.take(DocumentSubmitted)
        await _unpublish(gateway, job["job_id"])
        again = await workers.take(DocumentSubmitted)
    assert (again.request_id, again.document, again.asked) == (first.request_id, first.document, first.asked)


async def _unpublish(gateway: RunningGateway, job_id: str) -> None:
    """As a gateway leaves a job that is killed before it sends it; in a run that no late note of the first is for."""
    unsent = {"published_at": None, "run": jobs.c.run + 1}
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job_id).values(unsent))


async def test_a_job_of_someone_who_was_suspended_meanwhile_is_not_published_but_fails(
    gateway: RunningGateway, workers: Workers
) -> None:
    person = await gateway.person("leaver@razorpay.com", "read", "upload")
    async with person, await gateway.admin() as admin:
        me = (await person.get("/api/v1/me")).json()["id"]
        job = (await _upload(person, ("a.txt", b"one"))).json()["jobs"][0]
        await workers.take(DocumentSubmitted)
        await admin.patch(f"/api/v1/people/{me}", json={"suspended": True})
        await _unpublish(gateway, job["job_id"])
        assert "may not" in (await _job(admin, job["job_id"], "failed"))["error"]
        assert workers.idle()


async def test_uploads_of_one_name_at_once_are_one_document(any_gateway: RunningGateway) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        racing = [_upload(admin, ("a.txt", str(number).encode())) for number in range(8)]
        answers = await asyncio.gather(*racing)
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["jobs"][0]["document_id"] for answer in answers}) == 1
        assert (await admin.get(DOCUMENTS)).json()["items"][0]["version"] == 8


async def test_documents_are_found_by_a_part_of_their_name_within_the_level_and_tenant(
    gateway: RunningGateway,
) -> None:
    """cases 1 and 5: what is above the clearance, or another tenant's, is found by no name."""
    await gateway.add_tenant("pier")
    theirs = await gateway.person("boss@razorpay.com", "read", "upload", tenant="pier")
    customer = await gateway.person("partner@example.com", "read")
    async with theirs, customer, await gateway.admin() as admin:
        await _upload(theirs, ("Harbour plan.txt", b"t"))
        await _upload(admin, ("Harbour plan.txt", b"a"), ("100%_sure.txt", b"b"), ("other.txt", b"c"))
        await _upload(admin, ("harbour map.txt", b"d"), level="EXTERNAL")

        async def named(client: httpx2.AsyncClient, name: str) -> list[str]:
            found = await client.get(DOCUMENTS, params={"name": name})
            return sorted(item["name"] for item in found.json()["items"])

        assert await named(admin, "HARBOUR") == ["Harbour plan.txt", "harbour map.txt"]
        assert await named(admin, "%_") == ["100%_sure.txt"]
        assert await named(customer, "harbour") == ["harbour map.txt"]
        assert await named(customer, "plan") == []
