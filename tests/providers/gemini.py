"""The wire of Gemini's API."""

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.providers.answers import pieces_of, vector
from tests.providers.behaviour import Behaviour
from tests.providers.script import Script
from tests.providers.serving import failure_of, paced, respond, take

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "refused": "SAFETY", "other": "MALFORMED_RESPONSE"}


def routes(script: Script) -> list[Route]:
    async def generate(request: Request) -> Any:
        model, _, method = request.path_params["call"].partition(":")
        if method == "batchEmbedContents":
            return await _embed(script, request, model)
        call = await take(script, request, model, "stream" if method.startswith("stream") else "whole", _text)
        behaviour = script.next(model)
        if not request.headers.get("x-goog-api-key"):
            behaviour = Behaviour(status=403)
        failure = failure_of(behaviour, _error(behaviour))
        if call.kind == "whole" and failure is None:
            text = "".join(pieces_of(behaviour, call.text))
            failure = 200, _chunk(model, text, finish=_FINISH[behaviour.finish_reason])
        return respond(script, call, behaviour, failure, _events(model, behaviour, call.text))

    return [Route("/v1beta/models/{call:path}", generate, methods=["POST"])]


async def _embed(script: Script, request: Request, model: str) -> Any:
    call = await take(script, request, model, "embeddings", lambda body: "")
    behaviour = script.next(model)
    if failure := failure_of(behaviour, _error(behaviour)):
        return respond(script, call, behaviour, failure)
    vectors = [
        {"values": vector(_joined(entry["content"]["parts"]), entry.get("outputDimensionality") or 3072)}
        for entry in call.body["requests"]
    ]
    await script.end(call, disconnected=False)
    return JSONResponse({"embeddings": vectors})


async def _events(model: str, behaviour: Behaviour, prompt: str) -> AsyncIterator[bytes]:
    if behaviour.blocked:
        yield _event({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}})
        return
    sent = 0
    async for piece in paced(behaviour, pieces_of(behaviour, prompt)):
        sent += 1
        yield _event(_chunk(model, piece, tokens=sent))
    if behaviour.then == "finish":
        yield _event(_chunk(model, "", finish=_FINISH[behaviour.finish_reason], tokens=sent))
    elif behaviour.then == "error":
        yield _event(_error(Behaviour(status=503)))
    elif behaviour.then == "bare-error":
        yield _event({"error": {"message": "something went wrong"}})
    elif behaviour.then == "garbage":
        yield b"data: {this is no JSON\r\n\r\n"


def _chunk(model: str, text: str, *, finish: str | None = None, tokens: int = 1) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}] if text else [], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 9, "candidatesTokenCount": tokens, "totalTokenCount": 9 + tokens}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "loopback"}


def _error(behaviour: Behaviour) -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if behaviour.reason:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": behaviour.reason})
    if behaviour.status == 429:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"})
    status = _STATUS.get(behaviour.status, "UNKNOWN")
    error = {"code": behaviour.status, "message": "scripted", "status": status, "details": details}
    return {"error": error}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\r\n\r\n".encode()


def _text(body: dict[str, Any]) -> str:
    return _joined(body["contents"][-1]["parts"])


def _joined(parts: list[dict[str, Any]]) -> str:
    return "".join(part.get("text", "") for part in parts)
