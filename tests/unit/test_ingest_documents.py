"""The use cases, on a real blob store; the index, the embedder, the parser and the web are small stand-ins."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest_worker.delete import Delete
from ingest_worker.documents import ParsedDocument, Section
from ingest_worker.generations import ReplacedError
from ingest_worker.ingest import Ingest
from ingest_worker.ports import FetchedFile
from ingest_worker.stored_chunks import decode_part
from ingest_worker.teach import Teach, Withdraw
from sluice.access import Level, Scope
from sluice.blobs import BlobMissingError, BlobStore
from sluice.embedding import Vector
from sluice.errors import AccessDeniedError, PermanentError, TransientError, UnreadableDocumentError
from sluice.index import IndexedChunk
from sluice.messages import DocumentReference, Fix, JobState
from tests.support.identity import passport
from tests.support.keys import keyring

EXTERNAL, INTERNAL = Level
STAFF = passport(clearance=INTERNAL).scope
CUSTOMER = passport(clearance=EXTERNAL).scope
LONG = " ".join(f"word{n:06}" for n in range(30_000))


class Rows:
    """An index that keeps its rows in a dict."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Level, IndexedChunk]] = {}
        self.fixes: dict[str, Fix] = {}
        self.before_upsert: Callable[[], Awaitable[object]] | None = None

    async def upsert(self, scope: Scope, level: Level, chunks: Sequence[IndexedChunk]) -> None:
        if self.before_upsert is not None:
            await self.before_upsert()
        self.rows |= {chunk.chunk_id: (scope.at(level), chunk) for chunk in chunks}

    async def delete_document(self, scope: Scope, level: Level, document_id: str, *, keep_generation: int = 0) -> None:
        gone = [
            row_id
            for row_id, (at, chunk) in self.rows.items()
            if at is scope.at(level) and chunk.document_id == document_id
            if not keep_generation or chunk.generation < keep_generation
        ]
        for row_id in gone:
            del self.rows[row_id]

    async def put_fix(self, scope: Scope, level: Level, fix: Fix, vector: Vector) -> None:
        self.fixes[fix.fix_id] = fix

    async def delete_fix(self, scope: Scope, level: Level, fix_id: str) -> None:
        self.fixes.pop(fix_id, None)

    @property
    def generations(self) -> set[tuple[Level, int]]:
        return {(level, chunk.generation) for level, chunk in self.rows.values()}


class Lengths:
    """Embeds a text as its length, and counts; fails once after `fail_after` texts."""

    name = "test/lengths"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.fail_after: int | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        if self.fail_after is not None and sum(self.batches) >= self.fail_after:
            self.fail_after = None
            raise TransientError("the embedding model did not answer")
        if self.meanwhile is not None:
            await self.meanwhile()
        self.batches.append(len(texts))
        return [[float(len(text)), 1.0] for text in texts]

    async def embed_query(self, text: str) -> Vector:
        return [float(len(text)), 1.0]


async def parse(data: bytes, name: str) -> ParsedDocument:
    """A page a form feed; the first page `title` gives the title."""
    pages = data.decode().split("\f")
    sections = tuple(Section(text, number) for number, text in enumerate(pages, 1))
    return ParsedDocument("TXT", f"Parsed {name}", sections)


class Web:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, url: str) -> FetchedFile:
        self.asked.append(url)
        return FetchedFile(b"from the web", "page.html")


class Reports(list[tuple[JobState, int, int]]):
    async def __call__(self, state: JobState, *, done: int = 0, total: int = 0) -> None:
        self.append((state, done, total))


