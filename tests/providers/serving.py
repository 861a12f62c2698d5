"""What both wires share: taking a request in, pacing its answer, sending it or the scripted failure."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal

from starlette.requests import Request

from tests.providers.behaviour import Behaviour
from tests.providers.script import Call, Script
from tests.providers.wire import ConnectionDropped, ScriptedResponse

Body = tuple[int, dict[str, Any]]


async def take(
    script: Script,
    request: Request,
    model: str,
    kind: Literal["stream", "whole", "embeddings"],
    text: Callable[[dict[str, Any]], str],
) -> Call:
    """Records the request."""
    body: dict[str, Any] = await request.json()
    headers = dict(request.headers)
    call = Call(model=model, kind=kind, headers=headers, body=body, text=text(body), started=time.time())
    await script.begin(call)
    return call


def failure_of(behaviour: Behaviour, error: dict[str, Any]) -> Body | None:
    return None if behaviour.status == 200 else (behaviour.status, error)


def respond(
    script: Script,
    call: Call,
    behaviour: Behaviour,
    whole: Body | None,
    events: AsyncIterator[bytes] | None = None,
) -> ScriptedResponse:
    """The whole body where there is one, else the events."""
    headers = {"content-type": "application/json" if whole else "text/event-stream"}
    headers |= {"retry-after": behaviour.retry_after} if behaviour.retry_after else {}
    status, body = whole or (200, {})
    return ScriptedResponse(
        script,
        call,
        status=status,
        headers=headers,
        body=_once(body) if whole or events is None else events,
        before_headers=behaviour.before_headers,
    )


async def paced(behaviour: Behaviour, pieces: Sequence[str]) -> AsyncIterator[str]:
    """The pieces up to where the behaviour wants something else; there it stalls or drops by itself."""
    for piece in pieces[: behaviour.after]:
        yield piece
        await asyncio.sleep(behaviour.between)
    if behaviour.then == "stall":
        await asyncio.Event().wait()
    if behaviour.then == "drop":
        raise ConnectionDropped


async def _once(body: dict[str, Any]) -> AsyncIterator[bytes]:
    yield json.dumps(body).encode()
