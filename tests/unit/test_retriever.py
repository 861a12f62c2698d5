"""The retriever's use case, on an index and an embedder of its own."""

from dataclasses import dataclass, field

from retriever.retrieve import Retrieve
from sluice.access import Level, Scope
from sluice.embedding import Vector
from sluice.index import Found
from sluice.messages import Passage
from tests.support.identity import passport

SCOPE = passport(clearance=Level.EXTERNAL).scope


def passage(name: str, score: float, *, fix: bool = False) -> Passage:
    return Passage(
        chunk_id=name, document_id=name, title=name, access_level=Level.EXTERNAL, text=name, score=score, fix=fix
    )


@dataclass
class Shelf:
    """An index that gives what it was told to, and keeps the scopes that it was asked with."""

    chunks: list[Passage]
    fixes: list[Passage] = field(default_factory=list[Passage])
    restoring: bool = False
    scopes: list[Scope] = field(default_factory=list[Scope])

    async def find(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        self.scopes.append(scope)
        return Found(self.chunks[:limit], self.restoring)

    async def find_fixes(self, scope: Scope, vector: Vector, limit: int, *, do_without: bool = False) -> Found:
        self.scopes.append(scope)
        return Found(self.fixes[:limit])


class OneVector:
    name = "one"

    async def embed_documents(self, texts: object) -> list[Vector]:
        raise AssertionError("a question is no document")

    async def embed_query(self, text: str) -> Vector:
        return [1.0]


async def ask(shelf: Shelf, passages: int = 3) -> list[str]:
    found = await Retrieve(shelf, OneVector(), passages, fix_threshold=0.75)("question", SCOPE)
    return [passage.chunk_id for passage in found.passages]


async def test_a_fix_whose_question_matches_comes_first_even_if_a_chunk_is_nearer() -> None:
    shelf = Shelf([passage("chunk", 0.99)], [passage("fix", 0.8, fix=True)])
    assert await ask(shelf) == ["fix", "chunk"]


async def test_a_fix_for_another_question_is_left_out() -> None:
    shelf = Shelf([passage("chunk", 0.2)], [passage("fix", 0.74, fix=True)])
    assert await ask(shelf) == ["chunk"]


async def test_there_are_never_more_passages_than_asked_for() -> None:
    shelf = Shelf([passage(f"c{n}", 0.5) for n in range(9)], [passage("fix", 0.8, fix=True)])
    assert await ask(shelf, passages=3) == ["fix", "c0", "c1"]


async def test_every_read_is_made_with_the_askers_scope() -> None:
    shelf = Shelf([passage("chunk", 0.2)])
    await ask(shelf)
    assert shelf.scopes == [SCOPE, SCOPE]


async def test_what_is_being_restored_is_told_with_what_was_found() -> None:
    shelf = Shelf([passage("chunk", 0.2)], restoring=True)
    found = await Retrieve(shelf, OneVector(), 3, fix_threshold=0.75)("question", SCOPE)
    assert (found.restoring, len(found.passages)) == (True, 1)
