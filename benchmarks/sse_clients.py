"""A process with many clients of server-sent events, over real HTTP, that looks at every token's number and time."""

import asyncio
import json
import re
import sys
import time
from typing import Any

import uvloop

from benchmarks.children import tell_parent, told
from benchmarks.figures import percentile

_TOKEN = re.compile(rb"(\d+)@([\d.]+) ")
_REQUEST = re.compile(rb'"request_id": ?"([^"]+)"')
_OPENING_AT_ONCE = 8
_ATTEMPTS = 20


class RefusedError(Exception):
    """The server's answer was no event stream."""


class Client(asyncio.Protocol):
    """One stream: its tokens must be 0, 1, 2, ... and then it must end."""

    def __init__(self, request: bytes, delays: list[float]) -> None:
        self._request = request
        self._delays = delays
        self._rest = b""
        self._transport: Any = None
        self.next = 0
        self.wrong = 0
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        complete, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        if not end:
            return
        now = time.monotonic()
        if not self.accepted.done():
            self._accept(complete)
        for number, due in _TOKEN.findall(complete):
            self.wrong += int(number) != self.next
            self.next = int(number) + 1
            self._delays.append(now - float(due))
        if b"event: done" in complete:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(RefusedError(repr(self._rest)))
        if not self.ended.done():
            self.ended.set_result(None)

    def _accept(self, received: bytes) -> None:
        found = _REQUEST.search(received)
        if not received.startswith(b"HTTP/1.1 200") or found is None:
            self.accepted.set_exception(RefusedError(repr(received)))
        else:
            self.accepted.set_result(found[1].decode())


class Clients:
    def __init__(self) -> None:
        self._clients: list[Client] = []
        self._delays: list[float] = []

    async def open(self, port: int, requests: list[str]) -> list[str]:
        """Opens a stream for each request; the ids of what they asked."""
        self._delays.clear()
        places = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def one(request: str) -> Client:
            async with places:
                loop = asyncio.get_running_loop()
                make = lambda: Client(request.encode(), self._delays)  # noqa: E731
                for attempt in range(_ATTEMPTS):
                    _, client = await loop.create_connection(make, "127.0.0.1", port)
                    try:
                        await client.accepted
                        return client
                    except RefusedError:  # as a busy gateway may: a client comes again
                        if attempt == _ATTEMPTS - 1:
                            raise
                        await asyncio.sleep(1)
                raise AssertionError

        self._clients = await asyncio.gather(*[one(request) for request in requests])
        return [client.accepted.result() for client in self._clients]

    async def finish(self, expected: int, began: float) -> dict[str, float]:
        """Waits for all ends. A stream is exact if it had each token once, in order; they were due after `began`."""
        await asyncio.wait([client.ended for client in self._clients], timeout=60)
        exact = sum(client.next == expected and not client.wrong for client in self._clients)
        delays = sorted(delay - began for delay in self._delays)
        shares = {f"p{share}_ms": percentile(delays, share / 100) * 1000 for share in (50, 95, 99)} if delays else {}
        return {"exact": exact, "tokens": len(delays), **shares}


async def serve() -> None:
    clients = Clients()
    tell_parent()
    while (order := await told()) is not None:
        what, value = order
        tell_parent(await (clients.open(**value) if what == "open" else clients.finish(**value)))


def post(port: int, path: str, token: str, body: Any) -> str:
    """A request as it goes over the wire."""
    content = json.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    )


if __name__ == "__main__":
    uvloop.run(serve())
    sys.exit(0)
