"""Headers on every response, and a nonce for the scripts of Gradio's page: no other inline script runs."""

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser posts our own forms with `Origin: null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
# Gradio compiles its templates in the browser, which needs unsafe-eval, and sets styles on elements.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'{nonce}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self' blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)")
_FOREIGN_META = re.compile(rb"<meta\s[^>]*(og:|twitter:)[^>]*/>")
_OWN = (
    b'<title>Sluice</title><link rel="stylesheet" href="/page/page.css">'
    b'<script src="/page/page.js" defer></script></head>'
)


class SecureHeaders:
    """Adds the headers; the page itself also gets our style and script, and loses the tags that point elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/" and scope["method"] == "GET":
            await self._app(_uncompressed(scope), receive, _PageSender(send))
        else:
            await self._app(scope, receive, _sender(send, policy=_POLICY.format(nonce="")))


def _sender(send: Send, *, policy: str) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS | {"Content-Security-Policy": policy})
        await send(message)

    return secured


class _PageSender:
    """Holds the page back until all of it is there, then sends it with a nonce at each inline script."""

    def __init__(self, send: Send) -> None:
        self._nonce = secrets.token_urlsafe(16)
        self._send = _sender(send, policy=_POLICY.format(nonce=f" 'nonce-{self._nonce}'"))
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = _INLINE_SCRIPT.sub(f'<script nonce="{self._nonce}"'.encode(), self._body)
        body = _FOREIGN_META.sub(b"", body).replace(b"</head>", _OWN, 1)
        headers = MutableHeaders(scope=self._start)
        headers.update({"Content-Length": str(len(body)), "Cache-Control": "no-store"})
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body})


def _uncompressed(scope: Scope) -> Scope:
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]}
