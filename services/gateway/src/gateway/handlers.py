"""Stream in: what the workers tell the gateway. Parse, call, return."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.keep import keep_answer, keep_failure
from gateway.ports import Catalog, Conversations, Fixes, Replies
from sluice.broker import Broker, Delivery
from sluice.errors import SluiceError
from sluice.messages import AnswerCompleted, DocumentProgress, FixIndexed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Handlers:
    conversations: Conversations
    catalog: Catalog
    fixes: Fixes
    replies: Replies
    job_ended: Callable[[], None]

    def register(self, broker: Broker) -> None:
        broker.consume(
            AnswerCompleted, self.on_answer_completed, concurrency=4, on_dead=self.on_dead_answer, patient=True
        )
        broker.consume(DocumentProgress, self.on_document_progress, patient=True)
        broker.consume(FixIndexed, self.on_fix_indexed, patient=True)

    async def on_answer_completed(self, message: AnswerCompleted, delivery: Delivery) -> None:
        await keep_answer(self.conversations, self.replies, delivery.lane, message)

    async def on_dead_answer(self, message: AnswerCompleted, delivery: Delivery, error: SluiceError) -> None:
        await keep_failure(self.conversations, self.replies, delivery.lane, message.request_id, error)

    async def on_document_progress(self, message: DocumentProgress, delivery: Delivery) -> None:
        if await self.catalog.progress(message, delivery.passport.tenant) and message.state.terminal:
            self.job_ended()
            logger.info("job.ended", extra={"state": message.state, "document_id": message.document.document_id})

    async def on_fix_indexed(self, message: FixIndexed, delivery: Delivery) -> None:
        await self.fixes.indexed(message, delivery.passport.tenant)
