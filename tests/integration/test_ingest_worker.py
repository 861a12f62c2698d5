"""The ingest-worker as a whole: real streams, Chroma, blobs, embedding model and parser processes."""

import hashlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.adapters.web import WebFetcher
from ingest_worker.app import create_app
from ingest_worker.settings import IngestSettings
from sluice.access import Level, Right, Scope
from sluice.blobs import BlobStore
from sluice.broker import Broker, Delivery
from sluice.embedding import Embedder, create_embedder
from sluice.index import Index, IndexedChunk
from sluice.messages import (
    DocumentDeleted,
    DocumentProgress,
    DocumentReference,
    DocumentSubmitted,
    Fix,
    FixIndexed,
    FixTaught,
    FixWithdrawn,
    JobState,
    Message,
    Passage,
)
from sluice.settings import EmbeddingSettings
from tests.support.hostile_files import hostile_files
from tests.support.identity import Office, passport
from tests.support.ingest_documents import pdf
from tests.support.keys import keyring
from tests.support.ports import free_port
from tests.support.servers import ChromaServer, RedisServer, chroma_server, running
from tests.support.waiting import until

EXTERNAL, INTERNAL = Level
LONG = " ".join(f"Sentence {n} explains how refunds are made to cards of kind {n}." for n in range(2500))


@pytest.fixture(scope="module")
def chromas(tmp_path_factory: pytest.TempPathFactory, chroma: ChromaServer) -> Iterator[dict[Level, str]]:
    with running(chroma_server(tmp_path_factory.mktemp("internal"))) as internal:
        yield {EXTERNAL: chroma.url, INTERNAL: internal.url}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return create_embedder(EmbeddingSettings())


@dataclass
class House:
    """Both lanes of the worker, and what they said to the gateway."""

    office: Office
    broker: Broker
    blobs: BlobStore
    index: Index
    embedder: Embedder
    tenant: str
    progress: list[DocumentProgress] = field(default_factory=list[DocumentProgress])
    fixes: list[FixIndexed] = field(default_factory=list[FixIndexed])

    def scope(self, clearance: Level) -> Scope:
        return passport(tenant=self.tenant, clearance=clearance).scope

    async def submit(self, data: bytes, name: str, *, clearance: Level = INTERNAL, **changes: Any) -> str:
        """Does as the gateway does; gives the job's id."""
        document_changes = {
            k: changes.pop(k) for k in ("document_id", "generation", "access_level", "url") if k in changes
        }
        sha256 = hashlib.sha256(data).hexdigest()
        document = reference(name, **{"access_level": clearance, "sha256": sha256, **document_changes})
        path = ("documents", document.document_id, str(document.generation), "original")
        if document.access_level in clearance.readable:
            await self.blobs.put(self.scope(clearance), document.access_level, path, data)
        return await self.send(DocumentSubmitted, clearance=clearance, document=document, **changes)

    async def send(self, kind: type[Message], *, clearance: Level = INTERNAL, **fields: Any) -> str:
        message = self.office.message(kind, tenant=self.tenant, clearance=clearance, **fields)
        await self.broker.publish(message)
        return message.request_id

    async def ended(self, job: str) -> DocumentProgress:
        return await until(
            lambda: next((p for p in self.said(job) if p.state.terminal), None), seconds=60, what="the end"
        )

    def said(self, job: str) -> list[DocumentProgress]:
        return [progress for progress in self.progress if progress.request_id == job]

    async def find(self, question: str, clearance: Level) -> list[Passage]:
        vector = await self.embedder.embed_query(question)
        return (await self.index.find(self.scope(clearance), vector, 3)).passages

    async def find_fixes(self, question: str, clearance: Level) -> list[Passage]:
        vector = await self.embedder.embed_query(question)
        return (await self.index.find_fixes(self.scope(clearance), vector, 3)).passages


def reference(name: str, **changes: Any) -> DocumentReference:
    values = {"document_id": os.urandom(8).hex(), "generation": 1, "access_level": INTERNAL, "title": name, **changes}
    return DocumentReference(**values)


@pytest.fixture
async def house(
    valkey: RedisServer, office: Office, chromas: dict[Level, str], embedder: Embedder, tmp_path: Path
) -> AsyncIterator[House]:
    async with open_house(valkey, office, chromas, embedder, tmp_path) as house:
        yield house


