"""What was accepted ends, although the broker lost it: found where it stands nowhere, and begun again."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import select, update

from gateway.models import fixes, jobs, people, turns
from sluice.access import Level
from sluice.broker import Delivery
from sluice.errors import PermanentError
from sluice.messages import (
    BulkDocumentSubmitted,
    DocumentDeleted,
    DocumentProgress,
    DocumentSubmitted,
    FixIndexed,
    FixTaught,
    FixWithdrawn,
    JobState,
    Message,
    QuestionAsked,
    QuestionFollowedUp,
    QuestionGrounded,
)
from tests.support.gateway import (
    RunningGateway,
    Workers,
    all_events,
    gateway_settings,
    running_gateway,
)
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
FIXES = "/api/v1/knowledge/fixes"
JOBS = "/api/v1/knowledge/jobs"
FIX = {"question": "How long is the warranty?", "answer": "Fifty days.", "access_level": "EXTERNAL"}


@pytest.fixture
async def finding(any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[Any]:
    """A gateway that looks soon, on SQLite and on PostgreSQL."""
    async with running_gateway(
        _soon(tmp_path, empty_valkey.url, database_url=SecretStr(any_sql_url)), office
    ) as running:
        yield running


@pytest.fixture
async def quick(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> AsyncGenerator[RunningGateway]:
    async with running_gateway(_soon(tmp_path, empty_valkey.url), office) as running:
        yield running


def _soon(folder: Path, redis_url: str, **changes: Any) -> Any:
    return gateway_settings(folder, redis_url, **{"lost_after_seconds": 0.5, "lease_seconds": 2, **changes})


def _workers(gateway: RunningGateway, *kinds: type[Message]) -> Workers:
    workers = Workers(gateway.settings, gateway.office)
    workers.listen(*kinds)
    return workers


async def _flush(server: RedisServer) -> None:
    await asyncio.to_thread(redis.Redis(port=server.port).flushall)


async def _upload(client: httpx2.AsyncClient, name: str = "a.txt", data: bytes = b"one") -> dict[str, Any]:
    answer = await client.post(DOCUMENTS, files=[("files", (name, data))])
    assert answer.status_code == 202, answer.text
    return answer.json()["jobs"][0]


async def _rows(gateway: RunningGateway, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    async with gateway.adapters.database.read() as connection:
        query = select(*(table.c[name] for name in columns)).order_by(table.c.created_at)
        return [tuple(row) for row in (await connection.execute(query)).all()]


async def _set(gateway: RunningGateway, table: Any, **changes: Any) -> None:
    async with gateway.adapters.database.write() as connection:
        await connection.execute(update(table).values(changes))


async def _published(gateway: RunningGateway, table: Any) -> bool:
    rows = await _rows(gateway, table, "published_at")
    return bool(rows) and all(row[0] is not None for row in rows)


async def _job(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    return (await client.get(f"{JOBS}/{job_id}")).json()


async def _ends(client: httpx2.AsyncClient, job_id: str, state: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        job = await _job(client, job_id)
        return job if job["state"] == state else None

    return await until(ended, what=f"a job that is {state}")


async def test_after_a_flush_what_was_under_way_ends_after_all(
    any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """At once, long before the next regular look: a job, a fix, a question whose client waits. On both databases."""
    settings = _soon(tmp_path, empty_valkey.url, database_url=SecretStr(any_sql_url), reconcile_seconds=600)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        job = await _upload(admin)
        fix = (await admin.post(FIXES, json=FIX)).json()
        asking = asyncio.create_task(all_events(admin, "How long is the warranty?"))
        await until(lambda: _published(gateway, turns), what="the question's publication")
        await _flush(empty_valkey)
        workers = _workers(gateway, DocumentSubmitted, FixTaught, QuestionAsked)
        await workers.broker.start()
        submitted, taught, asked = [await workers.take(kind) for kind in (DocumentSubmitted, FixTaught, QuestionAsked)]
        assert (submitted.request_id, taught.request_id) == (job["job_id"], fix["id"])
        assert [message.run for message in (submitted, taught, asked)] == [2, 2, 2]
        done = {"document": submitted.document, "state": JobState.DONE, "chunk_count": 1}
        await workers.broker.publish(submitted.follow(DocumentProgress, "done", **done))
        await workers.broker.publish(taught.follow(FixIndexed, "active", fix=taught.fix, state="active"))
        await workers.answer(asked)
        await _ends(admin, job["job_id"], "done")
        await until(lambda: _states(admin, fix["id"], "active"), what="the fix's end")
        events = await asking
        assert [name for name, _, _ in events] == ["accepted", "sources", "token", "token", "token", "done"]
        await workers.broker.stop()


async def _states(client: httpx2.AsyncClient, fix_id: str, state: str) -> bool:
    return (await client.get(f"{FIXES}/{fix_id}")).json()["state"] == state


async def test_what_still_stands_on_its_stream_is_left_alone(finding: RunningGateway) -> None:
    """The other job's second run tells that the reconciler has looked. On SQLite and on PostgreSQL."""
    client = finding.adapters.broker.redis
    async with await finding.admin() as admin:
        stands, vanishes = await _upload(admin), await _upload(admin, "b.txt", b"two")
        stream = DocumentSubmitted.stream_of(Level.INTERNAL)
        [_, (entry, _)] = await until(lambda: _entries(finding, stream, 2), what="both entries")
        await client.xdel(stream, entry)
        again = await until(lambda: _entries(finding, stream, 2), what="the second job's entry")
        told = [finding.office.opened(DocumentSubmitted, stream, fields[b"__data__"]) for _, fields in again]
        assert [(message.request_id, message.run) for message in told] == [
            (stands["job_id"], 1),
            (vanishes["job_id"], 2),
        ]


