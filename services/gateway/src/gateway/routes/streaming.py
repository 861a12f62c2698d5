"""Server-sent events out, and answers that stop when their client is gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus

from sluice.replies import Event

T = TypeVar("T")
_AGAIN_SECONDS = 0.5
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "The events."}
}


def event_stream(events: AsyncIterator[Event], heartbeat_seconds: float) -> EventSourceResponse:
    """The events as text/event-stream, with a comment after each silence."""
    return EventSourceResponse(
        (_encode(event) async for event in events),
        ping=heartbeat_seconds,
        ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        sep="\n",
    )


def stopping() -> bool:
    """Whether the server was told to stop, and is closing its streams."""
    return AppStatus.should_exit


def _encode(event: Event) -> ServerSentEvent:
    data = json.dumps(event.data, ensure_ascii=False, default=str)
    return ServerSentEvent(data=data, event=event.name, id=event.id or None, sep="\n")


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
