"""Asking twice under one Idempotency-Key, over real HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from sqlalchemy import func, select, update

from gateway.models import documents, fixes, idempotency_keys, jobs, turns
from sluice.access import Level
from sluice.messages import DocumentProgress, DocumentSubmitted, FixTaught, JobState, QuestionAsked
from tests.support.gateway import (
    CHAT,
    RunningGateway,
    Workers,
    events_of,
    gateway_adapters,
    gateway_settings,
    running_gateway,
)
from tests.support.identity import Office
from tests.support.proxy import proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
FIXES = "/api/v1/knowledge/fixes"
JOBS = "/api/v1/knowledge/jobs"
FIX = {"question": "How long is the warranty?", "answer": "Fifty days.", "access_level": "EXTERNAL"}


@pytest.fixture
async def unreconciled(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[RunningGateway]:
    """A gateway whose reconciler mends nothing during the test."""
    settings = gateway_settings(tmp_path, empty_valkey.url, reconcile_seconds=600)
    async with running_gateway(settings, office) as running:
        yield running


async def _upload(client: httpx2.AsyncClient, key: str, *files: tuple[str, bytes], **form: str) -> httpx2.Response:
    parts = [("files", file) for file in files or [("a.txt", b"one")]]
    return await client.post(DOCUMENTS, files=parts, data=form, headers={"Idempotency-Key": key})


async def _count(gateway: RunningGateway, table: Any) -> int:
    async with gateway.adapters.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def _ask(
    client: httpx2.AsyncClient, key: str, question: str = "How long is the warranty?", **body: str
) -> list[tuple[str, Any, str]]:
    asked = {"question": question, **body}
    async with client.stream("POST", CHAT, json=asked, headers={"Idempotency-Key": key}) as answer:
        assert answer.status_code == 200, await answer.aread()
        return [event async for event in events_of(answer)]


async def _forget_everything(server: RedisServer) -> None:
    await asyncio.to_thread(redis.Redis(port=server.port).flushall)


async def test_a_thousand_uploads_under_one_key_are_one_job(any_gateway: RunningGateway, workers: Workers) -> None:
    """At the same moment, on SQLite and on PostgreSQL: one document, one job, one message."""
    limits = httpx2.Limits(max_connections=100)
    async with (
        await any_gateway.admin() as admin,
        httpx2.AsyncClient(
            base_url=any_gateway.url, headers=admin.headers, timeout=120, trust_env=False, limits=limits
        ) as client,
    ):
        answers = await asyncio.gather(*(_upload(client, "once") for _ in range(1000)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["jobs"][0]["job_id"] for answer in answers}) == 1
        assert len({answer.json()["jobs"][0]["document_id"] for answer in answers}) == 1
        assert (await _count(any_gateway, jobs), await _count(any_gateway, documents)) == (1, 1)
        first = await workers.take(DocumentSubmitted)
        assert first.request_id == answers[0].json()["jobs"][0]["job_id"]
        await _upload(client, "twice", ("b.txt", b"two"))
        assert (await workers.take(DocumentSubmitted)).request_id != first.request_id
        assert workers.idle()


async def test_a_key_gives_the_first_job_after_the_broker_forgot_everything(
    gateway: RunningGateway, workers: Workers, empty_valkey: RedisServer
) -> None:
    """Names, level and bytes make a request the same, not the boundary that the client chose."""
    async with await gateway.admin() as admin:
        first = (await _upload(admin, "k", ("a.txt", b"one"), ("b.txt", b"two"))).json()
        await _forget_everything(empty_valkey)
        again = (await _upload(admin, "k", ("a.txt", b"one"), ("b.txt", b"two"), access_level="INTERNAL")).json()
    assert again == first
    assert len({job["job_id"] for job in first["jobs"]}) == 2
    assert await _count(gateway, jobs) == 2


@pytest.mark.parametrize(
    ("files", "form"),
    [
        ([("a.txt", b"ONE")], {}),
        ([("b.txt", b"one")], {}),
        ([("a.txt", b"one")], {"access_level": "EXTERNAL"}),
        ([("a.txt", b"one"), ("c.txt", b"three")], {}),
        ([("a.txt", b"one")], {"urls": "http://example.com/"}),
    ],
)
async def test_a_key_with_another_upload_is_refused(
    gateway: RunningGateway, files: list[tuple[str, bytes]], form: dict[str, str]
) -> None:
    async with await gateway.admin() as admin:
        await _upload(admin, "k")
        answer = await _upload(admin, "k", *files, **form)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:sluice:problem:idempotency-key-reused"
    assert await _count(gateway, jobs) == 1


async def test_a_key_belongs_to_its_owner_and_to_one_route(gateway: RunningGateway) -> None:
    other = await gateway.person("other@razorpay.com", "read", "upload", "teach")
    async with await gateway.admin() as admin, other:
        mine = (await _upload(admin, "k", ("a.txt", b"one"))).json()["jobs"][0]["job_id"]
        theirs = (await _upload(other, "k", ("b.txt", b"two"))).json()["jobs"][0]["job_id"]
        assert mine != theirs
        assert (await admin.post(FIXES, json=FIX, headers={"Idempotency-Key": "k"})).status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 201, "über", "tab\there"])
async def test_a_key_that_is_none_is_refused_by_its_name(gateway: RunningGateway, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    async with await gateway.admin() as admin:
        answers = [
            await admin.post(CHAT, json={"question": "Why?"}, headers=headers),
            await admin.post(FIXES, json=FIX, headers=headers),
            await admin.post(DOCUMENTS, files=[("files", ("a.txt", b"one"))], headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [422, 422, 422]
    assert {answer.json()["errors"][0]["field"] for answer in answers} == {"Idempotency-Key"}
    assert (await _count(gateway, jobs), await _count(gateway, turns), await _count(gateway, fixes)) == (0, 0, 0)


async def test_a_question_asked_again_tells_the_same_turn_from_its_start(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """While it is answered and after that, as a stream and as one answer; on SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        asking = [asyncio.create_task(_ask(admin, "k")) for _ in range(20)]
        await workers.answer(await workers.take(QuestionAsked))
        first, *others = await asyncio.gather(*asking)
        assert [name for name, _, _ in first] == ["accepted", "sources", "token", "token", "token", "done"]
        assert all(events == first for events in others)
        assert await _ask(admin, "k") == first
        headers = {"Idempotency-Key": "k", "Accept": "application/json"}
        whole = await admin.post(CHAT, json={"question": "How long is the warranty?"}, headers=headers)
        assert whole.json()["answer_id"] == first[0][1]["request_id"]
        assert (await admin.post(CHAT, json={"question": "Why?"}, headers=headers)).status_code == 409
    assert workers.idle()
    assert await _count(any_gateway, turns) == 1


