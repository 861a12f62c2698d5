"""Bulk documents wait in SQL; a few at a time are on the queue, and tenants take turns."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gateway.adapters.sql_backlog import SqlBacklog
from gateway.adapters.sql_catalog import SqlCatalog
from gateway.adapters.sql_fixes import SqlFixes
from gateway.database import Database
from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import BulkDocumentSubmitted, DocumentProgress, DocumentSubmitted, JobState
from tests.support.explained import Explained
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.keys import keyring
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"


@pytest.fixture
def few(tmp_path: Path, empty_valkey: RedisServer) -> Any:
    """Settings with a window of two."""
    return gateway_settings(tmp_path, empty_valkey.url, interactive_documents=1, bulk_window=2, reconcile_seconds=5)


@pytest.fixture
def few_anywhere(few: Any, any_sql_url: str) -> Any:
    """The same on SQLite and on PostgreSQL."""
    return few.model_copy(update={"database_url": SecretStr(any_sql_url)})


@dataclass
class Worker:
    """Does each document at once, and remembers in which order."""

    broker: Broker
    done: list[DocumentSubmitted] = field(default_factory=list[DocumentSubmitted])

    async def on_submitted(self, message: DocumentSubmitted, _: Delivery) -> None:
        self.done.append(message)
        fields: dict[str, Any] = {"document": message.document, "state": JobState.DONE, "chunk_count": 1}
        await self.broker.publish(message.follow(DocumentProgress, **fields))

    async def has_done(self, number: int) -> list[DocumentSubmitted]:
        await until(lambda: len(self.done) >= number, seconds=60, what=f"{number} documents")
        assert len(self.done) == number
        return self.done


@asynccontextmanager
async def working(settings: Any, office: Office) -> AsyncGenerator[Worker]:
    worker = Worker(Broker(settings, service="ingest-worker", verifier=office.verifier, keyring=office.keyring))
    for lane in Level:
        for kind in (BulkDocumentSubmitted, DocumentSubmitted):
            worker.broker.consume(kind, worker.on_submitted, lane=lane)
    await worker.broker.start()
    yield worker
    await worker.broker.stop()


async def _upload(client: httpx2.AsyncClient, *names: str, level: str = "INTERNAL") -> list[str]:
    parts: list[Any] = [("files", (name, name.encode())) for name in names]
    answer = await client.post(DOCUMENTS, files=[*parts, ("access_level", (None, level))])
    assert answer.status_code == 202, answer.text
    return [job["job_id"] for job in answer.json()["jobs"]]


async def _standing(gateway: RunningGateway, lane: Level = Level.INTERNAL) -> int:
    return await gateway.adapters.broker.room.standing(BulkDocumentSubmitted, lane)


async def test_no_more_of_a_large_upload_than_the_window_is_on_the_queue_and_all_of_it_is_done_in_the_end(
    few: Any, office: Office
) -> None:
    async with running_gateway(few, office) as gateway, await gateway.admin() as admin:
        names = [f"{number}.txt" for number in range(7)]
        accepted = await _upload(admin, *names)
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        for _ in range(3):
            await gateway.services.dispatch()
        assert await _standing(gateway) == 2
        async with working(few, office) as worker:
            done = await worker.has_done(len(names))
            assert [submitted.document.title for submitted in done] == names, "the oldest first"
            await until(lambda: _all_done(admin, accepted), what="the end of every job")


async def _is(number: int, counted: Any) -> bool:
    return number == await counted


async def _all_done(client: httpx2.AsyncClient, job_ids: list[str]) -> bool:
    return all([(await client.get(f"{JOBS}/{job_id}")).json()["state"] == "done" for job_id in job_ids])


async def test_a_small_upload_does_not_wait_for_its_turn(few: Any, office: Office) -> None:
    async with running_gateway(few, office) as gateway, await gateway.admin() as admin:
        await _upload(admin, *[f"{number}.txt" for number in range(5)])
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        [job_id] = await _upload(admin, "small.txt")
        assert await gateway.adapters.broker.room.standing(DocumentSubmitted, Level.INTERNAL) == 1
        async with working(few, office) as worker:
            done = await worker.has_done(6)
        assert job_id in [submitted.request_id for submitted in done if type(submitted) is DocumentSubmitted]


async def test_tenants_take_turns(few_anywhere: Any, office: Office) -> None:
    async with running_gateway(few_anywhere, office) as gateway, await gateway.admin() as admin:
        await _upload(admin, *[f"{number}.txt" for number in range(8)], level="INTERNAL")
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        await _two_other_tenants_upload(gateway)
        async with working(few_anywhere, office) as worker:
            done = await worker.has_done(12)
    order = "".join(submitted.tenant[0] for submitted in done)
    assert order[:2] == "dd", "these were on the queue already"
    assert sorted(order[2:5]) == sorted(order[5:8]) == ["b", "c", "d"], order


async def _two_other_tenants_upload(gateway: RunningGateway) -> None:
    for slug in ("bees", "cats"):
        domains = {"slug": slug, "name": slug, "internal_domains": [f"{slug}.org"]}
        async with await gateway.operator() as operator:
            assert (await operator.post("/api/v1/tenants", json=domains)).status_code == 201
        async with await gateway.person(f"a@{slug}.org", "upload", tenant=slug) as person:
            await _upload(person, "1.txt", "2.txt")


async def test_a_lane_that_is_full_does_not_hold_up_the_other(few: Any, office: Office) -> None:
    async with running_gateway(few, office) as gateway, await gateway.admin() as admin:
        await _upload(admin, *[f"{number}.txt" for number in range(5)])
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        async with await gateway.person("partner@example.com", "upload") as partner:
            await _upload(partner, "1.txt", "2.txt", level="EXTERNAL")
        await until(lambda: _is(2, _standing(gateway, Level.EXTERNAL)), what="the other lane's window")


async def test_bulk_of_someone_who_may_not_upload_any_more_fails_with_the_reason_and_others_go_on(
    few: Any, office: Office
) -> None:
    async with running_gateway(few, office) as gateway, await gateway.admin() as admin:
        await _upload(admin, "first.txt", "second.txt")
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        async with await gateway.person("leaver@razorpay.com", "read", "upload") as leaver:
            me = (await leaver.get("/api/v1/me")).json()["id"]
            left = await _upload(leaver, *[f"left {number}.txt" for number in range(5)])
        await admin.patch(f"/api/v1/people/{me}", json={"rights": ["read"]})
        last = await _upload(admin, "third.txt", "fourth.txt")
        async with working(few, office) as worker:
            done = await worker.has_done(4)
            assert [submitted.request_id for submitted in done[2:]] == last
            jobs_ = [(await admin.get(f"{JOBS}/{job_id}")).json() for job_id in left]
            assert {(job["state"], job["error"]) for job in jobs_} == {
                ("failed", "who asked for this may not do so any more")
            }


async def test_two_gateways_publish_each_bulk_document_once(few_anywhere: Any, office: Office) -> None:
    few_anywhere = few_anywhere.model_copy(update={"bulk_window": 4})
    other = few_anywhere.model_copy(update={"port": free_port()})
    async with (
        running_gateway(few_anywhere, office) as gateway,
        running_gateway(other, office),
        await gateway.admin() as admin,
        working(few_anywhere, office) as worker,
    ):
        accepted = await _upload(admin, *[f"{n}.txt" for n in range(16)])
        await worker.has_done(len(accepted))
        await until(lambda: _all_done(admin, accepted), seconds=60, what="the end of every job")
        done = await worker.has_done(len(accepted))
        assert sorted(submitted.request_id for submitted in done) == sorted(accepted)


async def test_a_bulk_jobs_deadline_counts_from_its_publication(few: Any, office: Office) -> None:
    async with running_gateway(few, office) as gateway, await gateway.admin() as admin:
        await _upload(admin, *[f"{number}.txt" for number in range(3)])
        await until(lambda: _is(2, _standing(gateway)), what="a full window")
        later = datetime.now(UTC)
        async with working(few, office) as worker:
            *_, third = await worker.has_done(3)
    assert third.deadline.timestamp() >= later.timestamp() + few.job_deadline_seconds


async def test_the_next_of_a_hundred_thousand_waiting_jobs_is_found_by_the_index(tmp_path: Path) -> None:
    """And so are the counts: no query reads the rows themselves."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/sluice.db")
    await database.migrate()
    told = Explained(database)
    backlog = SqlBacklog(told)  # pyright: ignore[reportArgumentType]
    await backlog.next(Level.INTERNAL, "tenant-1")
    await backlog.counts()
    await backlog.open_jobs()
    await backlog.open_fixes()
    await backlog.open_turns(datetime.now(UTC))
    await database.close()
    indexes = ["ix_jobs_waiting", "ix_jobs_waiting", "ix_jobs_open", "ix_fixes_open", "ix_turns_open"]
    assert len(told.plans) == len(indexes)
    for plan, index in zip(told.plans, indexes, strict=True):
        assert index in plan, plan
        assert "TEMP B-TREE FOR ORDER BY" not in plan


async def test_what_is_open_and_late_is_found_by_the_index_of_what_is_open(tmp_path: Path) -> None:
    """However many jobs have ended."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/sluice.db")
    await database.migrate()
    told = Explained(database)
    now = datetime.now(UTC)
    await SqlCatalog(told).overdue(now)  # pyright: ignore[reportArgumentType]
    await SqlCatalog(told).unheard(now, None)  # pyright: ignore[reportArgumentType]
    await SqlFixes(told, keyring(tmp_path)).overdue(now)  # pyright: ignore[reportArgumentType]
    await database.close()
    for plan, index in zip(told.plans, ["ix_jobs_open", "ix_jobs_open", "ix_fixes_open"], strict=True):
        assert index in plan, plan