@asynccontextmanager
async def open_house(
    valkey: RedisServer, office: Office, chromas: dict[Level, str], embedder: Embedder, folder: Path
) -> AsyncIterator[House]:
    client = redis.asyncio.Redis.from_url(valkey.url)
    await client.flushall()
    await client.aclose()
    keys = keyring(folder)
    index, blobs = Index(chromas, keys, embedder.name), BlobStore(folder / "blobs", keys)
    async with AsyncExitStack() as stack:
        for lane in Level:
            settings = lane_settings(lane, valkey, chromas)
            app = create_app(
                settings,
                broker=Broker(settings, service="ingest-worker", verifier=office.verifier, keyring=office.keyring),
                blobs=blobs,
                index=index,
                embedder=embedder,
                parse=ParserProcess(settings.parser_limits),
                fetch=WebFetcher(settings.web_limits),
                check_index=index.check,
            )
            await stack.enter_async_context(app.router.lifespan_context(app))
        gateway = Broker(
            lane_settings(INTERNAL, valkey, chromas),
            service="gateway",
            verifier=office.verifier,
            keyring=office.keyring,
        )
        house = House(office, gateway, blobs, index, embedder, f"tenant-{os.urandom(4).hex()}")
        gateway.consume(DocumentProgress, _keep(house.progress.append))
        gateway.consume(FixIndexed, _keep(house.fixes.append))
        await gateway.start()
        yield house
        await gateway.stop()


def _keep(append: Callable[[Any], None]) -> Callable[[Any, Delivery], Any]:
    async def handler(message: Any, _: Delivery) -> None:
        append(message)

    return handler


def lane_settings(lane: Level, valkey: RedisServer, chromas: dict[Level, str]) -> IngestSettings:
    return IngestSettings(
        lane=lane,
        redis_url=valkey.url,  # pyright: ignore[reportArgumentType]
        external_key_file=(Path("unused"),),
        internal_key_file=(Path("unused"),) if lane is INTERNAL else (),
        chroma_external_url=chromas[EXTERNAL],
        chroma_internal_url=chromas[INTERNAL] if lane is INTERNAL else None,
        document_concurrency=1,
        retry={"attempts": 2},
        shutdown_grace_seconds=1,
    )


async def test_a_pdf_is_found_on_its_page_by_whom_it_is_for_and_its_job_ends_in_done(house: House) -> None:
    data = pdf("Cards are blocked at once.", "Refunds take five working days.", "Offices close at noon.")
    done = await house.ended(await house.submit(data, "handbook.pdf"))
    assert (done.state, done.chunk_count, done.done, done.total) == (JobState.DONE, 3, 3, 3)
    assert done.title == "handbook.pdf"
    [best, *_] = await house.find("How long do refunds take?", INTERNAL)
    assert (best.text, best.page, best.title) == ("Refunds take five working days.", 2, "handbook.pdf")
    assert best.access_level is INTERNAL
    assert await house.find("How long do refunds take?", EXTERNAL) == []


async def test_a_customers_document_goes_through_the_external_lane(house: House) -> None:
    done = await house.ended(await house.submit(b"Refunds take five days.", "a.txt", clearance=EXTERNAL))
    assert done.state is JobState.DONE
    assert [p.text for p in await house.find("refunds", EXTERNAL)] == ["Refunds take five days."]


async def test_progress_is_told_in_order(house: House) -> None:
    job = await house.submit(LONG[:40_000].encode(), "long.txt")
    done = await house.ended(job)
    said = house.said(job)
    states = list(dict.fromkeys(progress.state for progress in said))
    assert states == [JobState.PARSING, JobState.EMBEDDING, JobState.INDEXING, JobState.DONE]
    counts = [progress.done for progress in said if progress.state is JobState.EMBEDDING]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, done.total)


async def test_an_unreadable_document_ends_in_failed_with_the_reason_and_leaves_nothing(house: House) -> None:
    job = await house.submit(pdf("", ""), "scan.pdf")
    failed = await house.ended(job)
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert "no text found: the PDF may be a scan" in failed.error
    assert await house.find("anything", INTERNAL) == []


async def test_after_each_hostile_file_the_worker_reads_the_next_one(house: House) -> None:
    """cases 31, 32, 33: through the stream; what cannot be read fails with its reason, and is not tried again."""
    for file in hostile_files():
        if file.refused is None and file.reads != "hello":
            continue  # read like any text, and long to embed
        ended = await house.ended(await house.submit(file.data, file.name))
        assert ended.state is (JobState.FAILED if file.refused else JobState.DONE), file.name
        assert (file.refused or "") in (ended.error or "")
    await house.ended(await house.submit(b"Refunds take five days.", "good.txt"))
    assert "Refunds take five days." in [p.text for p in await house.find("How long do refunds take?", INTERNAL)]