class Office:
    """One worker with everything that it needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs", keyring(folder))
        self.index, self.embedder, self.web, self.reports = Rows(), Lengths(), Web(), Reports()
        self.ingest = Ingest(blobs=self.blobs, index=self.index, embedder=self.embedder, parse=parse, fetch=self.web)
        self.delete = Delete(blobs=self.blobs, index=self.index)
        self.teach = Teach(blobs=self.blobs, index=self.index, embedder=self.embedder)
        self.withdraw = Withdraw(blobs=self.blobs, index=self.index)

    async def submit(self, text: str = "text", scope: Scope = STAFF, **changes: Any) -> Any:
        document = reference(**changes)
        if document.url is None:
            path = ("documents", document.document_id, str(document.generation), "original")
            await self.blobs.put(scope, document.access_level, path, text.encode())
        return await self.ingest(document, scope, self.reports)

    async def kept(self, level: Level, *path: str) -> list[str]:
        return await self.blobs.list(STAFF, level, path)


def reference(**changes: Any) -> DocumentReference:
    values = {"document_id": "doc", "generation": 1, "access_level": INTERNAL, "title": "rules.txt", **changes}
    return DocumentReference(**values)


def a_fix(**changes: Any) -> Fix:
    values = {"fix_id": "fix", "question": "How long?", "answer": "Five days.", "access_level": EXTERNAL, **changes}
    return Fix(**values)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


async def test_a_document_is_indexed_with_page_offset_level_and_title(office: Office) -> None:
    indexed = await office.submit("first\fsecond")
    assert (indexed.chunk_count, indexed.title) == (2, "rules.txt")
    rows = sorted(office.index.rows.values(), key=lambda row: row[1].ordinal)
    assert [(level, c.text, c.page, c.offset, c.title, c.generation) for level, c in rows] == [
        (INTERNAL, "first", 1, 0, "rules.txt", 1),
        (INTERNAL, "second", 2, 7, "rules.txt", 1),
    ]
    assert [list(c.vector) for _, c in rows] == [[5.0, 1.0], [6.0, 1.0]]


async def test_progress_counts_the_chunks_batch_by_batch(office: Office) -> None:
    await office.submit(LONG)
    total = len(office.index.rows)
    assert total > 300
    assert set(office.embedder.batches[:-1]) == {8}
    states = list(dict.fromkeys(state for state, _, _ in office.reports))
    assert states == [JobState.PARSING, JobState.EMBEDDING, JobState.INDEXING]
    embedded = [done for state, done, of in office.reports if state is JobState.EMBEDDING and of == total]
    assert embedded == sorted(embedded)
    assert embedded[0] == 0
    assert embedded[-1] == total


async def test_ingesting_again_embeds_nothing_and_changes_no_row(office: Office) -> None:
    await office.submit(LONG)
    rows, batches = dict(office.index.rows), list(office.embedder.batches)
    await office.submit(LONG)
    assert office.index.rows.keys() == rows.keys()
    assert office.embedder.batches == batches


async def test_a_retry_goes_on_after_the_last_part_that_was_kept(office: Office) -> None:
    office.embedder.fail_after = 300
    with pytest.raises(TransientError):
        await office.submit(LONG)
    assert office.index.rows == {}
    embedded = sum(office.embedder.batches)
    await office.submit(LONG)
    assert sum(office.embedder.batches) - embedded == len(office.index.rows) - 256


async def test_vectors_of_another_model_are_not_taken_for_this_ones(office: Office) -> None:
    await office.submit("text")
    office.embedder.name = "test/other"
    await office.submit("text")
    assert office.embedder.batches == [1, 1]


async def test_chunks_and_vectors_are_kept_sealed_before_the_index_sees_them(office: Office) -> None:
    kept: list[str] = []

    async def look() -> None:
        kept.extend(await office.kept(INTERNAL, "documents", "doc", "1", "chunks"))

    office.index.before_upsert = look
    await office.submit("The vault code is guillemot")
    assert kept == ["00000"]
    data = await office.blobs.get(STAFF, INTERNAL, ("documents", "doc", "1", "chunks", "00000"))
    model, chunks = decode_part(data)
    assert (model, chunks) == ("test/lengths", [chunk for _, chunk in office.index.rows.values()])
    assert all(b"guillemot" not in file.read_bytes() for file in office.folder.rglob("*") if file.is_file())


async def test_a_new_generation_replaces_the_old_one_wherever_it_was(office: Office) -> None:
    await office.submit("old", access_level=EXTERNAL)
    await office.submit("new", generation=2, access_level=INTERNAL)
    assert office.index.generations == {(INTERNAL, 2)}
    assert await office.kept(EXTERNAL, "documents", "doc") == []
    assert await office.kept(INTERNAL, "documents", "doc") == ["2"]


async def test_other_documents_and_their_blobs_stay(office: Office) -> None:
    await office.submit("other", document_id="other")
    await office.submit("old")
    await office.submit("new", generation=2)
    assert {c.document_id for _, c in office.index.rows.values()} == {"doc", "other"}
    assert await office.kept(INTERNAL, "documents", "other") == ["1"]


async def test_an_older_generation_that_comes_late_is_refused(office: Office) -> None:
    await office.submit("new", generation=2)
    with pytest.raises(ReplacedError, match="newer version"):
        await office.submit("old", generation=1)
    assert office.index.generations == {(INTERNAL, 2)}


async def test_a_generation_overtaken_while_it_was_written_takes_itself_back(office: Office) -> None:
    async def overtake() -> None:
        office.index.before_upsert = None
        await office.submit("new", generation=2)

    office.index.before_upsert = overtake
    with pytest.raises(ReplacedError):
        await office.submit("old", generation=1)
    assert office.index.generations == {(INTERNAL, 2)}


async def test_a_deleted_document_leaves_nothing_and_a_late_message_does_not_bring_it_back(office: Office) -> None:
    """case 45: deleted, then delivered again."""
    await office.submit(url="https://example.com/")
    await office.delete(reference(), STAFF)
    assert office.index.rows == {}
    assert await office.kept(INTERNAL, "documents", "doc") == []
    with pytest.raises(ReplacedError):
        await office.submit(url="https://example.com/")
    assert office.index.rows == {}
    assert len(office.web.asked) == 1


async def test_a_document_deleted_while_it_was_written_stays_deleted(office: Office) -> None:
    async def delete() -> None:
        await office.delete(reference(), STAFF)

    office.index.before_upsert = delete
    with pytest.raises(ReplacedError):
        await office.submit("text")
    assert office.index.rows == {}
    assert await office.kept(INTERNAL, "documents", "doc") == []


async def test_a_document_deleted_while_it_was_embedded_never_reaches_the_index(office: Office) -> None:
    async def fail() -> None:
        raise AssertionError("a deleted document was indexed, if only for a moment")

    async def delete() -> None:
        await office.delete(reference(), STAFF)

    office.embedder.meanwhile, office.index.before_upsert = delete, fail
    with pytest.raises(ReplacedError):
        await office.submit("text")
    assert await office.kept(INTERNAL, "documents", "doc") == []


@pytest.mark.parametrize(("page", "error"), [(b"from the web", ReplacedError), (b"", UnreadableDocumentError)])
async def test_a_page_deleted_while_it_was_fetched_is_not_kept(
    office: Office, page: bytes, error: type[PermanentError]
) -> None:
    async def fetch(_: str) -> FetchedFile:
        await office.delete(reference(), STAFF)
        return FetchedFile(page, "page.html")

    ingest = Ingest(blobs=office.blobs, index=office.index, embedder=office.embedder, parse=parse, fetch=fetch)
    with pytest.raises(error):
        await ingest(reference(url="https://example.com/"), STAFF, office.reports)
    assert await office.kept(INTERNAL, "documents", "doc") == []


async def test_a_generation_overtaken_while_it_was_embedded_leaves_the_newer_one_alone(office: Office) -> None:
    async def overtake() -> None:
        office.embedder.meanwhile = None
        await office.submit("new", generation=2)

    office.embedder.meanwhile = overtake
    with pytest.raises(ReplacedError):
        await office.submit("old", generation=1)
    assert office.index.generations == {(INTERNAL, 2)}
    assert await office.kept(INTERNAL, "documents", "doc") == ["2"]


async def test_deleting_again_and_deleting_what_never_was_are_no_errors_and_harm_nothing_else(office: Office) -> None:
    await office.submit("text")
    kept = dict(office.index.rows)
    await office.delete(reference(document_id="never-was"), STAFF)
    assert office.index.rows == kept != {}
    await office.delete(reference(), STAFF)
    await office.delete(reference(), STAFF)
    assert office.index.rows == {}


async def test_a_page_is_fetched_once_kept_as_the_original_and_called_by_its_own_title(office: Office) -> None:
    url = "https://example.com/refunds"
    office.embedder.fail_after = 0
    with pytest.raises(TransientError):
        await office.submit(url=url, title=url)
    indexed = await office.submit(url=url, title=url)
    assert indexed.title == "Parsed page.html"
    assert office.web.asked == [url]
    assert await office.blobs.get(STAFF, INTERNAL, ("documents", "doc", "1", "original")) == b"from the web"
    assert office.reports[0] == (JobState.FETCHING, 0, 0)


async def test_a_page_that_is_asked_for_again_is_fetched_again(office: Office) -> None:
    """case 28: a new generation rests on no earlier fetch, so its address is checked anew."""
    url = "https://example.com/refunds"
    for generation in (1, 2):
        await office.submit(url=url, title=url, generation=generation)
    assert office.web.asked == [url, url]


@pytest.mark.parametrize("text", ["", " \n\f\n "])
async def test_a_document_without_text_is_unreadable_and_not_an_empty_success(office: Office, text: str) -> None:
    with pytest.raises(UnreadableDocumentError, match="no text found"):
        await office.submit(text)


async def test_an_original_that_is_missing_or_changed_is_refused(office: Office) -> None:
    with pytest.raises(BlobMissingError):
        await office.ingest(reference(), STAFF, office.reports)
    with pytest.raises(PermanentError, match="not the file that was uploaded"):
        await office.submit("text", sha256=hashlib.sha256(b"another").hexdigest())
    await office.submit("text", sha256=hashlib.sha256(b"text").hexdigest())


async def test_what_lies_above_the_clearance_is_refused_before_anything_is_done(office: Office) -> None:
    """case 5: a level in the body is not obeyed beyond the passport's clearance."""
    for refused in (
        office.ingest(reference(url="https://example.com/"), CUSTOMER, office.reports),
        office.delete(reference(), CUSTOMER),
        office.teach(a_fix(access_level=INTERNAL), CUSTOMER),
        office.withdraw(a_fix(access_level=INTERNAL), CUSTOMER),
    ):
        with pytest.raises(AccessDeniedError):
            await refused
    assert office.web.asked == []
    assert list(office.folder.iterdir()) == []


async def test_a_customer_ingests_and_replaces_external_documents(office: Office) -> None:
    await office.submit("one", CUSTOMER, access_level=EXTERNAL)
    await office.submit("two", CUSTOMER, access_level=EXTERNAL, generation=2)
    assert office.index.generations == {(EXTERNAL, 2)}


async def test_a_fix_is_kept_and_indexed_and_withdrawn_for_good(office: Office) -> None:
    await office.teach(a_fix(), STAFF)
    assert office.index.fixes == {"fix": a_fix()}
    assert await office.kept(EXTERNAL, "fixes", "fix") == ["taught"]
    await office.withdraw(a_fix(), STAFF)
    assert office.index.fixes == {}
    with pytest.raises(ReplacedError, match="withdrawn"):
        await office.teach(a_fix(), STAFF)
    assert office.index.fixes == {}
    assert await office.kept(EXTERNAL, "fixes", "fix") == ["withdrawn"]
