"""Around every request: its id, its log line, its count, secure headers, a limit, an answer when all else fails."""

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import problem, respond
from gateway.rates import header_fields
from gateway.tokens import new_id
from sluice.telemetry import log_context
from sluice.tracing import Tracing, note

logger = logging.getLogger(__name__)
_REQUESTS = Counter("sluice_http_requests_total", "HTTP requests by route and status.", ["method", "route", "status"])
_SECONDS = Histogram("sluice_http_request_seconds", "Time to the first byte of the answer.", ["route"])
_PROBES = ("/healthz", "/readyz", "/metrics")  # asked every few seconds, and part of no request
_TOO_LARGE = "the request is larger than it may be"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class RequestContext:
    """The outermost layer; pure ASGI, so that a client that goes away is noticed by what is inside."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, send)
        with log_context(request_id=request.id), self._traced(scope):
            try:
                await self._app(scope, receive, request.send)
            except Exception as error:
                logger.exception("http.failed", exc_info=error)
                await request.fail(receive)
            finally:
                request.count()

    def _traced(self, scope: Scope) -> AbstractContextManager[object]:
        if scope["path"] in _PROBES:
            return nullcontext()
        return self._tracing.serving(Headers(scope=scope).get("traceparent"), scope["method"])


class BodyLimit:
    """Refuses a body that is, or grows, larger than its path may have: 413."""

    def __init__(self, app: ASGIApp, *, least: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._least = least
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._least)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            body = problem(scope["state"]["request_id"], HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            await respond(body)(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return counted


class _Request:
    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = new_id()
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._first_byte: float | None = None
        self._status = 499  # as nginx counts a client that left before its answer
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = self.id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._first_byte = time.perf_counter() - self._began
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.update(header_fields(self._scope["state"].get("standings", ())))
        await self._send(message)

    async def fail(self, receive: Receive) -> None:
        if self._first_byte is None:
            body = problem(self.id, HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; it has been logged")
            await respond(body)(self._scope, receive, self.send)

    def count(self) -> None:
        route = getattr(self._scope.get("route"), "path", "(none)")
        method = self._scope["method"]
        _REQUESTS.labels(method, route, self._status).inc()
        if self._first_byte is not None:
            _SECONDS.labels(route).observe(self._first_byte)
        extra = {"method": method, "route": route, "status": self._status}
        extra |= {
            "ms": round((time.perf_counter() - self._began) * 1000),
            "tenant": self._scope["state"].get("tenant", ""),
        }
        logger.info("http.request", extra=extra)
        self._trace(method, route)

    def _trace(self, method: str, route: str) -> None:
        """The route and never the path, which may hold an address or a name."""
        values = {"http.request.method": method, "http.route": route, "http.response.status_code": self._status}
        note({**values, "sluice.request_id": self.id}, name=f"{method} {route}", failed=self._status >= 500)
