"""Gateway and ingest-worker together: bulk delays nobody who waits, and no tenant's bulk another's."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import func, select

from gateway.models import jobs
from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.adapters.web import WebFetcher
from ingest_worker.app import create_app
from ingest_worker.settings import IngestSettings
from sluice.access import Level
from sluice.broker import Broker
from sluice.embedding import Embedder, create_embedder
from sluice.index import Index
from sluice.messages import JobState
from sluice.settings import EmbeddingSettings
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import ChromaServer, RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"
BULK = 100
LEVEL = "EXTERNAL"


def _page(name: str) -> bytes:
    """Some chunks of text."""
    return " ".join(f"Sentence {n} of {name} explains how refunds are made." for n in range(60)).encode()


@asynccontextmanager
async def ingest_worker(gateway: RunningGateway, chroma: ChromaServer, embedder: Embedder) -> AsyncGenerator[None]:
    settings = IngestSettings(
        lane=Level.EXTERNAL,
        redis_url=gateway.settings.redis_url,
        external_key_file=(Path("unused"),),
        chroma_external_url=chroma.url,
        shutdown_grace_seconds=1,
    )
    index = Index(settings.chroma_urls, gateway.adapters.keyring, embedder.name)
    app = create_app(
        settings,
        broker=Broker(
            settings, service="ingest-worker", verifier=gateway.office.verifier, keyring=gateway.office.keyring
        ),
        blobs=gateway.adapters.blobs,  # pyright: ignore[reportArgumentType]
        index=index,
        embedder=embedder,
        parse=ParserProcess(settings.parser_limits),
        fetch=WebFetcher(settings.web_limits),
        check_index=index.check,
    )
    async with app.router.lifespan_context(app):
        yield


async def _upload(client: httpx2.AsyncClient, *files: tuple[str, bytes]) -> list[str]:
    parts: list[Any] = [("files", file) for file in files]
    answer = await client.post(DOCUMENTS, files=[*parts, ("access_level", (None, LEVEL))])
    assert answer.status_code == 202, answer.text
    return [job["job_id"] for job in answer.json()["jobs"]]


async def _done(client: httpx2.AsyncClient, job_ids: list[str]) -> int:
    states = [(await client.get(f"{JOBS}/{job_id}")).json()["state"] for job_id in job_ids]
    assert "failed" not in states
    return states.count("done")


async def _seconds_of_an_upload(client: httpx2.AsyncClient, name: str) -> float:
    began = time.monotonic()
    job_ids = await _upload(client, (name, b"Refunds take five days."))
    await until(lambda: _done(client, job_ids), seconds=60, what=f"the end of {name}")
    return time.monotonic() - began


async def _customer(gateway: RunningGateway, tenant: str) -> httpx2.AsyncClient:
    await gateway.add_tenant(tenant)
    return await gateway.person(f"somebody@{tenant}.example", "upload", tenant=tenant)


async def test_bulk_delays_neither_an_upload_nor_another_tenants_bulk(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, chroma: ChromaServer
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, interactive_documents=2, bulk_window=8, max_files=BULK)
    async with running_gateway(settings, office) as gateway:
        many, one, few = [await _customer(gateway, tenant) for tenant in ("many", "one", "few")]
        embedder = create_embedder(EmbeddingSettings())
        async with many, one, few:
            async with ingest_worker(gateway, chroma, embedder):
                idle = max([await _seconds_of_an_upload(one, f"idle {n}.txt") for n in range(3)])
            bulk = await _upload(many, *[(f"{n}.txt", _page(f"{n}.txt")) for n in range(BULK)])
            mine = await _upload(few, *[(f"{n}.txt", b"Refunds take five days.") for n in range(3)])
            async with ingest_worker(gateway, chroma, embedder):
                await until(lambda: _done(many, bulk[:1]), seconds=60, what="bulk to be under way")
                busy = max([await _seconds_of_an_upload(one, f"busy {n}.txt") for n in range(3)])
                await until(lambda: _is_done(few, mine), seconds=60, what="another tenant's bulk")
                done = await _done_of(gateway, bulk)
    print(f"an upload: {idle:.2f} s idle, {busy:.2f} s beside bulk; {done} of {BULK} before 3 of another tenant")
    assert busy <= 6 * idle + 1, "on one stream with bulk it would stand behind the whole window"
    assert done <= BULK / 2


async def _is_done(client: httpx2.AsyncClient, job_ids: list[str]) -> bool:
    return await _done(client, job_ids) == len(job_ids)


async def _done_of(gateway: RunningGateway, job_ids: list[str]) -> int:
    done = select(func.count()).where(jobs.c.id.in_(job_ids), jobs.c.state == JobState.DONE)
    async with gateway.adapters.database.read() as connection:
        return (await connection.execute(done)).scalar_one()
