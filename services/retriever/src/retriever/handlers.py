"""Questions in, grounded questions out."""

from retriever.retrieve import Retrieve
from sluice.access import Level, Right
from sluice.broker import Broker, Delivery
from sluice.errors import AccessDeniedError, SluiceError
from sluice.messages import Passage, QuestionAsked, QuestionGrounded
from sluice.replies import CancelledByClientError, Event


def register(broker: Broker, retrieve: Retrieve, *, lane: Level, concurrency: int) -> None:
    async def on_question_asked(message: QuestionAsked, delivery: Delivery) -> None:
        if Right.READ not in delivery.passport.rights:
            raise AccessDeniedError("asking needs the right to read")
        writer = broker.replies.writer(delivery.lane, message.request_id, attempt=0)
        # The llm-router is the one that ends a cancelled question.
        try:
            await writer.append(Event("stage", {"name": "retrieving"}))
        except CancelledByClientError:
            await broker.publish(_grounded(message, []))
            return
        passages = await retrieve(message.search_query, delivery.passport.scope)
        await broker.publish(_grounded(message, passages))

    async def on_dead(message: QuestionAsked, delivery: Delivery, error: SluiceError) -> None:
        await broker.replies.fail(delivery.lane, message.request_id, error)

    broker.consume(QuestionAsked, on_question_asked, lane=lane, concurrency=concurrency, on_dead=on_dead)


def _grounded(message: QuestionAsked, passages: list[Passage]) -> QuestionGrounded:
    return message.follow(
        QuestionGrounded,
        question=message.question,
        search_query=message.search_query,
        history=message.history,
        passages=tuple(passages),
    )
