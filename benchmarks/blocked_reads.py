"""The baseline of `streams`: a blocked XREAD for each open stream, straight from redis-py, behind uvicorn too.

It opens what it reads as the gateway does.
"""

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.token_writer import LANE, TENANT, keyring_of
from sluice.following import LogEntry
from sluice.replies import RequestLog


def create_app(url: str, state: Path) -> Starlette:
    redis: Any = Redis.from_url(url, max_connections=10_000)
    keyring = keyring_of(state)

    async def events(request_id: str) -> AsyncGenerator[str]:
        log, last = RequestLog(TENANT, LANE, request_id, keyring), "0-0"
        yield f"event: accepted\ndata: {json.dumps({'request_id': request_id})}\n\n"
        while True:
            read = await redis.xread({log.key: last}, block=1000)
            for entry_id, fields in read[0][1] if read else ():
                last = entry_id.decode()
                event = log.open(LogEntry.of(entry_id, fields))
                yield f"id: {last}\nevent: {event.name}\ndata: {event.json}\n\n"
                if event.name == "done":
                    return

    async def post_events(request: Request) -> StreamingResponse:
        asked = await request.json()
        return StreamingResponse(events(asked["request_id"]), media_type="text/event-stream")

    async def readyz(_: Request) -> StreamingResponse:
        return StreamingResponse(iter(()))

    return Starlette(routes=[Route("/events", post_events, methods=["POST"]), Route("/readyz", readyz)])


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1], Path(sys.argv[3])), port=int(sys.argv[2]), log_config=None, access_log=False)
