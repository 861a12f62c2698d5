"""What becomes of one stream's entries: admitted, handled under a lease, and then done, delayed or buried."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from redis.exceptions import RedisError

from sluice.access import Level, Passport
from sluice.errors import (
    BrokerUnavailableError,
    DeadlineExceededError,
    InvalidMessageError,
    InvalidPassportError,
    PermanentError,
    RemoteUnavailableError,
    SluiceError,
    TooManyAttemptsError,
    TransientError,
)
from sluice.leases import Leases
from sluice.messages import Message, Part, PassportRefused, Unsigned
from sluice.metrics import Meter, Outcome
from sluice.replies import SupersededError
from sluice.settings import CommonSettings
from sluice.telemetry import log_context
from sluice.tracing import Attributes, Tracing, note
from sluice.wire import Opened, Received, SealedMessageError, Wire, invalid
from sluice.workstream import Entry, Hold, WorkStream

logger = logging.getLogger(__name__)
P = TypeVar("P", bound=Part)
D = TypeVar("D", bound="Arrival")
R = TypeVar("R")
M = TypeVar("M", bound=Message)
T = TypeVar("T")
_FIRM_SECONDS = 30.0
_AGAIN_SECONDS = 0.5
_ALARMING = (SealedMessageError, *InvalidPassportError.__subclasses__())


@dataclass(frozen=True)
class Arrival:
    """What is known of a message beside itself: which attempt this is, and when it was put on the stream."""

    attempt: int
    queued_at: datetime
    """When it was first put there, also if it was put back since."""

    @property
    def redelivered(self) -> bool:
        return self.attempt > 1


@dataclass(frozen=True)
class Delivery(Arrival):
    """The same for a message whose passport was verified before its handler is called."""

    passport: Passport

    @property
    def lane(self) -> Level:
        return self.passport.clearance


@dataclass(frozen=True)
class Admitted(Generic[P, D]):
    """What is handled, unless it comes `late`: then whoever waits is told."""

    message: P
    delivery: D
    late: PermanentError | None = None


Handler = Callable[[P, D], Awaitable[None]]
OnDead = Callable[[P, D, SluiceError], Awaitable[None]]


def _nothing() -> None: ...


class Consumer(Generic[R, P, D]):
    """Takes the entries of one stream, each to one of its ends. Its subclasses say how what was received is read, and
    whom they let in."""

    subscriber: Any

    def __init__(
        self,
        kind: type[P],
        handler: Handler[P, D],
        on_dead: OnDead[P, D] | None,
        work: WorkStream,
        settings: CommonSettings,
        *,
        patient: bool,
        tracing: Tracing,
        alone: asyncio.Lock,
    ) -> None:
        self.work = work
        self._alone = alone
        self._suspect = max(1, settings.max_crashes - 1)
        self._meter = Meter(work.stream)
        self._tracing = tracing
        self._kind: Any = kind
        self._handler = handler
        self._on_dead = on_dead
        self._settings = settings
        self._rule = settings.retry_rule(self._kind.stream)
        self._patient = patient
        self.leases = Leases(work, settings.lease_seconds)
        self.handled: Callable[[], None] = _nothing
        """Told when a handler has ended, and its entry is about to be settled."""

    def read(self, entry: Entry) -> R:
        """What can be known before anybody is let in. Raises PermanentError."""
        raise NotImplementedError

    def admit(self, entry: Entry, received: R) -> "Admitted[P, D]":
        """Raises PermanentError for what is not to be handled, and whose sender nobody knows."""
        raise NotImplementedError

    def check_deadline(self, message: P) -> None:
        """Raises DeadlineExceededError."""

    def message_id(self, received: R) -> str | None:
        """By which a second copy is known."""
        return None

    def context(self, received: R) -> dict[str, str]:
        """What its log lines carry."""
        return {}

    def traceparent(self, received: R) -> str | None:
        """The span that it was published in."""
        return None

    async def keep_up(self, *, reap: bool) -> bool:
        """Wakes what is due, and reaps. True: the group was gone, and what the stream held may be gone with it."""
        if await self.work.mend():
            logger.error("message.id-of-the-future", extra={"stream": self.work.stream})
        await self.work.wake()
        if not reap:
            return False
        made = await self.work.ensure_group()
        if reaped := await self.work.reap():
            self._meter.reaped(reaped)
            logger.warning("message.reaped", extra={"stream": self.work.stream, "count": reaped})
        await self.work.forget()
        if not self.subscriber.running:
            await self.subscriber.start()
        return made

    async def handle(self, entry: Entry) -> None:
        self._meter.delivered(entry.attempt)
        try:
            received = self.read(entry)
        except PermanentError as error:
            await self._refuse(entry, None, error)
            return
        suspected = entry.crashes >= self._suspect
        with log_context(**self.context(received)), self._traced(entry, received):
            async with self._alone if suspected else nullcontext():
                await self._take(entry, received)

    async def _take(self, entry: Entry, received: R) -> None:
        """Of those that are about to be given up for their crashes, one at a time in this process.

        Else what keeps ending its worker would take the same others with it each time, to the dead letters too.
        """
        held = await self._firmly(lambda: self.work.hold(entry, self.message_id(received)))
        if held is Hold.DONE_BEFORE:
            await self._done(entry, received, "duplicate")
        elif held is Hold.HELD:
            await self._handle(entry, received)

    def _traced(self, entry: Entry, received: R) -> AbstractContextManager[object]:
        def attributes() -> Attributes:
            return {
                "messaging.consumer.group.name": self.work.group,
                "messaging.message.id": self.message_id(received),
                "messaging.message.conversation_id": self.context(received).get("request_id"),
                "sluice.attempt": entry.attempt,
            }

        return self._tracing.consuming(self.work.stream, self.traceparent(received), attributes)

    async def _handle(self, entry: Entry, received: R) -> None:
        try:
            admitted = self.admit(entry, received)
        except PermanentError as error:
            await self._refuse(entry, received, error)
            return
        except (TransientError, OSError) as error:
            await self._admit_later(entry, error)
            return
        except Exception as error:
            logger.exception("message.inadmissible", exc_info=error, extra={"stream": self.work.stream})
            await self._bury(entry, InvalidMessageError("the message cannot be admitted"))
            return
        message, delivery = admitted.message, admitted.delivery
        try:
            if admitted.late is not None:
                raise admitted.late
            self.check_deadline(message)
            if entry.crashes > self._settings.max_crashes:
                raise TooManyAttemptsError(f"{entry.crashes} workers ended while they handled this")
            try:
                with self.leases.held(entry), self._meter.seconds.time():
                    await self._handler(message, delivery)
            finally:
                self.handled()
        except SupersededError:
            await self._firmly(lambda: self.work.drop(entry))
            self._count("superseded")
        except PermanentError as error:
            await self._give_up(entry, message, delivery, error)
        except RedisError as error:
            logger.warning("broker.away", exc_info=error, extra={"stream": self.work.stream})
            await self._retry(entry, message, delivery, BrokerUnavailableError("the message broker does not answer"))
        except Exception as error:
            await self._retry(entry, message, delivery, error)
        else:
            await self._done(entry, received, "done")

    async def _refuse(self, entry: Entry, received: R | None, error: PermanentError) -> None:
        await self._bury(entry, error)

    async def _admit_later(self, entry: Entry, error: Exception) -> None:
        """The files of keys or passports cannot be read just now: no fault of the message, and nobody to be told."""
        logger.error("message.not-admitted", exc_info=error, extra={"stream": self.work.stream})
        await self._firmly(lambda: self.work.delay(entry, self._rule.pause(entry.failures), "keys cannot be read"))
        self._count("delayed", error)

    async def _done(self, entry: Entry, received: R, outcome: Outcome) -> None:
        message_id = self.message_id(received)
        done = await self._firmly(lambda: self.work.done(entry, message_id) if message_id else self.work.drop(entry))
        self._count(outcome if done else "lost")

    async def _retry(self, entry: Entry, message: P, delivery: D, error: Exception) -> None:
        expected = isinstance(error, TransientError)
        logger.warning(
            "message.failed",
            exc_info=error,
            extra={"stream": self.work.stream, "attempt": entry.attempt, "expected": expected},
        )
        waits = self._patient and expected and not isinstance(error, RemoteUnavailableError)
        waits = waits or isinstance(error, BrokerUnavailableError)
        if entry.failures + 1 >= self._rule.attempts and not waits:
            last = error.detail if isinstance(error, TransientError) else "an unexpected error"
            attempts = TooManyAttemptsError(f"given up after {entry.failures + 1} attempts: {last}")
            await self._give_up(entry, message, delivery, attempts)
            return
        least = error.retry_after if isinstance(error, TransientError) else None
        reason = error.detail if isinstance(error, SluiceError) else "an unexpected error"
        pause = max(least or timedelta(), self._rule.pause(entry.failures))
        await self._firmly(lambda: self.work.delay(entry, pause, reason))
        self._count("delayed", error)

    async def _give_up(self, entry: Entry, message: P, delivery: D, error: SluiceError) -> None:
        """Tells whoever waits, then buries: a crash in between tells them once more."""
        if await self._firmly(lambda: self.work.hold(entry)) is Hold.LOST:
            return  # whoever has it now decides
        try:
            with self.leases.held(entry):
                await self._tell(message, delivery, error)
                await self._bury(entry, error)
        except SupersededError:
            self._count("lost")

    async def _tell(self, message: P, delivery: D, error: SluiceError) -> None:
        if self._on_dead is None:
            return
        try:
            await self._on_dead(message, delivery, error)
        except PermanentError as untold:
            logger.error("message.untold", exc_info=untold, extra={"stream": self.work.stream})

    async def _bury(self, entry: Entry, error: SluiceError) -> None:
        await self._firmly(lambda: self.work.bury(entry, error))
        self._count("dead", error)
        logger.error("message.dead", exc_info=error, extra={"stream": self.work.stream, "problem": error.type})

    async def _firmly(self, action: Callable[[], Awaitable[T]]) -> T:
        """What is decided outlasts a broker that is away for a moment: else its entry would count a crash."""
        end = time.monotonic() + max(_FIRM_SECONDS, 2 * self._settings.lease_seconds)
        while True:
            try:
                return await action()
            except RedisError:
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)

    def _count(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._meter.ended(outcome, error)
        told = {"error.type": type(error).__name__} if error else {}
        note({"sluice.outcome": outcome, **told}, failed=error is not None)


Alarm = Callable[[PassportRefused], Awaitable[None]]


class SignedConsumer(Consumer[Received, M, Delivery]):
    """Lets in what has a passport for it, and opens it then. What may be forged raises the alarm."""

    def __init__(self, *arguments: Any, wire: Wire, alarm: Alarm, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wire = wire
        self._alarm = alarm
        self._meter.expect_refusals(error.type for error in _ALARMING)

    def read(self, entry: Entry) -> Received:
        return self._wire.read(self._kind, entry.body)

    def admit(self, entry: Entry, received: Received) -> Admitted[M, Delivery]:
        """What is forged ends silently. What has merely expired has somebody who waits for it."""
        opened: Opened[M] = self._wire.open(self._kind, self.work.stream, received)
        if opened.expired is not None:
            self._meter.refused(opened.expired.type)
        delivery = Delivery(entry.attempt, entry.queued_at, opened.passport)
        return Admitted(opened.message, delivery, opened.expired)

    def check_deadline(self, message: M) -> None:
        if message.expires and message.deadline <= datetime.now(UTC):
            raise DeadlineExceededError("the request waited longer than its deadline")

    def message_id(self, received: Received) -> str | None:
        return received.envelope.message_id

    def context(self, received: Received) -> dict[str, str]:
        return {"request_id": received.envelope.request_id, "tenant": received.envelope.tenant}

    def traceparent(self, received: Received) -> str | None:
        return received.envelope.traceparent

    async def _refuse(self, entry: Entry, received: Received | None, error: PermanentError) -> None:
        if isinstance(error, _ALARMING):
            self._meter.refused(error.type)
            message_id = received.envelope.message_id if received else entry.entry_id
            await self._alarm(PassportRefused.of(self.work.stream, error.type, message_id))
        await super()._refuse(entry, received, error)


class UnsignedConsumer(Consumer[Any, Any, Arrival]):
    """Lets everything in that is no larger than `most_bytes`: its handler decides."""

    def __init__(self, *arguments: Any, most_bytes: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._most_bytes = most_bytes

    async def handle(self, entry: Entry) -> None:
        """What is too large is not even parsed."""
        if self._most_bytes is not None and len(entry.body) > self._most_bytes:
            await self._bury(entry, InvalidMessageError(f"larger than the {self._most_bytes} bytes that it may have"))
        else:
            await super().handle(entry)

    def read(self, entry: Entry) -> Unsigned:
        try:
            return self._kind.model_validate_json(entry.body)
        except ValidationError as error:
            raise invalid(self._kind.stream, error) from None

    def admit(self, entry: Entry, received: Unsigned) -> Admitted[Any, Arrival]:
        return Admitted(received, Arrival(entry.attempt, entry.queued_at))
