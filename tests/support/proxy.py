"""A small TCP proxy before a server: it can lose the reply to a request that the server has done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_BLOCK = 65_536


class Proxy:
    """`lose(part)` loses the next reply to a request with these bytes in it: the connection breaks instead.

    A reply that says NOSCRIPT is let through, since nothing was done yet.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.lost = 0
        self._target = port
        self._losing: list[bytes] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lose(self, part: bytes, times: int = 1) -> None:
        self._losing += [part] * times

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server: asyncio.StreamWriter | None = None
        asked: list[bytes] = []
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            forward = asyncio.create_task(self._requests(reader, to_server, asked))
            await self._replies(from_server, writer, asked)
            forward.cancel()
        except OSError:
            pass
        finally:
            for stream in (writer, to_server):
                if stream is not None:
                    stream.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]) -> None:
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                asked[:] = [part for part in self._losing if part in block]
                writer.write(block)
                await writer.drain()
            writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]) -> None:
        while block := await reader.read(_BLOCK):
            if asked and asked[0] in self._losing and not block.startswith(b"-NOSCRIPT"):
                self._losing.remove(asked[0])
                self.lost += 1
                return
            writer.write(block)
            await writer.drain()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before the loopback port, on a free port of its own."""
    made = Proxy(port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
