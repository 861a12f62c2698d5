"""Questions in, grounded questions out."""

from retriever.retrieve import Retrieve
from sluice.access import Level, Right, digest
from sluice.broker import Broker, Delivery
from sluice.errors import AccessDeniedError, SluiceError
from sluice.index import Found
from sluice.messages import QuestionAsked, QuestionGrounded, RetrievalRecorded, Retrieved
from sluice.replies import CancelledByClientError, Event

_PATIENT_ATTEMPTS = 2
"""A server that is started again is back by then; one that is away for longer is done without."""


def register(broker: Broker, retrieve: Retrieve, *, lane: Level, concurrency: int) -> None:
    async def on_question_asked(message: QuestionAsked, delivery: Delivery) -> None:
        if Right.READ not in delivery.passport.rights:
            raise AccessDeniedError("asking needs the right to read")
        tenant, attempt = delivery.passport.tenant, message.attempt_of(0)
        writer = broker.replies.writer(tenant, delivery.lane, message.request_id, attempt)
        # The llm-router is the one that ends a cancelled question.
        try:
            await writer.append(Event("stage", {"name": "retrieving"}))
        except CancelledByClientError:
            await broker.publish(_grounded(message, Found([])))
            return
        do_without = delivery.attempt > _PATIENT_ATTEMPTS
        found = await retrieve(message.search_query, delivery.passport.scope, do_without=do_without)
        await broker.publish(_recorded(message, found))  # before it is given to anybody
        await broker.publish(_grounded(message, found))

    async def on_dead(message: QuestionAsked, delivery: Delivery, error: SluiceError) -> None:
        await broker.replies.fail(delivery.passport.tenant, delivery.lane, message.request_id, error)

    broker.consume(QuestionAsked, on_question_asked, lane=lane, concurrency=concurrency, on_dead=on_dead)


def _recorded(message: QuestionAsked, found: Found) -> RetrievalRecorded:
    """One a request and result: an attempt that found something else is told too."""
    passages = tuple(
        Retrieved(passage_id=p.chunk_id, document_id=p.document_id, access_level=p.access_level, fix=p.fix)
        for p in found.passages
    )
    step = digest([*found.collections, *(passage.passage_id for passage in passages)])
    return message.follow(
        RetrievalRecorded,
        step,
        question_digest=message.asked,
        collections=found.collections,
        passages=passages,
        restoring=found.restoring,
    )


def _grounded(message: QuestionAsked, found: Found) -> QuestionGrounded:
    return message.follow(
        QuestionGrounded,
        question=message.question,
        search_query=message.search_query,
        history=message.history,
        passages=tuple(found.passages),
        restoring=found.restoring,
    )
