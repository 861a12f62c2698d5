"""Who embeds first: a process has one model, and nobody waits in front of a screen for a bulk document."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from sluice.embedding import Embedder, Vector


class Precedence:
    """While anything interactive embeds, bulk stops after the batch that it is at."""

    def __init__(self) -> None:
        self._interactive = 0
        self._free = asyncio.Event()
        self._free.set()

    @contextmanager
    def interactive(self) -> Generator[None]:
        """Held from the first batch of a document to its last, so that bulk does not slip in between."""
        self._interactive += 1
        self._free.clear()
        try:
            yield
        finally:
            self._interactive -= 1
            if not self._interactive:
                self._free.set()

    async def bulk(self) -> None:
        """Waits until nothing interactive embeds."""
        await self._free.wait()


class YieldingEmbedder:
    """An embedder for bulk: each call waits until nothing interactive embeds."""

    def __init__(self, embedder: Embedder, precedence: Precedence) -> None:
        self._embedder = embedder
        self._precedence = precedence

    @property
    def name(self) -> str:
        return self._embedder.name

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        await self._precedence.bulk()
        return await self._embedder.embed_documents(texts)

    async def embed_query(self, text: str) -> Vector:
        await self._precedence.bulk()
        return await self._embedder.embed_query(text)