async def test_a_question_whose_answer_the_broker_forgot_is_told_as_it_was_kept(
    gateway: RunningGateway, workers: Workers, empty_valkey: RedisServer
) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(_ask(admin, "k"))
        await workers.answer(await workers.take(QuestionAsked))
        first = await asking
        await _forget_everything(empty_valkey)
        again = await _ask(admin, "k")
    assert again[-1][:2] == first[-1][:2]
    assert "".join(data["text"] for name, data, _ in again if name == "token") == "Forty days [1]."


async def test_a_client_of_a_whole_answer_may_come_back_under_its_key(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    """Its leaving cancels nothing while it has time to come back."""
    settings = gateway_settings(tmp_path, empty_valkey.url, resume_grace_seconds=60)
    headers = {"Idempotency-Key": "k", "Accept": "application/json"}
    body, replies = {"question": "How long is the warranty?"}, workers.broker.replies
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(CHAT, json=body, headers=headers))
        asked = await workers.take(QuestionAsked)
        await until(lambda: replies.listened(Level.INTERNAL, asked.request_id), what="a listening client")
        asking.cancel()
        await until(lambda: _nobody_listens(workers, asked.request_id), what="the client's leaving")
        asking = asyncio.create_task(admin.post(CHAT, json=body, headers=headers))
        await until(lambda: replies.listened(Level.INTERNAL, asked.request_id), what="the client's return")
        await workers.answer(asked)
        assert (await asking).json()["answer"] == "Forty days [1]."


async def _nobody_listens(workers: Workers, request_id: str) -> bool:
    return not await workers.broker.replies.listened(Level.INTERNAL, request_id)


