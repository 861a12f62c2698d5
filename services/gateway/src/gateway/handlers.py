"""Stream in: what the workers tell the gateway. Parse, call, return."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.indexes import Indexes
from gateway.keep import keep_answer, keep_failure
from gateway.offers import TakeOffer
from gateway.ports import Accounts, AuditLog, Catalog, Conversations, Fixes, Replies
from gateway.refusals import record_refusal
from gateway.retrievals import record_retrieval
from sluice.broker import Arrival, Broker, Delivery
from sluice.errors import SluiceError
from sluice.messages import (
    AnswerCompleted,
    DocumentOffered,
    DocumentProgress,
    FixIndexed,
    IndexDamaged,
    IndexProgress,
    PassportRefused,
    RetrievalRecorded,
)

logger = logging.getLogger(__name__)
_HINT_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Handlers:
    conversations: Conversations
    catalog: Catalog
    fixes: Fixes
    replies: Replies
    take_offer: TakeOffer
    job_ended: Callable[[], None]
    indexes: Indexes
    accounts: Accounts
    audit: AuditLog

    def register(self, broker: Broker) -> None:
        broker.consume(
            AnswerCompleted,
            self.on_answer_completed,
            concurrency=4,
            prefetch=8,
            on_dead=self.on_dead_answer,
            patient=True,
        )
        broker.consume(DocumentProgress, self.on_document_progress, concurrency=4, prefetch=16, patient=True)
        broker.consume(RetrievalRecorded, self.on_retrieval_recorded, concurrency=4, prefetch=16, patient=True)
        broker.consume(FixIndexed, self.on_fix_indexed, patient=True)
        broker.consume(IndexProgress, self.on_index_progress, patient=True)
        broker.consume_unsigned(IndexDamaged, self.on_index_damaged, patient=True, most_bytes=_HINT_BYTES)
        broker.consume_unsigned(PassportRefused, self.on_passport_refused, patient=True, most_bytes=_HINT_BYTES)
        broker.consume_unsigned(
            DocumentOffered,
            self.on_document_offered,
            concurrency=4,
            on_dead=self.on_dead_offer,
            patient=True,
            most_bytes=self.take_offer.rules.entry_bytes,
        )

    async def on_answer_completed(self, message: AnswerCompleted, delivery: Delivery) -> None:
        await keep_answer(self.conversations, self.replies, delivery.lane, message)

    async def on_dead_answer(self, message: AnswerCompleted, delivery: Delivery, error: SluiceError) -> None:
        tenant = delivery.passport.tenant
        await keep_failure(self.conversations, self.replies, tenant, delivery.lane, message.request_id, error)

    async def on_document_progress(self, message: DocumentProgress, delivery: Delivery) -> None:
        if await self.catalog.progress(message, delivery.passport.tenant) and message.state.terminal:
            self.job_ended()
            logger.info("job.ended", extra={"state": message.state, "document_id": message.document.document_id})

    async def on_fix_indexed(self, message: FixIndexed, delivery: Delivery) -> None:
        await self.fixes.indexed(message, delivery.passport.tenant)

    async def on_index_progress(self, message: IndexProgress, _: Delivery) -> None:
        await self.indexes.progressed(message)

    async def on_index_damaged(self, message: IndexDamaged, _: Arrival) -> None:
        await self.indexes.mend(message, datetime.now(UTC))

    async def on_retrieval_recorded(self, message: RetrievalRecorded, delivery: Delivery) -> None:
        await record_retrieval(self.accounts, self.audit, message, delivery.passport)

    async def on_passport_refused(self, message: PassportRefused, arrival: Arrival) -> None:
        await record_refusal(self.audit, message, arrival.queued_at)

    async def on_document_offered(self, message: DocumentOffered, arrival: Arrival) -> None:
        await self.take_offer(message, arrival.queued_at)

    async def on_dead_offer(self, message: DocumentOffered, arrival: Arrival, error: SluiceError) -> None:
        await self.take_offer.refuse(message, arrival.queued_at, error)
