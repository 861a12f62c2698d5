"""What stands before Gradio: only the paths that the page uses, only for those signed in, only their own sessions."""

import asyncio
import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_frontend.sessions import Session, SessionSeal

_OPEN = re.compile(
    r"/(login(/(with|oidc)/[a-z0-9-]+)?|logout|link|forgotten|sign-up|operator(/leaks)?|healthz|readyz|metrics|page/[a-z.]+"
    r"|robots\.txt|favicon\.ico)"
)
# Gradio serves much more: file=, proxy=, config, info, call, run, monitoring. The page needs none of it.
_USED = re.compile(
    r"/|/documents|/manifest\.json|/theme\.css|/(assets|static)/(?!.*\.\.)[\w./-]+"
    r"|/gradio_api/(queue/join|queue/data|cancel|reset|heartbeat/[\w-]+|startup-events|theme\.css)"
)
_HEARTBEAT = "/gradio_api/heartbeat/"
_NAMES_SESSION_IN_BODY = ("/gradio_api/queue/join", "/gradio_api/cancel")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_MAX_EVENT_BYTES = 1_000_000


class OriginCheck:
    """Refuses a change that another site asks for. What sends neither header is no browser."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and _is_foreign(Headers(scope=scope)):
            await _refusal(403, "This request came from another site.")(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Guard:
    """Lets through what the page uses, for a session that opens, under session hashes that belong to it alone."""

    def __init__(self, app: ASGIApp, *, seal: SessionSeal, closing: asyncio.Event) -> None:
        self._app = app
        self._seal = seal
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and _OPEN.fullmatch(scope["path"])):
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not _USED.fullmatch(scope["path"]):
            await _refusal(404, "Not found.")(scope, receive, send)
        elif session := self._seal.open(Request(scope).cookies):
            await self._enter(session, scope, receive, send)
        elif scope["path"] == "/":
            await RedirectResponse("/login", status_code=303)(scope, receive, send)
        else:
            await _refusal(401, "Sign in again.")(scope, receive, send)

    async def _enter(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope, receive = await _bind(session, scope, receive)
        except ValueError as error:
            await _refusal(400, str(error))(scope, receive, send)
            return
        if scope["path"].startswith(_HEARTBEAT):
            receive = _until(self._closing, receive)
        await self._app(scope, receive, send)


def _until(closing: asyncio.Event, receive: Receive) -> Receive:
    """As if the tab were closed once the page stops: an open heartbeat would hold it up for the whole grace period."""

    async def receive_or_leave() -> Message:
        received, closed = asyncio.ensure_future(receive()), asyncio.ensure_future(closing.wait())
        try:
            await asyncio.wait([received, closed], return_when=asyncio.FIRST_COMPLETED)
            return {"type": "http.disconnect"} if closing.is_set() else await received
        finally:
            received.cancel()
            closed.cancel()

    return receive_or_leave


async def _bind(session: Session, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """Put the session's id before every session hash: a hash that somebody else knows names nothing for them."""
    path: str = scope["path"]
    if path.startswith(_HEARTBEAT):
        path = _HEARTBEAT + _own(session, path.removeprefix(_HEARTBEAT))
        return {**scope, "path": path, "raw_path": path.encode()}, receive
    query = [
        (name, value) for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    ]
    query = [(name, _own(session, value) if name == "session_hash" else value) for name, value in query]
    scope = {**scope, "query_string": urlencode(query).encode()}
    if path in _NAMES_SESSION_IN_BODY:
        return await _bind_body(session, scope, receive)
    return scope, receive


async def _bind_body(session: Session, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    event: Any = json.loads(await _read(Request(scope, receive)))
    if not isinstance(event, dict) or not isinstance(event.get("session_hash"), str):  # pyright: ignore[reportUnknownMemberType]
        raise ValueError("An event needs a session hash.")
    event["session_hash"] = _own(session, event["session_hash"])  # pyright: ignore[reportUnknownArgumentType]
    body = json.dumps(event).encode()
    scope = {**scope, "headers": list(scope["headers"])}
    headers = MutableHeaders(scope=scope)
    headers["content-length"] = str(len(body))
    del headers["transfer-encoding"]
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return scope, replay


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_EVENT_BYTES:
            raise ValueError("The event is too large.")
    return bytes(body)


def _own(session: Session, session_hash: str) -> str:
    return f"{session.id}-{session_hash}"


def _is_foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return True
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=status, headers={"Cache-Control": "no-store"})
