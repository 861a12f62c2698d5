"""/api/v1/chat/conversations and feedback: what a person asked before. Only ever their own."""

from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from gateway.errors import NotFoundError
from gateway.records import Conversation, Person
from gateway.routes.dependencies import Reader, ServicesIn
from gateway.routes.schemas import Body, IdPath, Listing, Output, PageIn, Text, listing
from gateway.services import Services
from sluice.access import Level

router = APIRouter(prefix="/api/v1/chat", tags=["chat"])


class ConversationOut(Output):
    id: str
    title: str = Field(description="Empty when it is withheld.")
    title_withheld: bool
    created_at: datetime
    updated_at: datetime


class RatingOut(Output):
    verdict: str
    reason: str | None
    comment: str | None


class TurnOut(Output):
    id: str
    question: str
    answer: str | None
    level: Level
    tier: str | None
    finish_reason: str | None
    sources: list[dict[str, Any]]
    citations: list[int]
    created_at: datetime
    answered_at: datetime | None
    error: str | None
    feedback: RatingOut | None = None


class WithheldOut(Output):
    """A turn that is above the clearance that the person has now."""

    id: str
    created_at: datetime
    withheld: str = Field(description="The reason.")


class ConversationWithTurns(ConversationOut):
    turns: list[TurnOut | WithheldOut]
    withheld: int = Field(description="How many of the turns are withheld.")


class Rename(Body):
    title: Annotated[Text, StringConstraints(max_length=200)]


class FeedbackIn(Body):
    verdict: Literal["up", "down"]
    reason: Annotated[Text, StringConstraints(max_length=100)] | None = None
    comment: Annotated[Text, StringConstraints(max_length=2000)] | None = None


@router.get("/conversations")
async def get_conversations(reader: Reader, services: ServicesIn, page: PageIn) -> Listing[ConversationOut]:
    rows = await services.conversations.page(reader.id, page)
    return listing(rows, page, lambda row: _out(reader, row), lambda row: (row.updated_at, row.id))


@router.get("/conversations/{conversation_id}")
async def get_conversation(conversation_id: IdPath, reader: Reader, services: ServicesIn) -> ConversationWithTurns:
    conversation = await _find(services, reader, conversation_id)
    turns = await services.conversations.turns(conversation.id)
    ratings = await services.conversations.ratings(conversation.id)
    withheld = await services.ask.disclose.withheld(reader.tenant.id, reader.clearance, turns)
    shown = [
        WithheldOut(id=turn.id, created_at=turn.created_at, withheld=withheld[turn.id])
        if turn.id in withheld
        else TurnOut.model_validate(asdict(turn) | {"feedback": ratings.get(turn.id)})
        for turn in turns
    ]
    return ConversationWithTurns(**_out(reader, conversation).model_dump(), turns=shown, withheld=len(withheld))


@router.patch("/conversations/{conversation_id}")
async def patch_conversation(
    conversation_id: IdPath, body: Rename, reader: Reader, services: ServicesIn
) -> ConversationOut:
    conversation = await _find(services, reader, conversation_id)
    await services.conversations.rename(conversation.id, body.title, reader.clearance)
    return _out(reader, await _find(services, reader, conversation_id))


@router.delete("/conversations/{conversation_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_conversation(conversation_id: IdPath, reader: Reader, services: ServicesIn) -> None:
    conversation = await _find(services, reader, conversation_id)
    await services.conversations.remove(conversation.id)


@router.post("/answers/{answer_id}/feedback", status_code=HTTPStatus.NO_CONTENT)
async def post_feedback(answer_id: IdPath, body: FeedbackIn, reader: Reader, services: ServicesIn) -> None:
    """A verdict replaces the one before."""
    turn = await services.ask.find(reader, answer_id)
    await services.conversations.rate(turn.id, **body.model_dump(), at=datetime.now(UTC))


def _out(reader: Person, conversation: Conversation) -> ConversationOut:
    withheld = reader.clearance < conversation.title_level
    named = {name: getattr(conversation, name) for name in ("id", "created_at", "updated_at")}
    return ConversationOut(title="" if withheld else conversation.title, title_withheld=withheld, **named)


async def _find(services: Services, reader: Person, conversation_id: str) -> Conversation:
    conversation = await services.conversations.find(reader.id, conversation_id)
    if conversation is None:
        raise NotFoundError("there is no such conversation")
    return conversation
