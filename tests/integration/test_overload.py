"""Redis out of memory: nothing more is accepted, and what was accepted ends once there is room again."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from sqlalchemy import func, select

from gateway.models import audit, conversations, documents, fixes, jobs, turns
from ingest_worker.handlers import register_documents
from ingest_worker.ingest import Indexed
from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import BulkDocumentSubmitted, DocumentSubmitted, JobState, QuestionAsked
from sluice.replies import Event
from tests.support.gateway import CHAT, RunningGateway, all_events, completed, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import running, valkey_server
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"
_BALLAST = "ballast"
_MEGABYTE = 1024 * 1024


@dataclass
class SmallRedis:
    """A broker with little memory, which can be filled and freed."""

    url: str
    client: Any

    def fill(self) -> None:
        """Up to where not even the smallest write is taken."""
        self.client.config_set("maxmemory", self.client.info("memory")["used_memory"] + 2 * _MEGABYTE)
        for size in (64 * 1024, 1024, 16):
            try:
                while True:
                    self.client.rpush(_BALLAST, os.urandom(size))
            except redis.OutOfMemoryError:
                continue

    def nearly_fill(self) -> None:
        """So that little more can be written, and no more should be begun; no command is large that leaves a buffer."""
        self.client.setrange(_BALLAST, 64 * _MEGABYTE, "x")
        self.client.config_set("maxmemory", int(self.client.info("memory")["used_memory"] / 0.98))

    def free(self) -> None:
        self.client.delete(_BALLAST)
        self.client.config_set("maxmemory", 0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallRedis]:
    with running(valkey_server(tmp_path / "valkey")) as server:
        yield SmallRedis(server.url, redis.Redis(port=server.port))


@dataclass
class Slow:
    """Workers that begin, and go on when they are let go."""

    broker: Broker
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    begun: list[str] = field(default_factory=list[str])

    async def index(self, document: Any, _: Any, report: Any) -> Indexed:
        self.begun.append(document.document_id)
        await self.go_on.wait()
        await report(JobState.INDEXING, done=1, total=1)
        return Indexed(1, document.title)

    async def answer(self, question: QuestionAsked, delivery: Delivery) -> None:
        self.begun.append(question.request_id)
        await self.go_on.wait()
        writer = self.broker.replies.writer(question.tenant, delivery.lane, question.request_id, delivery.attempt)
        await writer.append(Event("token", {"text": "Forty days.", "attempt": delivery.attempt}))
        await self.broker.publish(completed(question, "Forty days.", citations=()))


@asynccontextmanager
async def slow_workers(settings: Any, office: Office) -> AsyncGenerator[Slow]:
    slow = Slow(Broker(settings, service="workers", verifier=office.verifier, keyring=office.keyring))
    for kind in (DocumentSubmitted, BulkDocumentSubmitted):
        register_documents(slow.broker, slow.index, lane=Level.INTERNAL, concurrency=4, kind=kind)
    slow.broker.consume(QuestionAsked, slow.answer, lane=Level.INTERNAL, concurrency=4)
    await slow.broker.start()
    yield slow
    await slow.broker.stop()


async def _rows(gateway: RunningGateway) -> list[int]:
    async with gateway.adapters.database.read() as connection:
        tables = (documents, jobs, turns, conversations, fixes, audit)
        return [(await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in tables]


def _blobs(gateway: RunningGateway) -> set[Path]:
    return {path for path in (gateway.settings.data_dir / "blobs").rglob("*") if path.is_file()}


async def _upload(client: httpx2.AsyncClient, *names: str) -> httpx2.Response:
    return await client.post(DOCUMENTS, files=[("files", (name, name.encode())) for name in names])


async def _ask_for_everything(client: httpx2.AsyncClient) -> list[httpx2.Response]:
    times = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    return [
        await client.post(CHAT, json={"question": "How long?"}),
        await _upload(client, "a.txt"),
        await _upload(client, *[f"{number}.txt" for number in range(11)]),
        await client.post("/api/v1/knowledge/fixes", json={"question": "How long?", "answer": "Forty days."}),
        await client.post("/api/v1/logs/search", json={"query": "*", **times}),
    ]


@pytest.mark.parametrize("filling", [SmallRedis.fill, SmallRedis.nearly_fill])
async def test_without_memory_nothing_is_accepted_and_with_it_all_is_again(
    filling: Any, small: SmallRedis, tmp_path: Path, office: Office
) -> None:
    async with (
        running_gateway(gateway_settings(tmp_path, small.url), office) as gateway,
        await gateway.admin() as admin,
    ):
        before = await _rows(gateway), _blobs(gateway)
        filling(small)
        for answer in await _ask_for_everything(admin):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:sluice:problem:temporarily-unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert (await _rows(gateway), _blobs(gateway)) == before
        assert (await admin.get("/readyz")).status_code == 200, "what was accepted is still to be told of"
        small.free()
        assert (await _upload(admin, "a.txt")).status_code == 202


async def test_what_was_accepted_ends_when_there_is_memory_again(
    small: SmallRedis, tmp_path: Path, office: Office
) -> None:
    """Under way, on the queue, and not yet published: none of them fails, is lost, or becomes a dead letter."""
    retry = {"attempts": 2, "first_seconds": 0.2, "longest_seconds": 1}
    settings = gateway_settings(tmp_path, small.url, bulk_window=1, retry=retry)
    async with (
        slow_workers(settings, office) as slow,
        running_gateway(settings, office) as gateway,
        await gateway.admin() as admin,
    ):
        accepted = [await _upload(admin, "a.txt"), await _upload(admin, *[f"{number}.txt" for number in range(11)])]
        asked = asyncio.create_task(all_events(admin, "How long?"))
        await until(lambda: len(slow.begun) >= 3, what="work that is under way")
        small.fill()
        slow.go_on.set()
        await until(lambda: small.client.zcard("{documents.submitted.v1.internal}:delayed"), what="a delayed document")
        await until(lambda: small.client.zcard("{questions.asked.v1.internal}:delayed"), what="a delayed question")
        await until(lambda: _tried_again(small), seconds=30, what="more attempts than a message has for its own faults")
        small.free()
        jobs_ = [job["job_id"] for answer in accepted for job in answer.json()["jobs"]]
        await until(lambda: _all_done(admin, jobs_), seconds=60, what="the end of every job")
        assert [name for name, _, _ in await asyncio.wait_for(asked, 30)][-1] == "done"
        assert [key for key in small.client.keys("*:dead") if small.client.xlen(key)] == []


def _tried_again(small: SmallRedis) -> bool:
    """Two attempts is all that there would be."""
    waiting = small.client.zrange("{questions.asked.v1.internal}:delayed", 0, -1)
    return any(b'"failures": 3' in member or b'"failures":3' in member for member in waiting)


async def _all_done(client: httpx2.AsyncClient, job_ids: list[str]) -> bool:
    states = [(await client.get(f"{JOBS}/{job_id}")).json()["state"] for job_id in job_ids]
    assert "failed" not in states
    return set(states) == {"done"}


async def test_workers_start_while_there_is_no_memory(small: SmallRedis, tmp_path: Path, office: Office) -> None:
    """They free some: a system that was full when it was stopped comes up again."""
    settings = gateway_settings(tmp_path, small.url)
    async with slow_workers(settings, office):
        pass
    small.fill()
    async with slow_workers(settings, office) as slow:
        await slow.broker.check()
