"""Sends a scripted answer and knows when the client went away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from tests.providers.script import Call, Script


class ConnectionDropped(Exception):  # noqa: N818
    """Raised by a body that is to break off in the middle."""


class ScriptedResponse:
    """An ASGI response. Unlike Starlette's it watches for the client while nothing is being sent."""

    def __init__(
        self,
        script: Script,
        call: Call,
        *,
        status: int,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes],
        before_headers: float = 0,
    ) -> None:
        self._script = script
        self._call = call
        self._status = status
        self._headers = headers
        self._body = body
        self._before_headers = before_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        watching = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
            disconnected = not sending.done()
            if not disconnected:
                await sending
            await self._script.end(self._call, disconnected=disconnected)
        finally:
            sending.cancel()
            watching.cancel()

    async def _send(self, send: Callable[[Any], Awaitable[None]]) -> None:
        await asyncio.sleep(self._before_headers)
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        try:
            async for chunk in self._body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except ConnectionDropped:
            return  # the server closes a connection whose response was not completed
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
