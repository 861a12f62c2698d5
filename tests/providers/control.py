"""The provider's script over HTTP, for tests of whole processes."""

from collections.abc import Sequence
from typing import Any

import httpx2
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.providers.behaviour import Behaviour
from tests.providers.script import Call, Script

_BEHAVIOURS = TypeAdapter(list[Behaviour])
_CALLS = TypeAdapter(list[Call])


def routes(script: Script) -> list[Route]:
    async def behave(request: Request) -> Response:
        script.behave(request.path_params["model"], *_BEHAVIOURS.validate_json(await request.body()))
        return Response(status_code=204)

    async def calls(_: Request) -> Response:
        return Response(_CALLS.dump_json(script.calls), media_type="application/json")

    async def reset(_: Request) -> Response:
        script.reset()
        return Response(status_code=204)

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    return [
        Route("/control/models/{model:path}", behave, methods=["PUT"]),
        Route("/control/calls", calls, methods=["GET"]),
        Route("/control", reset, methods=["DELETE"]),
        Route("/healthz", healthz),
    ]


class RemoteScript:
    """Drives a provider that runs as a process of its own (`python -m tests.providers --port N`)."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx2.Client(base_url=base_url, trust_env=False)

    def behave(self, model: str, *behaviours: Behaviour) -> None:
        body = _BEHAVIOURS.dump_json(list(behaviours))
        self._http.put(f"/control/models/{model}", content=body).raise_for_status()

    def reset(self) -> None:
        self._http.delete("/control").raise_for_status()

    def calls(self) -> Sequence[Call]:
        return _CALLS.validate_json(self._http.get("/control/calls").raise_for_status().content)

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls() if call.model == model]

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "RemoteScript":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
