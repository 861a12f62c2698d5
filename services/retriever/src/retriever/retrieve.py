"""Finding the passages for a question, under the asker's scope."""

import asyncio
from dataclasses import dataclass

from retriever.ports import PassageIndex
from sluice.access import Scope
from sluice.embedding import Embedder
from sluice.index import Found
from sluice.tracing import step

_FIXES = 3


@dataclass(frozen=True)
class Retrieve:
    """The fixes whose question matches, then the nearest chunks; at most `passages` together.

    `fix_threshold` is the least cosine between the question and a fix's question. Every passage lies within the scope.
    """

    index: PassageIndex
    embedder: Embedder
    passages: int
    fix_threshold: float

    async def __call__(self, search_query: str, scope: Scope, *, do_without: bool = False) -> Found:
        """`do_without`: what cannot be reached is left out.

        Raises:
            TransientError: a server of the index is away.
        """
        with step("embed"):
            vector = await self.embedder.embed_query(search_query)
        with step("index.find"):
            fixes, chunks = await asyncio.gather(
                self.index.find_fixes(scope, vector, _FIXES, do_without=do_without),
                self.index.find(scope, vector, self.passages, do_without=do_without),
            )
        matching = [fix for fix in fixes.passages if fix.score >= self.fix_threshold]
        passages = [*matching, *chunks.passages][: self.passages]
        return Found(passages, fixes.restoring or chunks.restoring, fixes.collections + chunks.collections)
