"""A server that sends tokens as event streams as fast as it can: what the clients can take, and nothing else."""

import asyncio
import sys
import time

from benchmarks.children import tell_parent, told

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


async def serve(tokens: int) -> None:
    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + _chunk('event: accepted\ndata: {"request_id": "r"}\n\n'))
        await begin.wait()
        for number in range(tokens):
            text = f'{{"text": "{number}@{time.monotonic():.4f} ", "attempt": 1}}'
            writer.write(_chunk(f"id: 1-{number}\nevent: token\ndata: {text}\n\n"))
            if number % 20 == 0:
                await writer.drain()
        writer.write(_chunk("event: done\ndata: {}\n\n"))
        await writer.drain()

    begin = asyncio.Event()
    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    tell_parent(server.sockets[0].getsockname()[1])
    while await told() is not None:
        begin.set()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