async def test_a_forbidden_url_ends_in_failed_with_the_reason(house: House) -> None:
    """case 23: asked for through the stream."""
    url = "http://169.254.169.254/latest/meta-data/"
    job = await house.send(DocumentSubmitted, document=reference(url, url=url))
    failed = await house.ended(job)
    assert failed.state is JobState.FAILED
    assert "may not be fetched" in (failed.error or "")


async def test_without_the_right_or_above_the_clearance_nothing_is_read(house: House) -> None:
    """case 5: rights and level are the passport's."""
    reader = await house.submit(b"text", "a.txt", passport_rights=frozenset({Right.READ}))
    above = await house.submit(b"text", "a.txt", clearance=EXTERNAL, access_level=INTERNAL)
    assert "right to upload" in ((await house.ended(reader)).error or "")
    assert "outside what this may touch" in ((await house.ended(above)).error or "")
    assert await house.find("text", INTERNAL) == []


async def test_a_deleted_document_is_not_found_any_more(house: House) -> None:
    document_id = os.urandom(8).hex()
    await house.ended(await house.submit(b"Refunds take five days.", "a.txt", document_id=document_id))
    job = await house.send(DocumentDeleted, document=reference("a.txt", document_id=document_id))
    assert (await house.ended(job)).state is JobState.DELETED
    assert await house.find("refunds", INTERNAL) == []


async def test_a_new_generation_at_another_level_replaces_the_old_one(house: House) -> None:
    """case 12: re-levelled to INTERNAL, acknowledged, and gone for EXTERNAL people."""
    document_id = os.urandom(8).hex()
    text = b"Refunds take five days."
    await house.ended(await house.submit(text, "a.txt", document_id=document_id, access_level=EXTERNAL))
    assert len(await house.find("refunds", EXTERNAL)) == 1
    await house.ended(await house.submit(text, "a.txt", document_id=document_id, generation=2))
    assert await house.find("refunds", EXTERNAL) == []
    assert [p.access_level for p in await house.find("refunds", INTERNAL)] == [INTERNAL]


async def test_an_older_version_that_comes_late_ends_without_a_dead_letter(house: House, valkey: RedisServer) -> None:
    """Quick changes of a document are normal use, and nothing for an operator to look at."""
    document_id = os.urandom(8).hex()
    client: Any = redis.asyncio.Redis.from_url(valkey.url)
    dead = "{documents.submitted.v1.internal}:dead"
    before = await client.xlen(dead)
    await house.ended(await house.submit(b"Refunds take five days.", "a.txt", document_id=document_id, generation=2))
    late = await house.ended(await house.submit(b"Refunds take nine days.", "a.txt", document_id=document_id))
    assert late.state is JobState.FAILED
    assert "newer version" in (late.error or "")
    assert await client.xlen(dead) == before
    assert [p.text for p in await house.find("refunds", INTERNAL)] == ["Refunds take five days."]
    await client.aclose()


async def test_a_fix_overtakes_a_long_document(house: House) -> None:
    job = await house.submit(LONG.encode(), "long.txt")
    await until(lambda: [p for p in house.said(job) if p.state is JobState.EMBEDDING], what="embedding to begin")
    fix = Fix(fix_id="fix-1", question="How long do refunds take?", answer="Three days.", access_level=EXTERNAL)
    before = house.said(job)[-1].done
    await house.send(FixTaught, fix=fix)
    indexed = await until(lambda: house.fixes and house.fixes[0], seconds=30, what="the fix")
    assert (indexed.state, indexed.fix) == ("active", fix)
    assert house.said(job)[-1].done - before <= 50  # a quiet machine embeds so many chunks a second
    assert not [p for p in house.said(job) if p.state.terminal]
    [found] = await house.find_fixes("How long do refunds take?", EXTERNAL)
    assert (found.text, found.title, found.fix) == ("Three days.", fix.question, True)


async def test_a_withdrawn_fix_is_not_found_any_more(house: House) -> None:
    fix = Fix(fix_id="fix-2", question="How long?", answer="Three days.", access_level=INTERNAL)
    for kind, state in ((FixTaught, "active"), (FixWithdrawn, "withdrawn")):
        await house.send(kind, fix=fix)
        await until(lambda state=state: [f for f in house.fixes if f.state == state], what=state)
    assert await house.find_fixes("How long?", INTERNAL) == []


async def test_teaching_needs_its_right(house: House) -> None:
    fix = Fix(fix_id="fix-3", question="How long?", answer="Three days.", access_level=EXTERNAL)
    await house.send(FixTaught, fix=fix, passport_rights=frozenset({Right.UPLOAD}))
    failed = await until(lambda: house.fixes and house.fixes[0])
    assert (failed.state, failed.error) == ("failed", "this needs the right to teach")
    assert await house.find_fixes("How long?", EXTERNAL) == []


