"""Finding the passages for a question, under the asker's scope."""

import asyncio
from dataclasses import dataclass

from retriever.ports import PassageIndex
from sluice.access import Scope
from sluice.embedding import Embedder
from sluice.messages import Passage

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

    async def __call__(self, search_query: str, scope: Scope) -> list[Passage]:
        vector = await self.embedder.embed_query(search_query)
        fixes, chunks = await asyncio.gather(
            self.index.find_fixes(scope, vector, _FIXES), self.index.find(scope, vector, self.passages)
        )
        matching = [fix for fix in fixes if fix.score >= self.fix_threshold]
        return [*matching, *chunks][: self.passages]
