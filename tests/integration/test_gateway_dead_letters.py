"""The operators' API of the dead letters."""

import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis.asyncio
from sqlalchemy import select

from gateway.models import audit, jobs
from gateway.replay import AT_ONCE
from sluice.access import Level
from sluice.errors import PermanentError, SluiceError
from sluice.messages import (
    AnswerCompleted,
    DocumentDeleted,
    DocumentOffered,
    DocumentProgress,
    DocumentReference,
    DocumentSubmitted,
    Fix,
    FixIndexed,
    FixTaught,
    Grant,
    JobState,
    LogsSearched,
    Message,
    Passage,
    QuestionGrounded,
)
from sluice.workstream import Entry, Keys, Publication, WorkStream
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

API = "/api/v1/dead-letters"
DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"
FIXES = "/api/v1/knowledge/fixes"
SECRET = "the merger is called Bluefin"
DELETIONS = DocumentDeleted.stream_of(Level.INTERNAL)
UPLOADS = DocumentSubmitted.stream_of(Level.INTERNAL)
ANSWERS = AnswerCompleted.stream


class Morgue:
    """A worker that gives up whatever it takes."""

    def __init__(self, client: Any, office: Office) -> None:
        self.client = client
        self.office = office

    async def bury(self, stream: str, error: SluiceError | None = None) -> tuple[str, bytes]:
        """The letter's path, and its bytes."""
        group = "morgue"
        work = WorkStream(self.client, stream, group=group, consumer="worker-1", lease=timedelta(seconds=30))
        await work.ensure_group()
        taken = await until(lambda: self.client.xreadgroup(group, "worker-1", {stream: ">"}, count=1), seconds=20)
        [(_, [(entry_id, fields)])] = taken
        entry = Entry.parse(entry_id, fields)
        assert await work.bury(entry, error or PermanentError("the document cannot be read"))
        [(letter_id, _)] = await self.client.xrevrange(Keys(stream).dead, count=1)
        return f"{API}/{stream}/{letter_id.decode()}", entry.body

    async def bury_message(self, message: Message, lane: Level = Level.INTERNAL) -> tuple[str, bytes]:
        """Of a stream that the gateway itself reads: at once, so that it does not come by first."""
        stream = message.stream_of(lane)
        body = self.office.body(message, stream)
        fields = {"__data__": body, "id": message.message_id, "attempts": 1, "detail": "no"}
        letter_id = await self.client.xadd(Keys(stream).dead, fields)
        await self.client.hset(Keys(stream).places, message.message_id, b"dead " + letter_id)
        return f"{API}/{stream}/{letter_id.decode()}", body.encode()


@pytest.fixture
async def morgue(empty_valkey: RedisServer, office: Office) -> AsyncIterator[Morgue]:
    client = redis.asyncio.Redis.from_url(empty_valkey.url)
    yield Morgue(client, office)
    await client.aclose()


async def _upload(client: httpx2.AsyncClient, name: str = "secret-plan.txt") -> dict[str, Any]:
    answer = await client.post(DOCUMENTS, files=[("files", (name, SECRET.encode()))])
    assert answer.status_code == 202, answer.text
    return answer.json()["jobs"][0]


async def _fail(gateway: RunningGateway, body: bytes) -> None:
    """What a worker tells before it buries a document."""
    message = gateway.office.opened(DocumentSubmitted, UPLOADS, body)
    failed = message.follow(DocumentProgress, document=message.document, state=JobState.FAILED, error="unreadable")
    await gateway.adapters.broker.publish(failed)


async def _in_state(client: httpx2.AsyncClient, job_id: str, state: str) -> dict[str, Any]:
    async def job() -> dict[str, Any] | None:
        found = (await client.get(f"{JOBS}/{job_id}")).json()
        return found if found["state"] == state else None

    return await until(job, seconds=20, what=f"a job that is {state}")


async def _on_the_queue(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any] | None:
    job = (await client.get(f"{JOBS}/{job_id}")).json()
    return job if job["state"] == "queued" and job["waiting"] and job["waiting"]["state"] == "waiting" else None