async def _entries(gateway: RunningGateway, stream: str, number: int) -> Any:
    entries = await gateway.adapters.broker.redis.xrange(stream)
    return entries if len(entries) == number else None


async def test_a_question_that_went_on_its_way_is_left_alone(quick: RunningGateway) -> None:
    """The other question's second run tells that the reconciler has looked."""
    client, stream = quick.adapters.broker.redis, QuestionAsked.stream_of(Level.INTERNAL)
    async with await quick.admin() as admin:
        asking = [asyncio.create_task(all_events(admin, question)) for question in ("Why?", "How?")]
        entries = await until(lambda: _entries(quick, stream, 2), what="both questions")
        asked = [quick.office.opened(QuestionAsked, stream, fields[b"__data__"]) for _, fields in entries]
        went_on = min(asked, key=lambda message: message.deadline)  # the one that is looked at first
        grounded = went_on.follow(QuestionGrounded, question=went_on.question, search_query=went_on.search_query)
        await quick.adapters.broker.publish(grounded)
        await client.xdel(stream, *(entry for entry, _ in entries))
        [(_, fields)] = await until(lambda: _entries(quick, stream, 1), what="the other's second run")
        again = quick.office.opened(QuestionAsked, stream, fields[b"__data__"])
        assert (again.request_id != went_on.request_id, again.run) == (True, 2)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_a_follow_up_that_is_lost_is_asked_again_with_its_history(
    quick: RunningGateway, empty_valkey: RedisServer
) -> None:
    workers = _workers(quick, QuestionAsked)
    await workers.broker.start()
    async with await quick.admin() as admin:
        asking = asyncio.create_task(all_events(admin, "How long is the warranty?"))
        await workers.answer(await workers.take(QuestionAsked))
        conversation = (await asking)[0][1]["conversation_id"]
        await workers.broker.stop()
        asking = asyncio.create_task(all_events(admin, "And abroad?", conversation_id=conversation))
        stream = QuestionFollowedUp.stream_of(Level.INTERNAL)
        await until(lambda: _entries(quick, stream, 1), what="the follow-up")
        await _flush(empty_valkey)
        workers = _workers(quick, QuestionFollowedUp)
        await workers.broker.start()
        asked = await workers.take(QuestionFollowedUp)
        assert (asked.run, [turn.answer for turn in asked.history]) == (2, ["Forty days [1]."])
        await workers.answer(asked)
        assert (await asking)[-1][0] == "done"
        await workers.broker.stop()


