"""/api/v1/chat: questions and their streamed answers."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import StringConstraints

from gateway.errors import InvalidInputError
from gateway.problems import respond
from gateway.records import Person, Turn
from gateway.routes.dependencies import Present, PresentReader, Reader, ServicesIn
from gateway.routes.keyed import Keyed, KeyedIn
from gateway.routes.schemas import Body, IdIn, IdPath, Output, Text
from gateway.routes.streaming import EVENT_STREAM, event_stream, unless_gone
from gateway.services import Services
from sluice.errors import SluiceError
from sluice.replies import Event

router = APIRouter(prefix="/api/v1/chat", tags=["chat"])
_EVENT_ID = re.compile(r"[0-9]{1,10}-[0-9]{1,19}")
_LAST_ATTEMPT = 4294967295


class QuestionIn(Body):
    question: Annotated[Text, StringConstraints(max_length=4000)]
    conversation_id: IdIn | None = None


class AnswerOut(Output):
    answer_id: str
    conversation_id: str
    answer: str
    citations: list[int]
    sources: list[dict[str, Any]]
    tier: str
    finish_reason: str
    usage: dict[str, int]


@router.post("", response_model=AnswerOut, responses=EVENT_STREAM)
async def post_question(
    body: QuestionIn,
    request: Request,
    present: PresentReader,
    services: ServicesIn,
    keyed: KeyedIn,
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Response | AnswerOut:
    """Server-sent events, or with `Accept: application/json` the whole answer at once."""
    reader = await present.now()
    turn = await _turn(request, body, reader, services, keyed)
    if "application/json" in accept and "text/event-stream" not in accept:
        return await unless_gone(request, _whole(services, present, turn, resumable=keyed.given))
    return _events(services, present, turn, None)


async def _turn(request: Request, body: QuestionIn, reader: Person, services: Services, keyed: Keyed) -> Turn:
    claim = await keyed.claim(reader, body.model_dump())
    if claim and claim.settled:
        return await services.ask.find(reader, claim.id())
    async with services.limits.room(services.limits.questions, reader.tenant.id):
        await services.rates.question(reader, request.state.standings)
        turn = await services.ask(reader, body.question, body.conversation_id, turn_id=claim.id() if claim else None)
    await keyed.settle(claim)
    return turn


@router.get("/requests/{request_id}/events", response_class=Response, responses=EVENT_STREAM)
async def get_events(
    request_id: IdPath,
    present: PresentReader,
    services: ServicesIn,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The same events again, after `Last-Event-ID`; 204 when that was the last one."""
    reader = await present.now()
    turn = await services.ask.find(reader, request_id)
    if last_event_id is not None and not _may_be_given(last_event_id):
        raise InvalidInputError("Last-Event-ID", "is not one that this stream gave")
    if Event("", id=last_event_id or "").terminal:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return _events(services, present, turn, last_event_id)


@router.delete("/requests/{request_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_request(request_id: IdPath, reader: Reader, services: ServicesIn) -> None:
    """Stops the work on a question; one that is answered already stays."""
    await services.ask.cancel(reader, request_id)


def _may_be_given(event_id: str) -> bool:
    """Whether a stream can have given the id: the terminal event has the highest of all."""
    return bool(_EVENT_ID.fullmatch(event_id)) and int(event_id.partition("-")[0]) <= _LAST_ATTEMPT


def _events(services: Services, present: Present[Person], turn: Turn, after: str | None) -> Response:
    present.require(lambda reader: services.still_readable(reader, turn))
    events = _while_allowed(services, present, turn, services.listen.stream(turn, after))
    return event_stream(events, services.settings.heartbeat_seconds)


async def _while_allowed(
    services: Services, present: Present[Person], turn: Turn, events: AsyncGenerator[Event]
) -> AsyncGenerator[Event]:
    """The events, until the reader may not have them any more. A silent stream tells nothing and ends at its next."""
    async with aclosing(events):
        async for event in events:
            try:
                reader = await present.now()
                if event.name == "sources":
                    passages = event.data.get("passages", ())
                    await services.ask.disclose.check_sources(reader, [passage["document_id"] for passage in passages])
            except SluiceError as error:
                yield Event("error", error.problem(turn.id))
                return
            yield event


async def _whole(services: Services, present: Present[Person], turn: Turn, *, resumable: bool) -> Response | AnswerOut:
    event = await services.listen.whole(turn, resumable=resumable)
    if event.name == "error":
        return respond(event.data)
    kept = await services.ask.find(await present.anew(), turn.id)
    return AnswerOut.model_validate(
        {name: getattr(kept, name) for name in AnswerOut.model_fields if name != "answer_id"} | {"answer_id": kept.id}
    )
