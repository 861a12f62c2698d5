"""The ingest-workers of a test that is about something else: each document is done, or fails with a reason."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sluice.access import Level
from sluice.messages import BulkDocumentSubmitted, DocumentProgress, DocumentSubmitted, JobState
from tests.support.gateway import Workers


class Indexing:
    """Counts what it is given; `fails` says which titles cannot be read. It waits while `allowed` is not set."""

    def __init__(self, workers: Workers) -> None:
        self.titles: list[str] = []
        self.fails: Callable[[str], bool] = lambda _: False
        self.allowed = asyncio.Event()
        self.allowed.set()
        self._workers = workers

    async def run(self, kind: Any, lane: Level) -> None:
        while True:
            submitted = await self._workers.next(kind, lane)
            await self.allowed.wait()
            title = submitted.document.title
            self.titles.append(title)
            state = {"state": JobState.FAILED, "error": "no text"} if self.fails(title) else {"state": JobState.DONE}
            told = submitted.follow(DocumentProgress, document=submitted.document, chunk_count=1, **state)
            await self._workers.broker.publish(told)


@asynccontextmanager
async def indexing(workers: Workers) -> AsyncGenerator[Indexing]:
    playing = Indexing(workers)
    kinds = [(kind, lane) for kind in (DocumentSubmitted, BulkDocumentSubmitted) for lane in Level]
    tasks = [asyncio.create_task(playing.run(kind, lane)) for kind, lane in kinds]
    try:
        yield playing
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
