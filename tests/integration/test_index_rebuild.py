"""The index is lost or damaged: noticed, made anew from the blob store, and told meanwhile."""

import asyncio
import hashlib
import json
import os
import shutil
import sys
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.adapters.web import WebFetcher
from ingest_worker.app import create_app
from ingest_worker.settings import IngestSettings
from sluice.access import Level, Scope
from sluice.broker import Broker
from sluice.embedding import Vector
from sluice.index import Found, Index
from sluice.messages import DocumentDeleted, DocumentReference, DocumentSubmitted, Fix, FixTaught, Message
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office, passport
from tests.support.index import client, copies, make_collection, rows, tear, vector_files
from tests.support.servers import ChromaServer, RedisServer, chroma_server, running
from tests.support.waiting import until

EXTERNAL = Level.EXTERNAL
TENANT = "default"
CHUNKS, FIXES = f"{TENANT}.external.chunks", f"{TENANT}.external.fixes"
LONG = "".join(f"Lamp number {n} of the long pier is painted in colour {n * 7}. " for n in range(600))
NOTICED_SECONDS = 10


def _later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


class Counting:
    """Vectors made of the text's digest; counts what it embeds."""

    name = "test/counting"

    def __init__(self) -> None:
        self.embedded = 0

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        self.embedded += len(texts)
        return [_vector(text) for text in texts]

    async def embed_query(self, text: str) -> Vector:
        self.embedded += 1
        return _vector(text)


def _vector(text: str) -> Vector:
    values = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:8]]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