async def test_a_fix_taught_again_is_the_same_fix(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    headers = {"Idempotency-Key": "k"}
    async with await any_gateway.admin() as admin:
        answers = await asyncio.gather(*(admin.post(FIXES, json=FIX, headers=headers) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1
        taught = await workers.take(FixTaught)
        assert taught.fix.fix_id == answers[0].json()["id"]
        other = await admin.post(FIXES, json=FIX | {"answer": "Sixty days."}, headers=headers)
        assert other.status_code == 409
    assert workers.idle()
    assert await _count(any_gateway, fixes) == 1


class _FullDisk:
    """A blob store that takes nothing until there is room."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs
        self.full = True

    async def put(self, *arguments: Any) -> None:
        if self.full:
            raise OSError("no space left on device")
        await self._blobs.put(*arguments)

    async def list(self, *arguments: Any) -> list[str]:
        return await self._blobs.list(*arguments)


async def test_a_repetition_completes_an_upload_that_was_stored_half_way(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    """The client was told that it failed; under its key it finds the same job, which is done now."""
    settings = gateway_settings(tmp_path, empty_valkey.url, reconcile_seconds=600)
    disk = _FullDisk(gateway_adapters(settings, office).blobs)
    async with running_gateway(settings, office, blobs=disk) as gateway, await gateway.admin() as admin:
        assert (await _upload(admin, "k")).status_code == 500
        disk.full = False
        job = (await _upload(admin, "k")).json()["jobs"][0]
        submitted = await workers.take(DocumentSubmitted)
        assert submitted.request_id == job["job_id"]
        assert (await admin.get(f"{JOBS}/{job['job_id']}")).json()["state"] == "queued"
        assert await _count(gateway, jobs) == 1
        told = {"document": submitted.document, "state": JobState.DONE, "chunk_count": 1}
        await workers.broker.publish(submitted.follow(DocumentProgress, "done", **told))
        await until(lambda: _job_is(admin, job["job_id"], "done"), what="the job's end")


async def test_a_repetition_publishes_what_its_dead_gateway_did_not(
    unreconciled: RunningGateway, workers: Workers
) -> None:
    """As a gateway leaves it that is killed between the row and the stream: everything under the same ids."""
    gateway = unreconciled
    async with await gateway.admin() as admin:
        upload = (await _upload(admin, "u")).json()
        fix = (await admin.post(FIXES, json=FIX, headers={"Idempotency-Key": "f"})).json()
        asking = asyncio.create_task(_ask(admin, "q"))
        kinds = (DocumentSubmitted, FixTaught, QuestionAsked)
        first = [(await workers.take(kind)).message_id for kind in kinds]
        for table in (jobs, fixes, turns):  # the note of a publication comes after its message
            await until(lambda table=table: _noted(gateway, table), what="the note of the publication")
            await _set(gateway, table, published_at=None)
        await _set(gateway, idempotency_keys, job_id=None)
        await _forget(workers)
        assert (await _upload(admin, "u")).json() == upload
        assert (await admin.post(FIXES, json=FIX, headers={"Idempotency-Key": "f"})).json()["id"] == fix["id"]
        again = asyncio.create_task(_ask(admin, "q"))
        taken = [await workers.take(kind) for kind in kinds]
        assert [message.message_id for message in taken] == first
        await workers.answer(taken[2])
        assert (await asking)[-1] == (await again)[-1]


async def test_a_question_of_which_nobody_knows_whether_it_was_sent_is_asked_once(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    """The broker took it, and its answers to that were lost: 503, then the same turn, which was answered meanwhile."""
    body, headers = {"question": "Why?"}, {"Idempotency-Key": "k"}
    async with proxy(empty_valkey.port) as between:
        settings = gateway_settings(tmp_path, between.url, reconcile_seconds=600)
        async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
            between.lose(QuestionAsked.stream.encode(), times=12)
            assert (await admin.post(CHAT, json=body, headers=headers)).status_code == 503
            asked = await workers.take(QuestionAsked)
            await workers.answer(asked)
            events = await until(lambda: _ask(admin, "k", "Why?"), seconds=40, what="an answer")
            assert (events[0][1]["request_id"], events[-1][0]) == (asked.request_id, "done")
            assert between.lost
            assert workers.idle()
            assert await _count(gateway, turns) == 1


async def test_a_late_repetition_makes_nothing_anew_that_was_deleted(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        fix = (await admin.post(FIXES, json=FIX, headers={"Idempotency-Key": "k"})).json()
        async with gateway.adapters.database.write() as connection:
            await connection.execute(fixes.delete().where(fixes.c.id == fix["id"]))
        assert (await admin.post(FIXES, json=FIX, headers={"Idempotency-Key": "k"})).status_code == 404
    assert await _count(gateway, fixes) == 0


async def test_old_keys_are_forgotten(gateway: RunningGateway) -> None:
    async with await gateway.admin() as admin:
        await _upload(admin, "old", ("a.txt", b"one"))
        long_ago = datetime.now(UTC) - timedelta(days=gateway.settings.idempotency_days, minutes=1)
        await _set(gateway, idempotency_keys, created_at=long_ago)
        await _upload(admin, "new", ("b.txt", b"two"))
        await until(lambda: _keys(gateway), what="the old key's end")
        assert await _count(gateway, idempotency_keys) == 1
        assert (await _upload(admin, "old", ("c.txt", b"three"))).status_code == 202


async def _keys(gateway: RunningGateway) -> bool:
    async with gateway.adapters.database.read() as connection:
        kept = (await connection.execute(select(idempotency_keys.c.key))).scalars().all()
    return list(kept) == ["new"]


async def _set(gateway: RunningGateway, table: Any, **changes: Any) -> None:
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(table).values(changes))


async def _forget(workers: Workers) -> None:
    """What the broker knows of messages that were handled, so that they may come again; all of them were by then."""
    await until(lambda: _none_stands(workers), what="the end of what was taken")
    for key in await workers.broker.redis.keys("*:done:*"):
        await workers.broker.redis.delete(key)


async def _noted(gateway: RunningGateway, table: Any) -> bool:
    async with gateway.adapters.database.read() as connection:
        return (await connection.execute(select(table.c.published_at))).scalar_one() is not None


async def _none_stands(workers: Workers) -> bool:
    return not await workers.broker.redis.keys("*:places")


async def _job_is(client: httpx2.AsyncClient, job_id: str, state: str) -> bool:
    return (await client.get(f"{JOBS}/{job_id}")).json()["state"] == state
