"""The page of operators, who are no people: their token comes with each request, and is kept nowhere."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import ChatEvent, LeakReport, Problem
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.operator import OPERATOR_PAGE, render_report
from sluice_frontend.rendering.text import alert

_TOKEN = re.compile(r"[\x21-\x7e]{1,500}")
_WRONG = "This is not the operators' token. It stands in keys/operator.token of the state folder."
_JSON_LINES = "application/x-ndjson"
_NO_STORE = {"Cache-Control": "no-store"}


def create_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/operator")
    async def show_page() -> Response:
        return HTMLResponse(OPERATOR_PAGE, headers=_NO_STORE)

    @router.post("/operator/leaks")
    async def find_leaks(request: Request) -> Response:
        """JSON lines: `status` is what happens now, `html` what came of it. Leaving ends the self-test."""
        form = await request.form(max_files=0, max_fields=1)
        stack = AsyncExitStack()
        try:
            events = await stack.enter_async_context(gateway.find_leaks(_token(str(form.get("token", "")))))
        except GatewayError as error:
            return _refusal(error.problem)
        return _Lines(events, stack)

    return router


class _Lines(StreamingResponse):
    """Lets go of the gateway when it is over, also when nobody listened to its beginning."""

    def __init__(self, events: AsyncIterator[ChatEvent], stack: AsyncExitStack) -> None:
        super().__init__(_lines(events), media_type=_JSON_LINES, headers=_NO_STORE)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


def _token(text: str) -> str:
    """Raises GatewayError: no token looks like this."""
    if not _TOKEN.fullmatch(text.strip()):
        raise GatewayError(Problem(title="Wrong token", status=401, detail=_WRONG))
    return text.strip()


def _refusal(problem: Problem) -> Response:
    lines = [_WRONG] if problem.status == 401 else problem.lines
    return Response(
        _line("Nothing was looked for.", alert(lines)),
        status_code=problem.status,
        media_type=_JSON_LINES,
        headers=_NO_STORE,
    )


async def _lines(events: AsyncIterator[ChatEvent]) -> AsyncIterator[str]:
    yield _line("Looking for leaks: about a minute…", "")
    try:
        async for event in events:
            yield _shown(event)
            if event.name in ("report", "error"):
                return
    except GatewayError as error:
        yield _line("Broken off.", alert(error.problem.lines))
    else:
        yield _line("Broken off.", alert(["The self-test ended before its report did."]))


def _shown(event: ChatEvent) -> str:
    if event.name == "progress":
        return _line(f"Looking for leaks: {event.data.get('line', '')}", "")
    try:
        if event.name == "report":
            return _line("Done.", render_report(LeakReport.model_validate(event.data)))
        return _line("Broken off.", alert(Problem.model_validate(event.data).lines))
    except ValidationError:
        return _line("Broken off.", alert(["The gateway answered in a shape that this page does not know."]))


def _line(status: str, html: str) -> str:
    return json.dumps({"status": status, "html": html}, ensure_ascii=False) + "\n"