@dataclass
class Site:
    """A gateway, the EXTERNAL ingest-worker and its Chroma, with a reader of its own."""

    gateway: RunningGateway
    chroma: ChromaServer
    broker: Broker
    reader: Index
    embedder: Counting
    office: Office

    @property
    def scope(self) -> Scope:
        return passport(tenant=TENANT).scope

    async def submit(self, text: str, document_id: str, generation: int = 1) -> DocumentReference:
        document = DocumentReference(
            document_id=document_id, generation=generation, access_level=EXTERNAL, title=f"{document_id}.txt"
        )
        path = ("documents", document_id, str(generation), "original")
        await self.gateway.adapters.blobs.put(self.scope, EXTERNAL, path, text.encode())
        await self.send(DocumentSubmitted, document=document)
        return document

    async def send(self, kind: type[Message], **fields: Any) -> None:
        await self.broker.publish(
            self.office.message(kind, tenant=TENANT, seconds=600, passport_expires_at=_later(), **fields)
        )

    async def ask(self, text: str) -> Found:
        return await self.reader.find(self.scope, _vector(text), 3, do_without=True)

    async def finds(self, text: str) -> bool:
        """The chunk of exactly this text is found, and nothing is left out."""
        found = await self.ask(text)
        return not found.restoring and text in [passage.text for passage in found.passages]

    async def idle(self) -> bool:
        """All that was submitted is done."""
        return await self.broker.redis.xlen(DocumentSubmitted.stream_of(EXTERNAL)) == 0

    def rows(self, prefix: str = CHUNKS) -> dict[str, list[tuple[float, ...]]]:
        return rows(self.chroma.port, prefix)

    async def restored(self) -> None:
        async def sound() -> bool:
            return not (await self.ask("anything")).restoring

        await until(sound, seconds=60, what="the end of the restoring")

    async def sluice(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of a command against this gateway."""
        state = self.gateway.settings.state_dir
        (state / "keys").mkdir(exist_ok=True)
        (state / "keys" / "operator.token").write_text(OPERATOR_TOKEN)
        port = self.gateway.url.rpartition(":")[2]
        environment = {"PATH": os.environ["PATH"], "SLUICE_STATE_DIR": str(state), "SLUICE_GATEWAY_PORT": port}
        command = [str(Path(sys.executable).with_name("sluice")), *arguments]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=STDOUT)
        output, _ = await process.communicate()
        return await process.wait(), output.decode()

    async def verify(self) -> tuple[int, dict[str, int]]:
        """Exit status, and the counts of the chunks."""
        status, shown = await self.sluice("index", "verify", "--tenant", TENANT, "--level", "EXTERNAL", "--json")
        [chunks] = [found for found in json.loads(shown)["collections"] if found["kind"] == "chunks"]
        return status, {name: chunks[name] for name in ("rows", "missing", "extra", "unusable")}

    async def is_told(self) -> float:
        """How long it takes until answers say that something is being restored."""
        began = time.monotonic()

        async def told() -> bool:
            return (await self.ask("anything")).restoring

        await until(told, seconds=30, what="the notice")
        return time.monotonic() - began


@pytest.fixture(scope="module")
def chroma_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    with running(chroma_server(tmp_path_factory.mktemp("wedged"))) as server:
        yield server


@pytest.fixture
async def site(
    valkey: RedisServer, office: Office, chroma_of_its_own: ChromaServer, tmp_path: Path
) -> AsyncIterator[Site]:
    chroma = chroma_of_its_own
    chroma.stop()
    shutil.rmtree(chroma.folder / "data", ignore_errors=True)
    chroma.start()
    client = redis.asyncio.Redis.from_url(valkey.url)
    await client.flushall()
    await client.aclose()
    async with running_gateway(gateway_settings(tmp_path, valkey.url), office) as gateway:
        embedder = Counting()
        async with worker(gateway, valkey, chroma, embedder, office):
            reader = Index({EXTERNAL: chroma.url}, gateway.adapters.keyring, embedder.name)
            broker = Broker(
                lane_settings(valkey, chroma), service="test", verifier=office.verifier, keyring=office.keyring
            )
            site = Site(gateway, chroma, broker, reader, embedder, office)
            await site.restored()
            yield site
            await broker.stop()


@asynccontextmanager
async def worker(
    gateway: RunningGateway, valkey: RedisServer, chroma: ChromaServer, embedder: Counting, office: Office
) -> AsyncIterator[None]:
    settings, keyring = lane_settings(valkey, chroma), gateway.adapters.keyring
    index = Index({EXTERNAL: chroma.url}, keyring, embedder.name, watched=True)
    app = create_app(
        settings,
        broker=Broker(settings, service="ingest-worker", verifier=office.verifier, keyring=office.keyring),
        blobs=gateway.adapters.blobs,  # pyright: ignore[reportArgumentType]
        index=index,
        embedder=embedder,
        parse=ParserProcess(settings.parser_limits),
        fetch=WebFetcher(settings.web_limits),
        check_index=index.check,
    )
    async with app.router.lifespan_context(app):
        yield


def lane_settings(valkey: RedisServer, chroma: ChromaServer) -> IngestSettings:
    return IngestSettings(
        lane=EXTERNAL,
        redis_url=valkey.url,  # pyright: ignore[reportArgumentType]
        external_key_file=(Path("unused"),),
        chroma_external_url=chroma.url,
        retry={"longest_seconds": 1},
        shutdown_grace_seconds=1,
    )


@pytest.mark.timeout(180)
async def test_a_wedged_collection_is_noticed_told_and_made_anew_with_the_same_rows(site: Site) -> None:
    """Torn as by a kill in the middle of a write; the same ids and vectors as before, and nothing embedded again."""
    make_collection(site.chroma.port, CHUNKS, site.embedder.name)
    await site.submit(LONG, "long")
    await until(site.idle, seconds=60, what="the long document")
    files = await until(lambda: vector_files(site.chroma.folder / "data"), what="its vectors on disk")
    await site.submit(LONG[::-1], "longer")
    await until(site.idle, seconds=60, what="the other long document")
    fix = Fix(fix_id="fix-1", question="How many lamps?", answer="Many.", access_level=EXTERNAL)
    await site.send(FixTaught, fix=fix)
    await until(lambda: site.rows(FIXES), seconds=20, what="the fix")
    await site.submit("The short pier has no lamp.", "short")
    await until(lambda: site.finds("The short pier has no lamp."), seconds=20, what="the short document")
    before, embedded = site.rows(), site.embedder.embedded
    site.chroma.kill()
    tear(files)
    site.chroma.start()
    assert await site.is_told() < NOTICED_SECONDS
    await site.submit("Uploaded while the index was being restored.", "meanwhile")
    await site.restored()
    await until(lambda: site.finds("Uploaded while the index was being restored."), seconds=30, what="the new one")
    after = site.rows()
    assert {row_id: vectors for row_id, vectors in after.items() if row_id in before} == before
    assert len(after) == len(before) + 1
    assert site.embedder.embedded == embedded + 1
    assert copies(site.chroma.port, CHUNKS) == [f"{CHUNKS}.1"]
    assert list(site.rows(FIXES)) == ["fix-1"]


@pytest.mark.timeout(180)
async def test_an_index_that_lost_everything_is_made_anew_without_what_was_deleted(site: Site) -> None:
    gone = await site.submit("This was deleted.", "gone")
    await site.submit("This stays.", "stays")
    await site.submit("This was replaced.", "replaced")
    await until(lambda: len(site.rows()) == 3, seconds=30, what="three documents")
    await site.send(DocumentDeleted, document=gone)
    await site.submit("This took its place.", "replaced", generation=2)
    await until(lambda: site.finds("This took its place."), seconds=30, what="the second generation")
    await until(lambda: len(site.rows()) == 2, seconds=30, what="the deletion")
    before = site.rows()
    site.chroma.kill()
    shutil.rmtree(site.chroma.folder / "data")
    site.chroma.start()
    await site.restored()
    await until(lambda: site.finds("This stays."), seconds=30, what="what stays")
    assert site.rows() == before


@pytest.mark.timeout(120)
async def test_a_server_that_is_only_killed_is_not_made_anew(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.submit("This stays.", "stays")
    await until(lambda: site.finds("This stays."), seconds=30, what="the document")
    for _ in range(2):
        caplog.clear()
        site.chroma.kill()
        await until(lambda: "index.away" in caplog.messages, seconds=20, what="the watch to see that")
        site.chroma.start()
        await until(lambda: "index.back" in caplog.messages, seconds=30, what="the watch to have probed all")
        await until(lambda: site.finds("This stays."), seconds=20, what="what stays")
        assert copies(site.chroma.port, CHUNKS) == [CHUNKS]


@pytest.mark.timeout(120)
async def test_an_operator_verifies_and_rebuilds(site: Site) -> None:
    await site.submit("This stays.", "stays")
    await site.submit("This is lost.", "lost")
    await until(lambda: len(site.rows()) == 2, seconds=30, what="two documents")
    assert await site.verify() == (0, {"rows": 2, "missing": 0, "extra": 0, "unusable": 0})
    _tamper(site.chroma.port, next(iter(site.rows())))
    assert await site.verify() == (1, {"rows": 2, "missing": 1, "extra": 1, "unusable": 0})
    status, shown = await site.sluice("index", "rebuild", "--tenant", TENANT, "--level", "EXTERNAL")
    assert (status, "done" in shown) == (0, True)
    assert await site.verify() == (0, {"rows": 2, "missing": 0, "extra": 0, "unusable": 0})
    assert copies(site.chroma.port, CHUNKS) == [f"{CHUNKS}.1"]


async def test_nobody_but_an_operator_touches_the_index(site: Site) -> None:
    admin = await site.gateway.admin()
    for action in ("verify", "rebuild"):
        answer = await admin.post(f"/api/v1/indexes/{action}", json={"tenant": TENANT})
        assert answer.status_code == 401
    operator = await site.gateway.operator()
    answer = await operator.post("/api/v1/indexes/rebuild", json={"tenant": "nobody"})
    assert answer.status_code == 404
    assert (await operator.get("/api/v1/indexes/tasks/unknown")).status_code == 404


def _tamper(port: int, lost: str) -> None:
    """Takes a row out, and puts another in, past every service."""
    collection = client(port).get_collection(CHUNKS, embedding_function=None)
    collection.delete(ids=[lost])
    collection.upsert(
        ids=["planted"], embeddings=[[1.0] * 8], documents=["x"], metadatas=[{"access_level": "EXTERNAL"}]
    )
