"""Following a request's reply log for a client, and noticing that the client is gone."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from gateway.keep import kept_events
from gateway.ports import Conversations, Replies
from gateway.records import Turn
from sluice.access import Level
from sluice.errors import DeadlineExceededError, SluiceError, TransientError
from sluice.replies import Event

logger = logging.getLogger(__name__)
ACCEPTED_ID = "0-0"
_AGAIN_SECONDS = 1.0
_LATE = timedelta(seconds=5)
"""What a worker that drops expired work is given to say so itself."""


class Listen:
    """Reads reply logs for clients. Work that nobody listens to any more is cancelled after the grace.

    A gateway that is `stopping` sends its clients away itself: they come back to another one, so their work goes on.
    """

    def __init__(
        self,
        replies: Replies,
        conversations: Conversations,
        *,
        deadline: timedelta,
        grace: timedelta,
        stopping: Callable[[], bool],
    ) -> None:
        self._replies = replies
        self._conversations = conversations
        self._deadline = deadline
        self._grace = grace
        self._stopping = stopping
        self._listeners: Counter[str] = Counter()
        self._leaving: set[asyncio.Task[None]] = set()

    async def stream(self, turn: Turn, after: str | None = None) -> AsyncGenerator[Event]:
        """`accepted` unless the client has it, then the log up to its end.

        Where the broker stays away it stops without an end, for the client to come back: `error` is only said of a
        request that has ended.
        """
        self._listeners[turn.id] += 1
        ended = False
        try:
            if after is None:
                yield Event("accepted", {"request_id": turn.id, "conversation_id": turn.conversation_id}, ACCEPTED_ID)
            async with aclosing(self._events(turn, after)) as events:
                async for event in events:
                    ended = event.name in ("done", "error")
                    yield event
        except TransientError as error:
            logger.warning("chat.log-unreadable", exc_info=error, extra={"request_id": turn.id})
        except SluiceError as error:
            ended = True
            yield Event("error", error.problem(turn.id))
        finally:
            self._leave(turn, ended=ended)

    async def whole(self, turn: Turn, *, resumable: bool = False) -> Event:
        """The event that ends the turn. Work is cancelled at once when this is; a `resumable` one's after the grace."""
        self._listeners[turn.id] += 1
        ended = not resumable
        try:
            async with aclosing(self._events(turn, None)) as events:
                async for event in events:
                    if event.name in ("done", "error"):
                        ended = True
                        return event
        except asyncio.CancelledError:
            if ended and self._listeners[turn.id] == 1 and not self._stopping():
                await asyncio.shield(self._replies.cancel(turn.lane, turn.id))
            raise
        finally:
            self._leave(turn, ended=ended)
        raise AssertionError("a reply log is read up to its terminal event")

    async def close(self) -> None:
        """Forgets whose clients are gone."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _events(self, turn: Turn, after: str | None) -> AsyncGenerator[Event]:
        failed = turn.answer is None and turn.error is not None
        if failed or (turn.answer is not None and not await self._replies.finished(turn.lane, turn.id)):
            for event in kept_events(turn):  # of one that failed nobody knows what its log quotes
                yield event
            return
        ends = turn.created_at + self._deadline + _LATE
        log = self._replies.read(turn.tenant, turn.lane, turn.id, after)
        async with given_up(self._replies, turn.tenant, turn.lane, turn.id, ends), aclosing(log) as events:
            async for event in events:
                if event.name == "error":
                    await self._conversations.fail(turn.id, str(event.data.get("detail", "")))
                yield event

    def _leave(self, turn: Turn, *, ended: bool) -> None:
        self._listeners[turn.id] -= 1
        if self._listeners[turn.id]:
            return
        del self._listeners[turn.id]
        if not ended and not self._stopping():
            task = asyncio.create_task(self._cancel_unless_back(turn))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _cancel_unless_back(self, turn: Turn) -> None:
        await asyncio.sleep(self._grace.total_seconds())
        if turn.id in self._listeners:
            return
        try:
            if await self._replies.listened(turn.lane, turn.id):
                return  # the client came back to another gateway, which cancels when it leaves that one
            await self._replies.cancel(turn.lane, turn.id)
            logger.info("chat.client-gone", extra={"request_id": turn.id})
        except SluiceError as error:
            logger.warning("chat.cancel-failed", exc_info=error, extra={"request_id": turn.id})


@asynccontextmanager
async def given_up(replies: Replies, tenant: str, lane: Level, request_id: str, ends: datetime) -> AsyncGenerator[None]:
    """Ends the log with an `error` when nothing else has ended it in time."""

    async def give_up() -> None:
        await asyncio.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()))
        while True:
            with suppress(TransientError):
                error = DeadlineExceededError("no answer came in time; ask again")
                await replies.fail(tenant, lane, request_id, error)
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    task = asyncio.create_task(give_up())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
