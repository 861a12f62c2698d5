"""Keeping an answer, and only then telling that it is done."""

from datetime import UTC, datetime
from typing import Any

from gateway.errors import NotFoundError
from gateway.ports import Conversations, Replies
from gateway.records import Answer, Turn
from sluice.access import Level
from sluice.errors import SluiceError
from sluice.messages import AnswerCompleted, Passage
from sluice.replies import Event


async def keep_answer(conversations: Conversations, replies: Replies, lane: Level, message: AnswerCompleted) -> None:
    """Stores the answer and ends the reply log; doing it again changes nothing."""
    turn = await conversations.complete(message.tenant, message.request_id, _answer(message), datetime.now(UTC))
    if turn is None:
        gone = NotFoundError("the conversation was deleted meanwhile")
        await replies.fail(message.tenant, lane, message.request_id, gone)
        return
    await replies.finish(turn.tenant, lane, turn.id, done_event(turn))


async def keep_failure(
    conversations: Conversations, replies: Replies, tenant: str, lane: Level, turn_id: str, error: SluiceError
) -> None:
    await conversations.fail(turn_id, error.detail)
    await replies.fail(tenant, lane, turn_id, error)


def done_event(turn: Turn) -> Event:
    return Event(
        "done",
        {
            "answer_id": turn.id,
            "tier": turn.tier,
            "finish_reason": turn.finish_reason,
            "citations": turn.citations,
            "usage": turn.usage,
        },
    )


def kept_events(turn: Turn) -> list[Event]:
    """A closed turn told again, for a client that comes when the reply log is gone."""
    if turn.answer is None:
        problem = SluiceError(turn.error or "the question was not answered").problem(turn.id)
        return [Event("error", problem)]
    return [
        Event("sources", {"passages": turn.sources}),
        Event("token", {"text": turn.answer, "attempt": 1}),
        done_event(turn),
    ]


def _answer(message: AnswerCompleted) -> Answer:
    return Answer(
        text=message.text,
        level=message.level,
        tier=message.tier,
        finish_reason=message.finish_reason,
        sources=[_source(n, passage) for n, passage in enumerate(message.passages, start=1)],
        citations=[n for n in message.citations if 1 <= n <= len(message.passages)],
        usage=message.usage.model_dump(),
    )


def _source(n: int, passage: Passage) -> dict[str, Any]:
    return {"n": n} | passage.model_dump(mode="json", exclude={"chunk_id"})