async def test_who_may_not_any_more_gets_nothing_done(finding: RunningGateway, empty_valkey: RedisServer) -> None:
    """Suspended, or without the right, since they asked: the reason stands with what was lost. On both databases."""
    person = await finding.person("leaver@razorpay.com", "read", "upload", "teach", "declassify")
    async with person, await finding.admin() as admin:
        me = (await person.get("/api/v1/me")).json()["id"]
        job, fix = await _upload(person), (await person.post(FIXES, json=FIX)).json()
        asking = asyncio.create_task(all_events(person, "Why?"))
        await until(lambda: _published(finding, turns), what="the question's publication")
        assert (await admin.patch(f"/api/v1/people/{me}", json={"suspended": True})).status_code == 200
        await _flush(empty_valkey)
        ended = await _ends(admin, job["job_id"], "failed")
        assert "may not" in ended["error"]
        await until(lambda: _states(admin, fix["id"], "failed"), what="the fix's end")
        [(error, run)] = await until(lambda: _failed_turns(finding), what="the turn's end")
        assert ("may not" in error, run) == (True, 2)
        assert (await asking)[-1][0] == "error"
        assert await finding.adapters.broker.redis.xlen(DocumentSubmitted.stream_of(Level.INTERNAL)) == 0


async def _failed_turns(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    return [row for row in await _rows(gateway, turns, "error", "run") if row[0] is not None]


async def test_a_deletion_and_a_withdrawal_that_are_lost_are_sent_whatever_their_asker_may_do_now(
    quick: RunningGateway, empty_valkey: RedisServer
) -> None:
    workers = _workers(quick, DocumentSubmitted, FixTaught)
    await workers.broker.start()
    async with await quick.admin() as admin:
        job, fix = await _upload(admin), (await admin.post(FIXES, json=FIX)).json()
        submitted, taught = await workers.take(DocumentSubmitted), await workers.take(FixTaught)
        done = {"document": submitted.document, "state": JobState.DONE, "chunk_count": 1}
        await workers.broker.publish(submitted.follow(DocumentProgress, "done", **done))
        await workers.broker.publish(taught.follow(FixIndexed, "active", fix=taught.fix, state="active"))
        await _ends(admin, job["job_id"], "done")
        await until(lambda: _states(admin, fix["id"], "active"), what="the fix's end")
        await admin.delete(f"{DOCUMENTS}/{job['document_id']}")
        await admin.delete(f"{FIXES}/{fix['id']}")
        await _set(quick, people, suspended_at=datetime.now(UTC))
        await _flush(empty_valkey)
        await workers.broker.stop()
        workers = _workers(quick, DocumentDeleted, FixWithdrawn)
        await workers.broker.start()
        deleted = await workers.take(DocumentDeleted)
        withdrawn = await workers.take(FixWithdrawn, Level.EXTERNAL)
        assert (deleted.document, withdrawn.fix) == (submitted.document, taught.fix)
        deletion = deleted.follow(DocumentProgress, "deleted", document=deleted.document, state=JobState.DELETED)
        await workers.broker.publish(deletion)
        await workers.broker.publish(withdrawn.follow(FixIndexed, "gone", fix=withdrawn.fix, state="withdrawn"))
        await until(lambda: _is_empty(quick), what="the end of both")
        await workers.broker.stop()


async def _is_empty(gateway: RunningGateway) -> bool:
    return not await _rows(gateway, jobs, "id") and not await _rows(gateway, fixes, "id")


async def test_a_bulk_job_that_is_lost_takes_its_turn_again(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = _soon(tmp_path, empty_valkey.url, interactive_documents=0)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        job = await _upload(admin)
        await until(lambda: _published(gateway, jobs), what="its first turn")
        await _flush(empty_valkey)
        workers = _workers(gateway, BulkDocumentSubmitted)
        await workers.broker.start()
        again = await workers.take(BulkDocumentSubmitted)
        assert (again.request_id, again.run) == (job["job_id"], 2)
        await workers.broker.stop()


async def test_what_is_dead_although_it_is_open_ends_with_the_dead_letters_reason(
    finding: RunningGateway, workers_that_give_up: Workers
) -> None:
    """Nobody told of it, as of a message whose passport was void. On SQLite and on PostgreSQL."""
    async with await finding.admin() as admin:
        job, fix = await _upload(admin), (await admin.post(FIXES, json=FIX)).json()
        events = await all_events(admin, "Why?")
        assert (await _ends(admin, job["job_id"], "failed"))["error"] == "no way"
        await until(lambda: _states(admin, fix["id"], "failed"), what="the fix's end")
        assert (events[-1][0], events[-1][1]["detail"]) == ("error", "no way")
        assert [error for error, _ in await _failed_turns(finding)] == ["no way"]


@pytest.fixture
async def workers_that_give_up(finding: RunningGateway) -> AsyncGenerator[Workers]:
    async def give_up(_: Message, __: Delivery) -> None:
        raise PermanentError("no way")

    workers = _workers(finding)
    for kind in (DocumentSubmitted, FixTaught, QuestionAsked):
        workers.broker.consume(kind, give_up, lane=Level.INTERNAL)
    await workers.broker.start()
    yield workers
    await workers.broker.stop()


async def test_a_job_of_a_destroyed_group_is_done_after_all(quick: RunningGateway, workers: Workers) -> None:
    """Its worker's and the gateway's own: both begin again, at their streams' first entries."""
    client = quick.adapters.broker.redis
    async with await quick.admin() as admin:
        job = await _upload(admin)
        first = await workers.take(DocumentSubmitted)
        groups = {DocumentSubmitted.stream_of(Level.INTERNAL): "workers", DocumentProgress.stream: "gateway"}
        for stream, group in groups.items():
            await client.xgroup_destroy(stream, group)
        done = {"document": first.document, "state": JobState.DONE, "chunk_count": 1}
        await workers.broker.publish(first.follow(DocumentProgress, "done", **done))
        await _ends(admin, job["job_id"], "done")


async def test_a_job_that_is_lost_again_and_again_fails(quick: RunningGateway, workers: Workers) -> None:
    async with await quick.admin() as admin:
        job = await _upload(admin)
        await workers.take(DocumentSubmitted)
        await _set(quick, jobs, run=20)
        assert "lost too often" in (await _ends(admin, job["job_id"], "failed"))["error"]


async def test_a_withdrawal_that_failed_waits_longer_each_time(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    """Three minutes after its second run it is sent, after its third not yet."""
    settings = gateway_settings(tmp_path, empty_valkey.url, reconcile_after_seconds=60)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        ids = [(await admin.post(FIXES, json=FIX)).json()["id"] for _ in range(2)]
        for fix_id, run in zip(ids, (3, 2), strict=True):
            failed = {"state": "withdrawing", "error": "no way", "run": run, "published_at": None}
            failed |= {"updated_at": datetime.now(UTC) - timedelta(minutes=3)}
            async with gateway.adapters.database.write() as connection:
                await connection.execute(update(fixes).where(fixes.c.id == fix_id).values(failed))
        assert (await workers.take(FixWithdrawn, Level.EXTERNAL)).fix.fix_id == ids[1]
        assert dict(await _rows(gateway, fixes, "id", "published_at"))[ids[0]] is None
