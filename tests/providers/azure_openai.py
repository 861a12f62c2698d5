"""The wire of Azure OpenAI."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.providers.answers import pieces_of, vector
from tests.providers.behaviour import Behaviour
from tests.providers.script import Script
from tests.providers.serving import failure_of, paced, respond, take

_FINISH = {"stop": "stop", "length": "length", "refused": "content_filter", "other": "function_call"}
_CODES = {401: "401", 404: "DeploymentNotFound", 429: "RateLimitReached"}


def routes(script: Script) -> list[Route]:
    async def complete(request: Request) -> Any:
        model = request.path_params["deployment"]
        kind = "stream" if (await request.json()).get("stream") else "whole"
        call = await take(script, request, model, kind, lambda body: body["messages"][-1]["content"])
        behaviour = _checked(request, script.next(model))
        failure = failure_of(behaviour, _error(behaviour))
        if kind == "whole" and failure is None:
            failure = 200, _whole(model, "".join(pieces_of(behaviour, call.text)), behaviour)
        options: dict[str, Any] = call.body.get("stream_options") or {}
        usage = bool(options.get("include_usage"))
        return respond(script, call, behaviour, failure, _events(model, behaviour, call.text, usage=usage))

    async def embed(request: Request) -> Any:
        model = request.path_params["deployment"]
        call = await take(script, request, model, "embeddings", lambda body: "")
        behaviour = _checked(request, script.next(model))
        if failure := failure_of(behaviour, _error(behaviour)):
            return respond(script, call, behaviour, failure)
        await script.end(call, disconnected=False)
        return JSONResponse(_embeddings(model, call.body))

    prefix = "/openai/deployments/{deployment}"
    return [
        Route(f"{prefix}/chat/completions", complete, methods=["POST"]),
        Route(f"{prefix}/embeddings", embed, methods=["POST"]),
    ]


def _checked(request: Request, behaviour: Behaviour) -> Behaviour:
    """As Azure does: no key, no answer; no version of the API, no such page."""
    if not request.headers.get("api-key"):
        return Behaviour(status=401)
    if "api-version" not in request.query_params:
        return Behaviour(status=404)
    return Behaviour(status=400, reason="content_filter") if behaviour.blocked else behaviour


async def _events(model: str, behaviour: Behaviour, prompt: str, *, usage: bool) -> AsyncIterator[bytes]:
    yield _event({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []})
    yield _event(_chunk(model, {"role": "assistant", "content": ""}))
    sent = 0
    async for piece in paced(behaviour, pieces_of(behaviour, prompt)):
        sent += 1
        yield _event(_chunk(model, {"content": piece}))
    if behaviour.then == "error":
        yield _event(_error(Behaviour(status=503)))
    elif behaviour.then == "bare-error":
        yield _event({"error": "something went wrong"})
    elif behaviour.then == "garbage":
        yield b"data: {this is no JSON\n\n"
    elif behaviour.then == "finish":
        yield _event(_chunk(model, {}, _FINISH[behaviour.finish_reason]))
        if usage:
            yield _event({**_chunk(model, {}), "choices": [], "usage": _usage(sent)})
        yield b"data: [DONE]\n\n"


def _chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "loopback", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def _whole(model: str, text: str, behaviour: Behaviour) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": _FINISH[behaviour.finish_reason], "logprobs": None}
    fixed = {"id": "loopback", "object": "chat.completion", "created": 1, "model": model}
    return {**fixed, "choices": [choice], "usage": _usage(len(text.split()))}


def _embeddings(model: str, body: dict[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    vectors = [vector(text, body.get("dimensions") or 1536) for text in texts]
    encoded = [_base64(values) if body.get("encoding_format") == "base64" else values for values in vectors]
    data = [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(encoded)]
    return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}


def _error(behaviour: Behaviour) -> dict[str, Any]:
    code = behaviour.reason or _CODES.get(behaviour.status, str(behaviour.status))
    return {"error": {"code": code, "message": "scripted", "status": behaviour.status}}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
