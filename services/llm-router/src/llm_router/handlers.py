"""Follow-ups in, questions that stand alone out; grounded questions in, answers out."""

import logging
import time
from datetime import UTC, datetime

from llm_router.answer import Answer, Answered
from llm_router.follow_up import FollowUp
from llm_router.ports import Inquiry
from llm_router.prompt import PROMPT_VERSION
from sluice.access import Level, Right
from sluice.broker import Broker, Delivery
from sluice.errors import AccessDeniedError, SluiceError
from sluice.messages import AnswerCompleted, Message, QuestionAsked, QuestionFollowedUp, QuestionGrounded

logger = logging.getLogger(__name__)


def register(broker: Broker, answer: Answer, follow_up: FollowUp, *, lane: Level, concurrency: int) -> None:
    async def on_question_followed_up(message: QuestionFollowedUp, delivery: Delivery) -> None:
        _check_right(delivery)
        search_query = await follow_up(message.question, message.history)
        asked = message.follow(
            QuestionAsked, question=message.question, search_query=search_query, history=message.history
        )
        await broker.publish(asked)

    async def on_question_grounded(message: QuestionGrounded, delivery: Delivery) -> None:
        _check_right(delivery)
        if await broker.replies.finished(delivery.lane, message.request_id):
            return
        begun = time.monotonic()
        inquiry = _inquiry(message, delivery)
        tenant, attempt = delivery.passport.tenant, message.attempt_of(delivery.attempt)
        writer = broker.replies.writer(tenant, delivery.lane, message.request_id, attempt, sole=True)
        answered = await answer(inquiry, writer, deadline=_monotonic(message.deadline), delivery=attempt)
        await broker.publish(_completed(message, answered))
        _log(answered, time.monotonic() - begun)

    async def on_dead(message: Message, delivery: Delivery, error: SluiceError) -> None:
        await broker.replies.fail(delivery.passport.tenant, delivery.lane, message.request_id, error)

    broker.consume(QuestionFollowedUp, on_question_followed_up, lane=lane, concurrency=concurrency, on_dead=on_dead)
    broker.consume(QuestionGrounded, on_question_grounded, lane=lane, concurrency=concurrency, on_dead=on_dead)


def _check_right(delivery: Delivery) -> None:
    if Right.READ not in delivery.passport.rights:
        raise AccessDeniedError("asking needs the right to read")


def _inquiry(message: QuestionGrounded, delivery: Delivery) -> Inquiry:
    """Raises AccessDeniedError for a passage above the asker's clearance: it must reach neither them nor a provider."""
    for passage in message.passages:
        delivery.passport.scope.at(passage.access_level)
    return Inquiry(message.question, message.search_query, message.history, message.passages, message.restoring)


def _monotonic(deadline: datetime) -> float:
    return time.monotonic() + (deadline - datetime.now(UTC)).total_seconds()


def _completed(message: QuestionGrounded, answered: Answered) -> AnswerCompleted:
    return message.follow(
        AnswerCompleted,
        question=message.question,
        text=answered.text,
        tier=answered.tier,
        finish_reason=answered.finish_reason,
        level=_level(message),
        passages=message.passages,
        citations=answered.citations,
        usage=answered.usage,
    )


def _level(message: QuestionGrounded) -> Level:
    """The highest level of what the answer rests on: the passages and the earlier turns."""
    levels = [*(passage.access_level for passage in message.passages), *(turn.level for turn in message.history)]
    return max(levels, default=Level.EXTERNAL)


def _log(answered: Answered, seconds: float) -> None:
    values = {"tier": answered.tier, "finish_reason": answered.finish_reason, "citations": len(answered.citations)}
    values |= {"seconds": round(seconds, 3), "prompt": PROMPT_VERSION, **answered.usage.model_dump()}
    logger.info("question.answered", extra=values)
