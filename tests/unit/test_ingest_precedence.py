"""Bulk embeds when nothing interactive does."""

import asyncio
from collections.abc import Sequence

from ingest_worker.precedence import Precedence, YieldingEmbedder
from sluice.embedding import Vector
from tests.support.waiting import until


class Embedder:
    name = "fake"

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        self.calls.append(len(texts))
        await asyncio.sleep(0)
        return [(1.0,) for _ in texts]

    async def embed_query(self, text: str) -> Vector:
        self.calls.append(1)
        return (1.0,)


async def test_bulk_embeds_at_once_when_nothing_interactive_does() -> None:
    bulk = YieldingEmbedder(Embedder(), Precedence())
    assert await bulk.embed_documents(["a", "b"]) == [(1.0,), (1.0,)]
    assert await bulk.embed_query("a") == (1.0,)
    assert bulk.name == "fake"


async def test_bulk_stops_between_batches_until_all_that_is_interactive_has_embedded() -> None:
    embedder, precedence = Embedder(), Precedence()
    bulk = YieldingEmbedder(embedder, precedence)

    async def document() -> None:
        while True:
            await bulk.embed_documents(["a chunk"])

    task = asyncio.create_task(document())
    await until(lambda: len(embedder.calls) > 2, what="bulk at work")
    with precedence.interactive():
        with precedence.interactive():
            before = await _settled(embedder)
        assert await _settled(embedder) == before, "one of two has embedded"
    await until(lambda: len(embedder.calls) > before + 2, what="bulk at work again")
    task.cancel()


async def _settled(embedder: Embedder) -> int:
    """The calls when the batch that was begun has ended, and others have had many turns."""
    for _ in range(100):
        await asyncio.sleep(0)
    return len(embedder.calls)


async def test_an_interactive_document_that_fails_lets_bulk_go_on() -> None:
    precedence = Precedence()
    try:
        with precedence.interactive():
            raise ValueError
    except ValueError:
        pass
    await asyncio.wait_for(precedence.bulk(), 5)