async def test_an_index_that_is_away_is_waited_for_and_the_job_ends_in_done(
    valkey: RedisServer, office: Office, embedder: Embedder, tmp_path: Path
) -> None:
    """Longer than the worker's two attempts for other errors: what was accepted is not given up for an outage."""
    index = chroma_server(tmp_path / "index")
    async with open_house(valkey, office, dict.fromkeys(Level, index.url), embedder, tmp_path) as house:
        job = await house.submit(b"The lamp is cleaned on Tuesdays.", "a.txt")
        await until(lambda: [p.state for p in house.said(job)].count(JobState.RETRYING) >= 3, seconds=30)
        with running(index):
            assert (await house.ended(job)).state is JobState.DONE


async def test_a_job_whose_deadline_is_over_ends_as_failed_with_the_reason(
    valkey: RedisServer, office: Office, embedder: Embedder, tmp_path: Path
) -> None:
    away = {level: f"http://127.0.0.1:{free_port()}" for level in Level}
    async with open_house(valkey, office, away, embedder, tmp_path) as house:
        job = await house.submit(b"text", "a.txt", seconds=3)
        failed = await house.ended(job)
        assert (failed.state, failed.error) == (JobState.FAILED, "the request waited longer than its deadline")
        told = [p.error for p in house.said(job) if p.state is JobState.RETRYING]
        assert all("index does not answer" in (error or "") for error in told)
        assert told


async def test_chunks_that_a_cut_off_attempt_left_behind_a_newer_generation_are_removed(house: House) -> None:
    """The old attempt had written to the index after the new generation was begun, and was then killed."""
    old = await house.submit(b"The old lamp burns oil.", "lamp.txt", document_id="lamp", generation=1)
    assert (await house.ended(old)).state is JobState.DONE
    leftover = await house.find("Which lamp burns oil?", INTERNAL)
    new = await house.submit(b"The new lamp is electric.", "lamp.txt", document_id="lamp", generation=2)
    assert (await house.ended(new)).state is JobState.DONE
    vector = await house.embedder.embed_query("Which lamp burns oil?")
    chunk = IndexedChunk(
        chunk_id=leftover[0].chunk_id,
        document_id="lamp",
        generation=1,
        ordinal=0,
        title="lamp.txt",
        text=leftover[0].text,
        page=None,
        offset=0,
        vector=vector,
    )
    await house.index.upsert(house.scope(INTERNAL), INTERNAL, [chunk])
    again = await house.submit(b"The old lamp burns oil.", "lamp.txt", document_id="lamp", generation=1)
    assert (await house.ended(again)).state is JobState.FAILED
    assert [p.text for p in await house.find("Which lamp burns oil?", INTERNAL)] == ["The new lamp is electric."]


def test_the_worker_starts_alone_from_its_environment_and_ends_well(
    valkey: RedisServer, chromas: dict[Level, str], office: Office, tmp_path: Path
) -> None:
    with _started(valkey, chromas, office, tmp_path) as worker:
        worker.terminate()
        assert worker.wait(30) == 0


def test_a_worker_that_redis_refuses_for_good_ends_with_an_error(
    valkey: RedisServer, chromas: dict[Level, str], office: Office, tmp_path: Path
) -> None:
    """A key of another type, as a missing right, does not pass: whoever watches the worker must see that it is down."""
    client: Any = redis.Redis.from_url(valkey.url)
    with _started(valkey, chromas, office, tmp_path) as worker:
        delayed = "{documents.submitted.v1.external}:delayed"
        client.set(delayed, "no sorted set")
        try:
            assert worker.wait(60) == 1
        finally:
            client.delete(delayed)


@contextmanager
def _started(
    valkey: RedisServer, chromas: dict[Level, str], office: Office, folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    port = free_port()
    (folder / "keys").mkdir()
    (folder / "keys" / "passport.pub").write_bytes(office.public_key)
    (folder / "external.key").write_bytes(os.urandom(32))
    environment = {
        "SLUICE_LANE": "EXTERNAL",
        "SLUICE_STATE_DIR": str(folder),
        "SLUICE_REDIS_URL": valkey.url,
        "SLUICE_EXTERNAL_KEY_FILE": str(folder / "external.key"),
        "SLUICE_CHROMA_EXTERNAL_URL": chromas[EXTERNAL],
        "SLUICE_PORT": str(port),
    }
    worker = subprocess.Popen([sys.executable, "-m", "ingest_worker"], env=environment, stdout=subprocess.DEVNULL)
    try:
        assert _ready(port, worker)
        yield worker
    finally:
        worker.kill()
        worker.wait()


def _ready(port: int, worker: "subprocess.Popen[bytes]") -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end and worker.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False