async def _dead_upload(gateway: RunningGateway, morgue: Morgue, client: httpx2.AsyncClient) -> tuple[str, str, bytes]:
    """The letter's path, its job's id, its bytes."""
    job_id = (await _upload(client))["job_id"]
    path, body = await morgue.bury(UPLOADS)
    await _fail(gateway, body)
    await _in_state(client, job_id, "failed")
    return path, job_id, body


async def _audited(gateway: RunningGateway, action: str) -> list[Any]:
    async with gateway.adapters.database.read() as connection:
        return list((await connection.execute(select(audit).where(audit.c.action == action))).mappings())


async def _refusal(operator: httpx2.AsyncClient, path: str) -> str:
    answer = await operator.post(f"{path}/replay")
    assert answer.status_code == 409, answer.text
    assert (await operator.get(path)).status_code == 200, "what was refused stays"
    return answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", API),
        ("DELETE", f"{API}?all=true"),
        ("POST", f"{API}/replay"),
        ("GET", f"{API}/{UPLOADS}/1-1"),
        ("POST", f"{API}/{UPLOADS}/1-1/replay"),
        ("DELETE", f"{API}/{UPLOADS}/1-1"),
    ],
)
async def test_only_the_operators_token_opens_the_dead_letters(gateway: RunningGateway, method: str, path: str) -> None:
    async with gateway.client() as nobody, await gateway.admin() as admin, await gateway.operator() as operator:
        body = {"json": {}} if path.endswith("letters/replay") else {}
        assert (await nobody.request(method, path, **body)).status_code == 401
        assert (await admin.request(method, path, **body)).status_code == 401
        assert (await operator.request(method, path, **body)).status_code in (200, 404)


async def test_a_dead_upload_is_listed_and_shown_without_what_is_in_it(gateway: RunningGateway, morgue: Morgue) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        path, job_id, body = await _dead_upload(gateway, morgue, admin)
        listed = (await operator.get(API)).json()
        shown = await operator.get(path)
        me = (await admin.get("/api/v1/me")).json()
    [item] = listed["items"]
    assert listed["counts"] == {UPLOADS: 1}
    assert (item["stream"], item["request_id"], item["tenant"]) == (UPLOADS, job_id, "default")
    letter = shown.json()
    assert (letter["error"], letter["error_class"]) == ("cannot-be-done", "PermanentError")
    assert (letter["detail"], letter["attempts"], letter["worker"]) == ("the document cannot be read", 1, "worker-1")
    assert letter["size"] == len(body)
    assert letter["holder"]["subject"] == me["id"]
    assert (letter["holder"]["clearance"], letter["holder"]["expired"]) == ("INTERNAL", False)
    assert (letter["envelope"]["generation"], letter["envelope"]["access_level"]) == (1, "INTERNAL")
    for hidden in ("secret-plan", json.loads(body)["passport"]):
        assert hidden not in shown.text + json.dumps(listed)


async def test_no_text_of_a_tenant_is_ever_shown(gateway: RunningGateway, morgue: Morgue, office: Office) -> None:
    passage = Passage(chunk_id="c", document_id="d", title=SECRET, access_level=Level.INTERNAL, text=SECRET)
    asked: dict[str, Any] = {"question": SECRET, "clearance": Level.INTERNAL}
    answer = office.message(
        AnswerCompleted,
        **asked,
        text=SECRET,
        tier="extractive",
        finish_reason="stop",
        level=Level.INTERNAL,
        passages=(passage,),
    )
    grounded = office.message(QuestionGrounded, **asked, search_query=SECRET, passages=(passage,))
    fix = Fix(fix_id="f1", question=SECRET, answer=SECRET, access_level=Level.INTERNAL)
    taught = office.message(FixTaught, fix=fix, clearance=Level.INTERNAL)
    paths = [(await morgue.bury_message(message))[0] for message in (answer, grounded, taught)]
    offered = DocumentOffered(
        body=json.dumps({"text": SECRET}),
        grant=Grant(key_id="key-1", time="2026-01-01T00:00:00Z", nonce="n" * 16, hmac="0" * 64),
    )
    letter_id = await morgue.client.xadd(Keys(DocumentOffered.stream).dead, {"__data__": offered.model_dump_json()})
    paths.append(f"{API}/{DocumentOffered.stream}/{letter_id.decode()}")
    async with await gateway.operator() as operator:
        shown = [(await operator.get(path)) for path in paths]
        listed = await operator.get(API)
    assert [answer.status_code for answer in shown] == [200] * 4
    assert shown[-1].json()["envelope"]["key_id"] == "key-1"
    assert shown[2].json()["envelope"]["fix_id"] == "f1"
    told = listed.text + "".join(answer.text for answer in shown)
    for hidden in ("Bluefin", answer.passport, taught.passport):
        assert hidden not in told
    assert json.loads(listed.text)["counts"][DocumentOffered.stream] == 1


