"""What Chroma writes to disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sluice.access import Level
from sluice.embedding import Vector
from sluice.index import Index, IndexedChunk
from sluice.index.turning import Turning
from tests.support.identity import passport
from tests.support.index import make_collection
from tests.support.keys import keyring
from tests.support.servers import ChromaServer, chroma_server, running
from tests.support.waiting import until

INTERNAL = Level.INTERNAL
MODEL = "local/all-MiniLM-L6-v2"
SENTENCE = "The vault code is 4711-planted."
ROWS = 40


def vectors() -> list[list[float]]:
    made = np.random.default_rng(11).standard_normal((ROWS, 384)).astype(np.float32)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).tolist()


def files_with(folder: Path, vector: Vector) -> set[str]:
    """Those in which four of its floats stand side by side, to within the rounding of a change of length."""
    wanted = np.asarray(vector[100:104], dtype=np.float32)
    return {file.name for file in folder.rglob("*") if file.is_file() and any(_near(file.read_bytes(), wanted))}


def _near(content: bytes, wanted: NDArray[np.float32]) -> Iterator[bool]:
    for start in range(4):
        there = np.frombuffer(content[start : len(content) - (len(content) - start) % 4], dtype="<f4")
        close = np.isclose(there, wanted[0], rtol=0, atol=1e-6)
        places = [place for place in np.flatnonzero(close) if place + 4 <= len(there)]
        yield any(np.isclose(there[place : place + 4], wanted, rtol=0, atol=1e-6).all() for place in places)


@pytest.fixture
def own_chroma(tmp_path: Path) -> Iterator[ChromaServer]:
    with running(chroma_server(tmp_path)) as server:
        yield server


async def test_the_floats_of_an_embedding_and_its_text_are_in_no_file_of_chroma(
    own_chroma: ChromaServer, tmp_path: Path
) -> None:
    """case 45, in part: a planted sentence and its vector are not found on disk, where the turned vector is."""
    scope = passport(tenant="planted", clearance=INTERNAL).scope
    chroma, folder = own_chroma, own_chroma.folder / "data"
    make_collection(chroma.port, "planted.internal.chunks", MODEL)
    keys, planted = keyring(tmp_path / "keys"), vectors()
    index = Index({INTERNAL: chroma.url, Level.EXTERNAL: chroma.url}, keys, MODEL)
    await index.upsert(scope, INTERNAL, [chunk(number, vector) for number, vector in enumerate(planted)])
    turned = await Turning(keys).turn(scope, INTERNAL, planted, make=False)

    def on_disk() -> bool:
        return {"data_level0.bin", "chroma.sqlite3"} <= files_with(folder, turned[0])

    await until(on_disk, seconds=30, what="the turned vector in both kinds of Chroma's files")
    assert set[str]().union(*(files_with(folder, vector) for vector in planted[:8])) == set()
    content = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert SENTENCE.encode() not in content
    found = await index.find(scope, planted[7], 1)
    assert [passage.chunk_id for passage in found.passages] == ["planted-7"]


def chunk(number: int, vector: list[float]) -> IndexedChunk:
    return IndexedChunk(
        chunk_id=f"planted-{number}",
        document_id="planted",
        generation=1,
        ordinal=number,
        title="Handbook",
        text=SENTENCE,
        page=None,
        offset=0,
        vector=vector,
    )
