"""Consume and publish: the one way for a service to take a message off a stream, and to put one on.

A message is handled at least once. What follows from it is published before it is acknowledged, under ids made from the
request, and the acknowledgement is the fence: who does not get it has lost the lease, and its work counts as another's.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.redis import RedisBroker, StreamSub
from prometheus_client import Counter, Histogram
from pydantic import ValidationError
from redis.exceptions import RedisError

from sluice.access import Level, Passport, PassportExpiredError, PassportVerifier
from sluice.connection import connect
from sluice.errors import (
    DeadlineExceededError,
    InvalidMessageError,
    PermanentError,
    SluiceError,
    TooManyAttemptsError,
    TransientError,
)
from sluice.messages import Message
from sluice.replies import ReplyLog, SupersededError
from sluice.settings import CommonSettings
from sluice.telemetry import log_context
from sluice.workstream import BODY_FIELD, Entry, Hold, WorkStream

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)
_POLL_MS = 1000
_WAKE_SECONDS = 0.5
_HANDLED = Counter("sluice_messages_total", "Messages by what became of them.", ["stream", "outcome"])
_SECONDS = Histogram("sluice_handler_seconds", "Time in the handler.", ["stream"])


@dataclass(frozen=True)
class Delivery:
    """What is known of a message beside itself; the passport was verified before the handler is called."""

    passport: Passport
    attempt: int

    @property
    def redelivered(self) -> bool:
        return self.attempt > 1

    @property
    def lane(self) -> Level:
        return self.passport.clearance


Handler = Callable[[M, Delivery], Awaitable[None]]
OnDead = Callable[[M, Delivery, SluiceError], Awaitable[None]]


class Broker:
    """The service's connections to Redis: FastStream reads the streams, a pool of its own does all else."""

    def __init__(self, settings: CommonSettings, *, service: str, verifier: PassportVerifier) -> None:
        self.redis = connect(settings.redis_url)
        self.replies = ReplyLog(self.redis)
        self.faststream = RedisBroker(
            settings.redis_url.get_secret_value(),
            apply_types=False,
            logger=logging.getLogger("sluice.faststream"),
            graceful_timeout=settings.shutdown_grace_seconds,
        )
        self._settings = settings
        self._service = service
        self._consumer = f"{service}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._verifier = verifier
        self._consumers: list[_Consumer[Any]] = []
        self._upkeep: asyncio.Task[None] | None = None

    def consume(
        self,
        kind: type[M],
        handler: Handler[M],
        *,
        lane: Level | None = None,
        concurrency: int = 1,
        on_dead: OnDead[M] | None = None,
    ) -> None:
        """Handles the stream's messages, at most `concurrency` at once, under a lease that is renewed meanwhile.

        A PermanentError buries the message and calls `on_dead`; any other error delays it, up to a number of attempts.
        """
        stream = kind.stream_of(lane) if lane else kind.stream
        lease = timedelta(seconds=self._settings.lease_seconds)
        work = WorkStream(self.redis, stream, group=self._service, consumer=self._consumer, lease=lease)
        consumer = _Consumer(kind, handler, on_dead, work, self._verifier, self._settings)
        source = StreamSub(
            stream, group=self._service, consumer=self._consumer, max_records=1, polling_interval=_POLL_MS
        )
        consumer.subscriber = self.faststream.subscriber(
            stream=source,
            parser=_parse,
            decoder=_decode,
            max_workers=concurrency,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        consumer.subscriber(consumer.handle)
        self._consumers.append(consumer)

    async def publish(self, message: Message) -> None:
        """Puts the message on its stream, in the lane of its passport's clearance.

        Raises:
            InvalidPassportError: the passport does not allow this message.
        """
        passport = self._verifier.verify(
            message.passport, stream=type(message).stream, job=message.request_id, asked=message.asked
        )
        stream = message.stream_of(passport.clearance)
        await self.redis.xadd(stream, {BODY_FIELD: message.model_dump_json()})

    async def start(self) -> None:
        """Makes the groups and begins to consume. Raises redis.RedisError when the broker is away."""
        for consumer in self._consumers:
            await consumer.work.ensure_group()
        await self.faststream.start()
        self._upkeep = asyncio.create_task(self._keep_up())

    async def stop(self) -> None:
        """Takes nothing more, waits for what has started up to the grace, and closes the connections."""
        if self._upkeep is not None:
            self._upkeep.cancel()
        await self.faststream.stop()
        await self._release()
        await self.replies.close()
        await self.redis.aclose()

    async def _release(self) -> None:
        """Gives back what was read ahead or cut off, so that nobody waits for its lease."""
        with suppress(RedisError, OSError):
            for consumer in self._consumers:
                await consumer.work.release()

    async def check(self) -> None:
        """Raises TransientError when Redis does not answer or a stream is not being read."""
        try:
            await self.redis.ping()
        except (RedisError, OSError) as error:
            raise TransientError("Redis does not answer") from error
        for consumer in self._consumers:
            if not consumer.subscriber.running:
                raise TransientError(f"the stream {consumer.work.stream} is not being read")

    async def _keep_up(self) -> None:
        """Wakes what is due, reaps what lost its worker, and begins again where a flush destroyed the group."""
        last_reaped = 0.0
        while True:
            try:
                reap = time.monotonic() - last_reaped >= self._settings.lease_seconds / 3
                for consumer in self._consumers:
                    await consumer.keep_up(reap=reap)
                last_reaped = time.monotonic() if reap else last_reaped
            except (RedisError, OSError) as error:
                logger.warning("broker.away", extra={"error": type(error).__name__})
            await asyncio.sleep(_WAKE_SECONDS)


async def _parse(raw: Any) -> StreamMessage[Any]:
    return StreamMessage(raw_message=raw, body=b"")


async def _decode(message: StreamMessage[Any]) -> Any:
    return message.raw_message


class _Consumer(Generic[M]):
    """What becomes of one stream's entries."""

    subscriber: Any

    def __init__(
        self,
        kind: type[M],
        handler: Handler[M],
        on_dead: OnDead[M] | None,
        work: WorkStream,
        verifier: PassportVerifier,
        settings: CommonSettings,
    ) -> None:
        self.work = work
        self._kind = kind
        self._handler = handler
        self._on_dead = on_dead
        self._verifier = verifier
        self._settings = settings

    async def keep_up(self, *, reap: bool) -> None:
        await self.work.wake()
        if not reap:
            return
        await self.work.ensure_group()
        if reaped := await self.work.reap():
            logger.warning("message.reaped", extra={"stream": self.work.stream, "count": reaped})
        if not self.subscriber.running:
            await self.subscriber.start()

    async def handle(self, raw: Any) -> None:
        entry = Entry.parse(raw["message_ids"][0], raw["data"])
        try:
            message = self._kind.model_validate_json(entry.body)
        except ValidationError as error:
            fields = sorted({".".join(map(str, e["loc"])) or "(body)" for e in error.errors()})
            await self._bury(entry, InvalidMessageError(f"not a valid {self._kind.stream}: {', '.join(fields)}"))
            return
        with log_context(request_id=message.request_id, tenant=message.tenant):
            held = await self.work.hold(entry, message.message_id)
            if held is Hold.DONE_BEFORE:
                await self._done(entry, message, "duplicate")
            elif held is Hold.HELD:
                await self._handle(entry, message)

    async def _handle(self, entry: Entry, message: M) -> None:
        try:
            delivery = self._admit(entry, message)
        except PassportExpiredError as error:
            await self._give_up(entry, message, Delivery(error.passport, entry.attempt), error)
            return
        except PermanentError as error:
            await self._bury(entry, error)
            return
        try:
            self._check_limits(entry, message)
            with _SECONDS.labels(self.work.stream).time():
                await self._run(entry, message, delivery)
        except SupersededError:
            await self._done(entry, message, "superseded")
        except PermanentError as error:
            await self._give_up(entry, message, delivery, error)
        except Exception as error:
            await self._retry(entry, message, delivery, error)
        else:
            await self._done(entry, message, "done")

    def _admit(self, entry: Entry, message: M) -> Delivery:
        passport = self._verifier.verify(
            message.passport, stream=self._kind.stream, job=message.request_id, asked=message.asked
        )
        if message.tenant != passport.tenant:
            raise InvalidMessageError("the message names another tenant than its passport")
        return Delivery(passport, entry.attempt)

    def _check_limits(self, entry: Entry, message: M) -> None:
        if message.deadline <= datetime.now(UTC):
            raise DeadlineExceededError("the request waited longer than its deadline")
        if entry.crashes > self._settings.max_crashes:
            raise TooManyAttemptsError(f"{entry.crashes} workers ended while they handled this")

    async def _run(self, entry: Entry, message: M, delivery: Delivery) -> None:
        """Runs the handler while the lease is renewed; a lost lease cancels it."""
        handler = asyncio.ensure_future(self._handler(message, delivery))
        lease = asyncio.create_task(self._renew(entry, handler))
        try:
            await handler
        except asyncio.CancelledError:
            if lease.done() and not lease.cancelled():
                raise SupersededError("the lease was lost") from None
            handler.cancel()
            raise
        finally:
            lease.cancel()

    async def _renew(self, entry: Entry, handler: "asyncio.Future[None]") -> None:
        """Ends when the lease is lost; a broker that is away for a moment loses none."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            with suppress(RedisError, OSError):
                if await self.work.hold(entry) is Hold.LOST:
                    logger.warning("message.lease-lost", extra={"stream": self.work.stream})
                    handler.cancel()
                    return

    async def _done(self, entry: Entry, message: M, outcome: str) -> None:
        done = await self.work.done(entry, message.message_id)
        self._count(outcome if done else "lost")

    async def _retry(self, entry: Entry, message: M, delivery: Delivery, error: Exception) -> None:
        expected = isinstance(error, TransientError)
        logger.warning(
            "message.failed",
            exc_info=error,
            extra={"stream": self.work.stream, "attempt": entry.attempt, "expected": expected},
        )
        if entry.failures + 1 >= self._settings.max_attempts:
            last = error.detail if isinstance(error, TransientError) else "an unexpected error"
            attempts = TooManyAttemptsError(f"given up after {entry.failures + 1} attempts: {last}")
            await self._give_up(entry, message, delivery, attempts)
            return
        least = error.retry_after if isinstance(error, TransientError) else None
        await self.work.delay(entry, max(least or timedelta(), _backoff(entry.failures)))
        self._count("delayed")

    async def _give_up(self, entry: Entry, message: M, delivery: Delivery, error: SluiceError) -> None:
        """Tells whoever waits, then buries: a crash in between tells them once more."""
        if self._on_dead is not None:
            await self._on_dead(message, delivery, error)
        await self._bury(entry, error)

    async def _bury(self, entry: Entry, error: SluiceError) -> None:
        await self.work.bury(entry, error)
        self._count("dead")
        logger.error("message.dead", exc_info=error, extra={"stream": self.work.stream, "problem": error.type})

    def _count(self, outcome: str) -> None:
        _HANDLED.labels(self.work.stream, outcome).inc()


def _backoff(failures: int) -> timedelta:
    """0.5 s, 1 s, 2 s ... up to 60 s, with full jitter above a half."""
    return timedelta(seconds=min(60.0, 0.5 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311
