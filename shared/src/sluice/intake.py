"""From what was read off a stream to tasks: each entry is begun as soon as a place is free, and no more are read."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from sluice.workstream import Entry

logger = logging.getLogger(__name__)
_CANCEL_SECONDS = 1.0


class Intake:
    """Runs at most `concurrency` entries at once, each in a task of its own."""

    def __init__(
        self, handle: Callable[[Entry], Coroutine[Any, Any, None]], *, stream: str, concurrency: int, read_ahead: bool
    ) -> None:
        self._handle = handle
        self._stream = stream
        self._places = asyncio.Semaphore(concurrency)
        self._read_ahead = read_ahead
        self._running: set[asyncio.Task[None]] = set()
        self._in_place: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    async def take(self, read: Mapping[str, Any]) -> None:
        """Returns when the next entries may be read: all of these have begun and, unless they are to be read ahead of
        a free place, there is one. What has not begun when the intake stops is left to be given back."""
        self._at_rest.clear()
        try:
            await self._take(read)
        finally:
            self._at_rest.set()

    async def _take(self, read: Mapping[str, Any]) -> None:
        for entry_id, fields in zip(read["message_ids"], read["data"], strict=True):
            await self._places.acquire()
            if self._stopping:
                return
            task = asyncio.create_task(self._handle(Entry.parse(entry_id, fields)))
            self._running.add(task)
            self._in_place.add(task)
            task.add_done_callback(self._ended)
        if not self._read_ahead:
            async with self._places:
                pass

    async def stop(self) -> None:
        """Begins nothing more. Who reads for it is sent home: if cancelled while it waits, that would be an error."""
        self._stopping = True
        self._places.release()
        await self._at_rest.wait()

    async def drain(self, seconds: float) -> None:
        """Waits so long for what has begun, then cancels it."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_CANCEL_SECONDS)

    def leave_place(self) -> None:
        """The current task has handled its entry, and only has to settle it: the next one may begin meanwhile."""
        self._leave(asyncio.current_task())

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """What failed here could not be settled: the entry's lease runs out, and it is taken again."""
        self._running.discard(task)
        self._leave(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("message.left", exc_info=error, extra={"stream": self._stream})

    def _leave(self, task: "asyncio.Task[Any] | None") -> None:
        if task in self._in_place:
            self._in_place.remove(task)
            self._places.release()
