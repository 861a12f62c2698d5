"""What becomes of one stream's entries: admitted, handled under a lease, and then done, delayed or buried."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from prometheus_client import Counter, Histogram
from pydantic import ValidationError
from redis.exceptions import RedisError

from sluice.access import Level, Passport, PassportExpiredError, PassportVerifier
from sluice.errors import (
    DeadlineExceededError,
    InvalidMessageError,
    PermanentError,
    RemoteUnavailableError,
    SluiceError,
    TooManyAttemptsError,
    TransientError,
)
from sluice.messages import Message
from sluice.replies import SupersededError
from sluice.settings import CommonSettings
from sluice.telemetry import log_context
from sluice.workstream import Entry, Hold, WorkStream

logger = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)
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


class Consumer(Generic[M]):
    """Takes the entries of one stream, each to one of its ends."""

    subscriber: Any

    def __init__(
        self,
        kind: type[M],
        handler: Handler[M],
        on_dead: OnDead[M] | None,
        work: WorkStream,
        verifier: PassportVerifier,
        settings: CommonSettings,
        *,
        patient: bool,
    ) -> None:
        self.work = work
        self._kind = kind
        self._handler = handler
        self._on_dead = on_dead
        self._verifier = verifier
        self._settings = settings
        self._patient = patient

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
            await self.work.drop(entry)
            self._count("superseded")
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
        if message.expires and message.deadline <= datetime.now(UTC):
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
        waits = self._patient and expected and not isinstance(error, RemoteUnavailableError)
        if entry.failures + 1 >= self._settings.max_attempts and not waits:
            last = error.detail if isinstance(error, TransientError) else "an unexpected error"
            attempts = TooManyAttemptsError(f"given up after {entry.failures + 1} attempts: {last}")
            await self._give_up(entry, message, delivery, attempts)
            return
        least = error.retry_after if isinstance(error, TransientError) else None
        await self.work.delay(entry, max(least or timedelta(), _backoff(entry.failures)))
        self._count("delayed")

    async def _give_up(self, entry: Entry, message: M, delivery: Delivery, error: SluiceError) -> None:
        """Tells whoever waits, then buries: a crash in between tells them once more."""
        if await self.work.hold(entry) is Hold.LOST:
            return  # whoever has it now decides
        if self._on_dead is not None:
            try:
                await self._on_dead(message, delivery, error)
            except PermanentError as untold:
                logger.error("message.untold", exc_info=untold, extra={"stream": self.work.stream})
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
