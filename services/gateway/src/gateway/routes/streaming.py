"""Server-sent events out, and answers that stop when their client is gone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.types import Message, Receive, Scope, Send

from sluice.replies import Event

T = TypeVar("T")
_AGAIN_SECONDS = 0.5
_PIECE_BYTES = 64 * 1024
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "The events."}
}


def event_stream(
    events: AsyncIterator[Event], heartbeat_seconds: float, *, left: Callable[[], object] = lambda: None
) -> EventSourceResponse:
    """The events as text/event-stream, with a comment after each silence; `left` is called when it is over."""
    stream = _EventStream(
        _frames(events),
        ping=heartbeat_seconds,
        ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        sep="\n",
    )
    stream.left = left
    return stream


class _EventStream(EventSourceResponse):
    """Without a time limit for each event, which would cost more than the event: a dead connection ends by itself."""

    left: Callable[[], object]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.left()

    async def _send_with_timeout(self, send: Send, message: Message) -> None:
        await send(message)


async def _frames(events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
    """The events, those that are there at once in one piece: who falls behind has less to send, and catches up."""
    together = b""
    async for event in events:
        together += _encode(event)
        if not event.more or len(together) > _PIECE_BYTES:
            yield together
            together = b""
    if together:
        yield together


def stopping() -> bool:
    """Whether the server was told to stop, and is closing its streams."""
    return AppStatus.should_exit


def _encode(event: Event) -> bytes:
    """JSON has no line breaks of its own."""
    head = f"id: {event.id}\n" if event.id else ""
    return f"{head}event: {event.name}\ndata: {event.json}\n\n".encode()


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work gives; it is cancelled as soon as the client goes away."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait([doing, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        while not doing.done():
            doing.cancel()  # again and again: redis-py swallows a cancellation that meets it while it connects
            await asyncio.wait([doing], timeout=_AGAIN_SECONDS)
    return doing.result()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
