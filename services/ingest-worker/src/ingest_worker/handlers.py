"""Documents and fixes in, progress out. Each stream has consumers of its own: a long PDF never delays a fix."""

import dataclasses
from typing import Literal

from ingest_worker.delete import Delete
from ingest_worker.generations import ReplacedError
from ingest_worker.ingest import Ingest
from ingest_worker.progress import Progress, progress_of
from ingest_worker.rebuild import Comparison, Rebuild, Verify
from ingest_worker.teach import Teach, Withdraw
from sluice.access import Level, Passport, Right
from sluice.broker import Broker, Delivery
from sluice.consumer import OnDead
from sluice.errors import AccessDeniedError, SluiceError, TransientError
from sluice.messages import (
    DocumentDeleted,
    DocumentSubmitted,
    FixIndexed,
    FixTaught,
    FixWithdrawn,
    IndexProgress,
    IndexRebuilt,
    IndexVerified,
    JobState,
)


def register_documents(
    broker: Broker,
    ingest: Ingest,
    *,
    lane: Level,
    concurrency: int,
    kind: type[DocumentSubmitted] = DocumentSubmitted,
) -> None:
    async def on_submitted(message: DocumentSubmitted, delivery: Delivery) -> None:
        _require(Right.UPLOAD, delivery.passport)
        progress = Progress(broker.publish, message, delivery.attempt)
        try:
            indexed = await ingest(message.document, delivery.passport.scope, progress)
        except TransientError as error:
            await broker.publish(progress_of(message, delivery.attempt, JobState.RETRYING, error=error.detail))
            raise
        except ReplacedError as error:  # somebody was quicker: nothing that an operator has to look at
            await broker.publish(progress_of(message, delivery.attempt, JobState.FAILED, error=error.detail))
            return
        count = indexed.chunk_count
        await broker.publish(
            progress_of(
                message,
                delivery.attempt,
                JobState.DONE,
                done=count,
                total=count,
                chunk_count=count,
                title=indexed.title,
            )
        )

    on_dead = _tells_failed(broker)
    broker.consume(kind, on_submitted, lane=lane, concurrency=concurrency, on_dead=on_dead, patient=True)


def register_deletions(broker: Broker, delete: Delete, *, lane: Level, concurrency: int) -> None:
    async def on_deleted(message: DocumentDeleted, delivery: Delivery) -> None:
        _require(Right.UPLOAD, delivery.passport)
        await delete(message.document, delivery.passport.scope)
        await broker.publish(progress_of(message, delivery.attempt, JobState.DELETED))

    on_dead = _tells_failed(broker)
    broker.consume(DocumentDeleted, on_deleted, lane=lane, concurrency=concurrency, on_dead=on_dead, patient=True)


def _tells_failed(broker: Broker) -> OnDead[DocumentSubmitted | DocumentDeleted, Delivery]:
    async def on_dead(message: DocumentSubmitted | DocumentDeleted, delivery: Delivery, error: SluiceError) -> None:
        await broker.publish(progress_of(message, delivery.attempt, JobState.FAILED, error=str(error)))

    return on_dead


def register_fixes(broker: Broker, teach: Teach, withdraw: Withdraw, *, lane: Level, concurrency: int) -> None:
    async def on_taught(message: FixTaught, delivery: Delivery) -> None:
        _require(Right.TEACH, delivery.passport)
        try:
            await teach(message.fix, delivery.passport.scope)
        except ReplacedError:
            return  # its withdrawal tells what became of it
        await broker.publish(message.follow(FixIndexed, step="active", fix=message.fix, state="active"))

    async def on_withdrawn(message: FixWithdrawn, delivery: Delivery) -> None:
        _require(Right.TEACH, delivery.passport)
        await withdraw(message.fix, delivery.passport.scope)
        await broker.publish(message.follow(FixIndexed, step="withdrawn", fix=message.fix, state="withdrawn"))

    async def on_dead(message: FixTaught | FixWithdrawn, delivery: Delivery, error: SluiceError) -> None:
        step = f"failed-{message.created_at.isoformat()}"  # it may be sent again, and fail again
        await broker.publish(message.follow(FixIndexed, step=step, fix=message.fix, state="failed", error=str(error)))

    broker.consume(FixTaught, on_taught, lane=lane, concurrency=concurrency, on_dead=on_dead, patient=True)
    broker.consume(FixWithdrawn, on_withdrawn, lane=lane, concurrency=concurrency, on_dead=on_dead, patient=True)


def register_indexes(broker: Broker, rebuild: Rebuild, verify: Verify, *, lane: Level) -> None:
    async def on_rebuilt(message: IndexRebuilt, delivery: Delivery) -> None:
        async def report(rows: int) -> None:
            await broker.publish(_index_progress(message, delivery.attempt, "rebuilding", Comparison(rows)))

        await report(0)
        rebuilt = await rebuild(message.part, delivery.passport.scope, report)
        await broker.publish(_index_progress(message, delivery.attempt, "done", rebuilt))

    async def on_verified(message: IndexVerified, delivery: Delivery) -> None:
        compared = await verify(message.part, delivery.passport.scope)
        await broker.publish(_index_progress(message, delivery.attempt, "done", compared))

    async def on_dead(message: IndexRebuilt | IndexVerified, delivery: Delivery, error: SluiceError) -> None:
        none = Comparison(0)
        await broker.publish(_index_progress(message, delivery.attempt, "failed", none, error=str(error)))

    broker.consume(IndexRebuilt, on_rebuilt, lane=lane, on_dead=on_dead, patient=True)
    broker.consume(IndexVerified, on_verified, lane=lane, on_dead=on_dead)


def _index_progress(
    message: IndexRebuilt | IndexVerified,
    attempt: int,
    state: Literal["rebuilding", "done", "failed"],
    compared: Comparison,
    *,
    error: str | None = None,
) -> IndexProgress:
    step = f"{message.message_id}-{attempt}-{state}-{compared.rows}"
    return message.follow(
        IndexProgress, step=step, part=message.part, state=state, error=error, **dataclasses.asdict(compared)
    )


def _require(right: Right, passport: Passport) -> None:
    if right not in passport.rights:
        raise AccessDeniedError(f"this needs the right to {right}")
