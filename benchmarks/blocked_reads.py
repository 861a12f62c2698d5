"""The baseline of `streams`: a blocked XREAD for each open stream, straight from redis-py, behind uvicorn too."""

import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.token_writer import LANE


def create_app(url: str) -> Starlette:
    redis: Any = Redis.from_url(url, max_connections=10_000)

    async def events(request_id: str) -> AsyncGenerator[str]:
        key, last = f"reply:{{{LANE.lower()}:{request_id}}}", "0-0"
        yield f"event: accepted\ndata: {json.dumps({'request_id': request_id})}\n\n"
        while True:
            read = await redis.xread({key: last}, block=1000)
            for entry_id, fields in read[0][1] if read else ():
                last = entry_id.decode()
                name = fields[b"event"].decode()
                yield f"id: {last}\nevent: {name}\ndata: {fields[b'data'].decode()}\n\n"
                if name == "done":
                    return

    async def post_events(request: Request) -> StreamingResponse:
        asked = await request.json()
        return StreamingResponse(events(asked["request_id"]), media_type="text/event-stream")

    async def readyz(_: Request) -> StreamingResponse:
        return StreamingResponse(iter(()))

    return Starlette(routes=[Route("/events", post_events, methods=["POST"]), Route("/readyz", readyz)])


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), port=int(sys.argv[2]), log_config=None, access_log=False)
