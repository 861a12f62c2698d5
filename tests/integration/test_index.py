"""The index, on real Chroma servers."""

from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest

from sluice.access import Level
from sluice.errors import AccessDeniedError, ConfigurationError, PermanentError, SealBrokenError, TransientError
from sluice.index import AccessViolationError, Index, IndexedChunk
from sluice.index.copies import Hit
from sluice.index.rows import Sealer
from sluice.messages import Fix
from tests.support.identity import passport
from tests.support.keys import KEYS, keyring
from tests.support.ports import free_port
from tests.support.servers import ChromaServer, chroma_server, running

INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL
SECRET = "The vault code is 4711"
tenants = iter(f"tenant-{n}" for n in range(1000))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Level, ChromaServer]]:
    with (
        running(chroma_server(tmp_path_factory.mktemp("external"))) as external,
        running(chroma_server(tmp_path_factory.mktemp("internal"))) as internal,
    ):
        yield {EXTERNAL: external, INTERNAL: internal}


@pytest.fixture
def index(servers: dict[Level, ChromaServer], tmp_path: Path) -> Index:
    return Index({level: server.url for level, server in servers.items()}, keyring(tmp_path), "test/model")


@pytest.fixture
def tenant() -> str:
    return next(tenants)


def chunk(
    name: str, text: str, *, generation: int = 1, document: str = "d", vector: tuple[float, ...] = (1.0, 0.0)
) -> IndexedChunk:
    return IndexedChunk(
        chunk_id=name,
        document_id=document,
        generation=generation,
        ordinal=0,
        title="Handbook",
        text=text,
        page=3,
        offset=120,
        vector=vector,
    )


async def test_an_internal_person_finds_both_levels_and_an_external_one_the_external_alone(
    index: Index, tenant: str
) -> None:
    internal = passport(tenant=tenant, clearance=INTERNAL).scope
    await index.upsert(internal, INTERNAL, [chunk("secret", SECRET)])
    await index.upsert(internal, EXTERNAL, [chunk("public", "Opening hours", vector=(0.9, 0.1))])
    external = passport(tenant=tenant, clearance=EXTERNAL).scope
    assert [p.chunk_id for p in (await index.find(internal, [1.0, 0.0], 5)).passages] == ["secret", "public"]
    [found] = (await index.find(external, [1.0, 0.0], 5)).passages
    assert (found.text, found.title, found.page, found.offset) == ("Opening hours", "Handbook", 3, 120)
    assert found.access_level is EXTERNAL
    assert found.score == pytest.approx(0.9 / (0.9**2 + 0.1**2) ** 0.5, abs=1e-4)


async def test_the_first_row_of_a_tenant_is_found_at_once_by_who_has_just_looked(
    index: Index, servers: dict[Level, ChromaServer], tenant: str, tmp_path: Path
) -> None:
    """Else "takes effect with the next question" would be untrue for the first correction."""
    scope = passport(tenant=tenant, clearance=INTERNAL).scope
    urls = {level: server.url for level, server in servers.items()}
    writer = Index(urls, keyring(tmp_path), "test/model")
    assert (await index.find_fixes(scope, [1.0, 0.0], 5)).passages == []
    fix = Fix(fix_id="f", question="What is the code?", answer=SECRET, access_level=INTERNAL)
    await writer.put_fix(scope, INTERNAL, fix, (1.0, 0.0))
    assert [found.text for found in (await index.find_fixes(scope, [1.0, 0.0], 5)).passages] == [SECRET]


async def test_another_tenant_finds_nothing(index: Index, tenant: str) -> None:
    """case 8: whoever asks, only rows of their own tenant are read."""
    await index.upsert(passport(tenant=tenant, clearance=INTERNAL).scope, INTERNAL, [chunk("secret", SECRET)])
    neighbour = passport(tenant=next(tenants), clearance=INTERNAL).scope
    assert (await index.find(neighbour, [1.0, 0.0], 5)).passages == []


async def test_an_external_scope_can_write_nothing_internal(index: Index, tenant: str) -> None:
    scope = passport(tenant=tenant, clearance=EXTERNAL).scope
    with pytest.raises(AccessDeniedError):
        await index.upsert(scope, INTERNAL, [chunk("x", "y")])
    with pytest.raises(AccessDeniedError):
        await index.put_fix(
            scope, INTERNAL, Fix(fix_id="f", question="q", answer="a", access_level=INTERNAL), [1.0, 0.0]
        )


async def test_text_is_sealed_in_chroma_and_on_its_disk(
    index: Index, tenant: str, servers: dict[Level, ChromaServer]
) -> None:
    await index.upsert(passport(tenant=tenant, clearance=INTERNAL).scope, INTERNAL, [chunk("secret", SECRET)])
    files = [file for file in servers[INTERNAL].folder.rglob("*") if file.is_file()]
    assert files
    assert not [file.name for file in files if SECRET.encode() in file.read_bytes()]


async def test_a_row_that_was_planted_at_another_level_stops_the_answer(
    index: Index, tenant: str, servers: dict[Level, ChromaServer]
) -> None:
    """Chroma's filter is taken away by a row that lies about its level; the seal, bound to the level, still holds."""
    internal = passport(tenant=tenant, clearance=INTERNAL).scope
    await index.upsert(internal, INTERNAL, [chunk("secret", SECRET)])
    await index.upsert(internal, EXTERNAL, [chunk("public", "Opening hours")])
    there, here = (chromadb.HttpClient(port=servers[level].port) for level in (INTERNAL, EXTERNAL))
    row = there.get_collection(f"{tenant}.internal.chunks").get(include=["documents", "embeddings", "metadatas"])
    assert row["metadatas"]
    here.get_collection(f"{tenant}.external.chunks").upsert(
        ids=["secret"],
        documents=row["documents"],
        embeddings=row["embeddings"],
        metadatas=[{**row["metadatas"][0], "access_level": "EXTERNAL"}],
    )
    with pytest.raises(SealBrokenError):
        await index.find(passport(tenant=tenant, clearance=EXTERNAL).scope, [1.0, 0.0], 5)