async def test_the_list_is_paged_and_kept_to_one_stream(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    for number in range(3):
        await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": "{}", "id": f"m{number}"})
    await morgue.client.xadd(Keys(ANSWERS).dead, {"__data__": "{}", "id": "other"})
    async with await gateway.operator() as operator:
        first = (await operator.get(API, params={"stream": UPLOADS, "limit": 2})).json()
        then = {"stream": UPLOADS, "limit": 2, "cursor": first["next_cursor"]}
        second = (await operator.get(API, params=then)).json()
        wrong = await operator.get(API, params={"stream": "documents.submitted.v1"})
        garbled = await operator.get(API, params={"cursor": "next"})
    assert [item["message_id"] for item in first["items"] + second["items"]] == ["m2", "m1", "m0"]
    assert second["next_cursor"] is None
    assert (wrong.status_code, garbled.status_code) == (422, 422)


async def test_a_replayed_upload_keeps_its_job_and_gets_a_passport_by_the_rights_of_now(
    any_gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    """On SQLite and on PostgreSQL."""
    gateway = any_gateway
    person = await gateway.person("uploader@razorpay.com", "read", "upload")
    async with person, await gateway.admin() as admin, await gateway.operator() as operator:
        path, job_id, body = await _dead_upload(gateway, morgue, person)
        me = (await person.get("/api/v1/me")).json()["id"]
        assert (await admin.patch(f"/api/v1/people/{me}", json={"rights": ["upload"]})).status_code == 200
        assert (await operator.post(f"{path}/replay")).status_code == 204
        assert (await operator.get(path)).status_code == 404
        job = await until(lambda: _on_the_queue(person, job_id), seconds=20, what="a job on the queue")
        assert (job["error"], job["attempt"]) == (None, 1)
        [(_, fields)] = await morgue.client.xrange(UPLOADS)
        again, before = (office.opened(DocumentSubmitted, UPLOADS, data) for data in (fields[b"__data__"], body))
        assert (again.request_id, again.document) == (before.request_id, before.document)
        passport = office.verifier.verify(again.passport, stream=again.stream, job=again.request_id, asked=again.asked)
        assert (passport.subject, passport.rights) == (me, {"upload"})
        await _fail(gateway, body)  # what the first run still tells is not heard
        done = again.follow(DocumentProgress, document=again.document, state=JobState.DONE, chunk_count=1)
        await gateway.adapters.broker.publish(done)
        await _in_state(person, job_id, "done")
    [row] = await _audited(gateway, "dead-letter.replayed")
    assert (row["actor"], row["target"]) == ("operator", path.removeprefix(f"{API}/"))
    assert row["detail"]["request_id"] == job_id


async def test_a_job_is_shown_without_the_reason_for_its_waiting_while_the_broker_is_away(
    tmp_path: Path, office: Office
) -> None:
    with running(valkey_server(tmp_path / "broker")) as broker:
        async with running_gateway(gateway_settings(tmp_path, broker.url), office) as gateway:
            async with await gateway.admin() as admin:
                job_id = (await _upload(admin))["job_id"]
                assert await until(lambda: _on_the_queue(admin, job_id), seconds=20, what="a job on the queue")
                broker.kill()
                answer = await admin.get(f"{JOBS}/{job_id}")
            async with await gateway.operator() as operator:
                assert (await operator.get(API)).status_code == 503
    assert (answer.status_code, answer.json()["waiting"]) == (200, None)


async def test_a_replay_that_fails_again_is_told_and_can_be_replayed_again(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        path, job_id, _ = await _dead_upload(gateway, morgue, admin)
        for _ in range(2):
            assert (await operator.post(f"{path}/replay")).status_code == 204
            await _in_state(admin, job_id, "queued")
            path, body = await morgue.bury(UPLOADS)
            await _fail(gateway, body)
            await _in_state(admin, job_id, "failed")


async def test_an_upload_that_is_done_deleted_or_replaced_is_not_replayed(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        path, _, _ = await _dead_upload(gateway, morgue, admin)
        async with gateway.adapters.database.write() as connection:
            await connection.execute(jobs.update().values(state="done"))
        assert await _refusal(operator, path) == "its job is done"
        async with gateway.adapters.database.write() as connection:
            await connection.execute(jobs.update().values(state="failed"))
        again = await admin.post(DOCUMENTS, files=[("files", ("secret-plan.txt", b"another text"))])
        assert "a newer upload" in await _refusal(operator, path)
        newer, _ = await morgue.bury(UPLOADS)
        await admin.delete(f"{DOCUMENTS}/{again.json()['jobs'][0]['document_id']}")
        assert "being deleted" in await _refusal(operator, newer)
        deletion, body = await morgue.bury(DELETIONS)
        message = morgue.office.opened(DocumentDeleted, DELETIONS, body)
        gone = message.follow(DocumentProgress, document=message.document, state=JobState.DELETED)
        await gateway.adapters.broker.publish(gone)
        await until(lambda: _is_gone(admin, message.document.document_id), seconds=20, what="the document's end")
        assert "gone" in await _refusal(operator, newer)
        assert "gone" in await _refusal(operator, deletion)


async def _is_gone(client: httpx2.AsyncClient, document_id: str) -> bool:
    return (await client.get(f"{DOCUMENTS}/{document_id}")).status_code == 404


async def test_an_upload_of_someone_who_may_not_any_more_is_not_replayed_but_their_deletion_is(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    person = await gateway.person("leaver@razorpay.com", "read", "upload")
    async with person, await gateway.admin() as admin, await gateway.operator() as operator:
        me = (await person.get("/api/v1/me")).json()["id"]
        path, _, _ = await _dead_upload(gateway, morgue, person)
        kept = (await _upload(person, "another.txt"))["document_id"]
        await person.delete(f"{DOCUMENTS}/{kept}")
        deletion, body = await morgue.bury(DELETIONS)
        assert (await admin.delete(f"/api/v1/people/{me}")).status_code == 204
        assert await _refusal(operator, path) == "who asked for this may not do so any more"
        assert (await operator.post(f"{deletion}/replay")).status_code == 204
        [(_, fields)] = await morgue.client.xrange(DELETIONS)
    again, before = (office.opened(DocumentDeleted, DELETIONS, data) for data in (fields[b"__data__"], body))
    assert again.document == before.document
    passport = office.verifier.verify(again.passport, stream=again.stream, job=again.request_id, asked=again.asked)
    assert passport.rights == {"upload"}


async def test_an_upload_whose_file_is_gone_is_not_replayed(gateway: RunningGateway, morgue: Morgue) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        path, _, _ = await _dead_upload(gateway, morgue, admin)
        shutil.rmtree(gateway.settings.data_dir / "blobs")
        assert "upload it again" in await _refusal(operator, path)


async def test_a_fix_of_someone_who_may_not_teach_any_more_is_not_replayed(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    teacher = await gateway.person("teacher@razorpay.com", "read", "teach")
    async with teacher, await gateway.admin() as admin, await gateway.operator() as operator:
        me = (await teacher.get("/api/v1/me")).json()["id"]
        await teacher.post(FIXES, json={"question": "q", "answer": "a", "access_level": "INTERNAL"})
        path, _ = await morgue.bury(FixTaught.stream_of(Level.INTERNAL))
        assert (await admin.patch(f"/api/v1/people/{me}", json={"rights": ["read"]})).status_code == 200
        assert await _refusal(operator, path) == "who asked for this may not do so any more"


async def test_a_letter_whose_job_was_begun_again_since_is_not_replayed(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    """Else an old copy of a letter would start a second run beside the one that is on its way."""
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        path, _, body = await _dead_upload(gateway, morgue, admin)
        await operator.post(f"{path}/replay")
        copy = await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": body})
        assert "begun again" in await _refusal(operator, f"{API}/{UPLOADS}/{copy.decode()}")


async def test_a_forged_or_unreadable_letter_is_shown_as_such_and_not_replayed(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    document = DocumentReference(document_id="d", generation=1, access_level=Level.INTERNAL, title="t")
    forged, _ = await morgue.bury_message(
        Office().message(DocumentSubmitted, document=document, clearance=Level.INTERNAL, tenant="default")
    )
    garbage = await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": b"\xff not JSON"})
    async with await gateway.operator() as operator:
        letter = (await operator.get(forged)).json()
        assert letter["holder"] is None
        assert "not signed by this system" in letter["fault"]
        assert "not signed by this system" in await _refusal(operator, forged)
        signed = office.message(DocumentSubmitted, document=document, tenant="tenant-a")
        moved, _ = await morgue.bury_message(signed.model_copy(update={"tenant": "default"}))
        assert "another tenant" in await _refusal(operator, moved)
        assert "not a valid documents.submitted.v1" in await _refusal(operator, f"{API}/{UPLOADS}/{garbage.decode()}")


async def test_questions_and_log_searches_are_not_replayed_but_can_be_discarded(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    question = office.message(QuestionGrounded, question="q", search_query="q")
    grounded, _ = await morgue.bury_message(question, Level.EXTERNAL)
    now = question.created_at
    searched, _ = await morgue.bury_message(office.message(LogsSearched, query="q", start=now, end=now))
    async with await gateway.operator() as operator:
        for path in (grounded, searched):
            assert "ask again" in (await _refusal(operator, path)).replace("asks", "ask")
            assert (await operator.delete(path)).status_code == 204
            assert (await operator.get(path)).status_code == 404
            assert (await operator.delete(path)).status_code == 404
    assert len(await _audited(gateway, "dead-letter.discarded")) == 2


async def test_what_tells_an_outcome_is_put_back_as_it_is_unless_its_time_is_over(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        job_id = (await _upload(admin))["job_id"]
        [(_, fields)] = await morgue.client.xrange(UPLOADS)
        message = office.opened(DocumentSubmitted, UPLOADS, fields[b"__data__"])
        done = message.follow(DocumentProgress, document=message.document, state=JobState.DONE, chunk_count=3)
        path, _ = await morgue.bury_message(done)
        assert (await operator.post(f"{path}/replay")).status_code == 204
        assert (await _in_state(admin, job_id, "done"))["waiting"] is None
        fix = Fix(fix_id="f", question="q", answer="a", access_level=Level.EXTERNAL)
        past = office.message(FixIndexed, fix=fix, state="active").created_at - timedelta(hours=1)
        late, _ = await morgue.bury_message(
            office.message(FixIndexed, fix=fix, state="active", passport_expires_at=past)
        )
        assert (await operator.get(late)).json()["holder"]["expired"] is True
        assert "its time is over" in await _refusal(operator, late)


async def test_a_dead_fix_is_taught_again_and_its_withdrawal_too(gateway: RunningGateway, morgue: Morgue) -> None:
    taught_on, withdrawn_on = FixTaught.stream_of(Level.INTERNAL), "fixes.withdrawn.v1.internal"
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        made = await admin.post(FIXES, json={"question": "q", "answer": "a", "access_level": "INTERNAL"})
        fix_id = made.json()["id"]
        path, body = await morgue.bury(taught_on)
        message = morgue.office.opened(FixTaught, taught_on, body)
        failed = message.follow(FixIndexed, fix=message.fix, state="failed", error="no")
        await gateway.adapters.broker.publish(failed)
        await until(lambda: _fix_is(admin, fix_id, "failed"), seconds=20)
        assert (await operator.post(f"{path}/replay")).status_code == 204
        await until(lambda: _fix_is(admin, fix_id, "pending"), seconds=20)
        second, _ = await morgue.bury(taught_on)
        await admin.delete(f"{FIXES}/{fix_id}")
        assert "begun again" in await _refusal(operator, second), "what is withdrawn is not taught again"
        third, _ = await morgue.bury(withdrawn_on)
        assert (await operator.post(f"{third}/replay")).status_code == 204
        assert await morgue.client.xlen(withdrawn_on) == 1


async def _fix_is(client: httpx2.AsyncClient, fix_id: str, state: str) -> bool:
    return (await client.get(f"{FIXES}/{fix_id}")).json()["state"] == state


async def test_replaying_all_tells_how_many_were_replayed_and_why_others_were_not(
    gateway: RunningGateway, morgue: Morgue, office: Office
) -> None:
    async with await gateway.admin() as admin, await gateway.operator() as operator:
        await _dead_upload(gateway, morgue, admin)
        garbage = await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": "{}"})
        await morgue.bury_message(office.message(QuestionGrounded, question="q", search_query="q"), Level.EXTERNAL)
        answer = (await operator.post(f"{API}/replay", json={"stream": UPLOADS})).json()
        counts = (await operator.get(API)).json()["counts"]
    assert (answer["replayed"], answer["next_cursor"]) == (1, None)
    [refusal] = answer["refused"]
    assert (refusal["stream"], refusal["id"]) == (UPLOADS, garbage.decode())
    assert "not a valid" in refusal["reason"]
    assert counts == {UPLOADS: 1, QuestionGrounded.stream_of(Level.EXTERNAL): 1}


async def test_a_call_takes_on_a_bounded_number_and_tells_where_the_next_goes_on(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    filling = morgue.client.pipeline(transaction=False)
    for _ in range(AT_ONCE + 5):
        filling.xadd(Keys(UPLOADS).dead, {"__data__": "{}"})
    await filling.execute()
    async with await gateway.operator() as operator:
        first = (await operator.post(f"{API}/replay", json={})).json()
        second = (await operator.post(f"{API}/replay", json={"cursor": first["next_cursor"]})).json()
    assert (len(first["refused"]), len(second["refused"])) == (AT_ONCE, 5)
    assert second["next_cursor"] is None


async def test_all_letters_of_a_stream_are_discarded_only_when_that_is_said(
    gateway: RunningGateway, morgue: Morgue
) -> None:
    await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": "{}"})
    await morgue.client.xadd(Keys(UPLOADS).dead, {"__data__": "{}"})
    await morgue.client.xadd(Keys(ANSWERS).dead, {"__data__": "{}"})
    async with await gateway.operator() as operator:
        assert (await operator.delete(API, params={"stream": UPLOADS})).status_code == 422
        answer = await operator.delete(API, params={"stream": UPLOADS, "all": "true"})
        assert answer.json() == {"discarded": 2, "next_cursor": None}
        assert (await operator.get(API)).json()["counts"] == {ANSWERS: 1}
        assert (await operator.delete(API, params={"all": "true"})).json()["discarded"] == 1
    assert len(await _audited(gateway, "dead-letter.discarded")) == 3


async def test_what_was_discarded_can_be_sent_again(gateway: RunningGateway, morgue: Morgue, office: Office) -> None:
    question = office.message(QuestionGrounded, question="q", search_query="q")
    path, body = await morgue.bury_message(question, Level.EXTERNAL)
    stream, publish = question.stream_of(Level.EXTERNAL), Publication(morgue.client)
    assert not await publish(stream, question.message_id, body.decode())
    async with await gateway.operator() as operator:
        await operator.delete(path)
    assert await publish(stream, question.message_id, body.decode())