async def test_a_row_without_the_right_level_is_never_returned(
    index: Index, tenant: str, servers: dict[Level, ChromaServer]
) -> None:
    """case 11: a chunk without access_level can never be found."""
    external = passport(tenant=tenant, clearance=EXTERNAL).scope
    await index.upsert(external, EXTERNAL, [chunk("public", "Opening hours")])
    collection = chromadb.HttpClient(port=servers[EXTERNAL].port).get_collection(f"{tenant}.external.chunks")
    collection.upsert(ids=["bare"], documents=["x"], embeddings=[[1.0, 0.0]], metadatas=[{"document_id": "d"}])
    collection.upsert(ids=["odd"], documents=["x"], embeddings=[[1.0, 0.0]], metadatas=[{"access_level": "external"}])
    assert [p.chunk_id for p in (await index.find(external, [1.0, 0.0], 5)).passages] == ["public"]


async def test_a_row_outside_the_scope_raises_an_alarm_even_if_the_filter_let_it_through(tmp_path: Path) -> None:
    sealer, hit = Sealer(keyring(tmp_path)), Hit("row", {"access_level": "INTERNAL"}, "", 0.1)
    with pytest.raises(AccessViolationError):
        sealer.passage(passport(clearance=EXTERNAL).scope, EXTERNAL, hit)
    with pytest.raises(AccessViolationError):
        sealer.passage(passport(clearance=EXTERNAL).scope, INTERNAL, hit)


async def test_a_new_generation_replaces_the_old_one_and_deleting_removes_all(index: Index, tenant: str) -> None:
    scope = passport(tenant=tenant, clearance=EXTERNAL).scope
    await index.upsert(scope, EXTERNAL, [chunk("old", "v1"), chunk("other", "other", document="e")])
    await index.upsert(scope, EXTERNAL, [chunk("new", "v2", generation=2)])
    await index.delete_document(scope, EXTERNAL, "d", keep_generation=2)
    assert {p.chunk_id for p in (await index.find(scope, [1.0, 0.0], 5)).passages} == {"new", "other"}
    await index.delete_document(scope, EXTERNAL, "d")
    assert {p.chunk_id for p in (await index.find(scope, [1.0, 0.0], 5)).passages} == {"other"}


async def test_a_stale_worker_deletes_no_newer_generation(index: Index, tenant: str) -> None:
    scope = passport(tenant=tenant, clearance=EXTERNAL).scope
    await index.upsert(scope, EXTERNAL, [chunk("new", "v3", generation=3)])
    await index.delete_document(scope, EXTERNAL, "d", keep_generation=2)
    assert [p.chunk_id for p in (await index.find(scope, [1.0, 0.0], 5)).passages] == ["new"]


async def test_a_fix_is_found_by_its_question_within_its_level(index: Index, tenant: str) -> None:
    internal = passport(tenant=tenant, clearance=INTERNAL).scope
    fix = Fix(fix_id="f", question="Who approves?", answer="Ruth does.", access_level=INTERNAL)
    await index.put_fix(internal, INTERNAL, fix, [0.0, 1.0])
    [found] = (await index.find_fixes(internal, [0.0, 1.0], 3)).passages
    assert (found.fix, found.title, found.text, found.document_id) == (True, "Who approves?", "Ruth does.", "f")
    assert (await index.find_fixes(passport(tenant=tenant, clearance=EXTERNAL).scope, [0.0, 1.0], 3)).passages == []
    await index.delete_fix(internal, INTERNAL, "f")
    assert (await index.find_fixes(internal, [0.0, 1.0], 3)).passages == []


async def test_another_embedding_model_is_refused_with_what_to_do(
    index: Index, tenant: str, servers: dict[Level, ChromaServer], tmp_path: Path
) -> None:
    scope = passport(tenant=tenant, clearance=EXTERNAL).scope
    await index.upsert(scope, EXTERNAL, [chunk("a", "b")])
    other = Index({EXTERNAL: servers[EXTERNAL].url}, keyring(tmp_path), "other/model")
    for attempt in (other.check(), other.find(scope, [1.0, 0.0], 5)):
        with pytest.raises(ConfigurationError, match="SLUICE_EMBEDDING_MODEL"):
            await attempt
    await index.check()


async def test_an_external_lane_knows_no_internal_server(
    tenant: str, servers: dict[Level, ChromaServer], tmp_path: Path
) -> None:
    lane = Index({EXTERNAL: servers[EXTERNAL].url}, keyring(tmp_path, {EXTERNAL: KEYS[EXTERNAL]}), "test/model")
    with pytest.raises(PermanentError, match="no INTERNAL index"):
        await lane.find(passport(tenant=tenant, clearance=INTERNAL).scope, [1.0, 0.0], 5)


async def test_a_server_that_is_away_is_a_transient_error(tmp_path: Path) -> None:
    index = Index({EXTERNAL: f"http://127.0.0.1:{free_port()}"}, keyring(tmp_path), "test/model")
    with pytest.raises(TransientError):
        await index.find(passport().scope, [1.0, 0.0], 5)
    with pytest.raises(TransientError):
        await index.check()
