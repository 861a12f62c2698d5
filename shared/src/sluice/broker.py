"""Consume and publish: the one way for a service to take a message off a stream, and to put one on.

A message is handled at least once. What follows from it is published before it is acknowledged, under ids made from the
request, and the acknowledgement is the fence: who does not get it has lost the lease, and its work counts as another's.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from faststream import AckPolicy
from faststream.message import StreamMessage
from faststream.redis import RedisBroker, StreamSub
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from sluice.access import Level, PassportVerifier
from sluice.alarms import Alarms
from sluice.connection import connect, end
from sluice.consumer import Arrival, Consumer, Delivery, Handler, OnDead, SignedConsumer, UnsignedConsumer
from sluice.depths import Presence
from sluice.errors import TransientError
from sluice.intake import Intake
from sluice.messages import Message, Unsigned
from sluice.metrics import published
from sluice.places import Places
from sluice.replies import ReplyLog
from sluice.room import Room
from sluice.sealing import Keyring
from sluice.settings import CommonSettings
from sluice.tracing import Attributes, Tracing
from sluice.wire import Wire
from sluice.workstream import Publication, WorkStream

__all__ = ["Arrival", "Broker", "Delivery"]
logger = logging.getLogger(__name__)
M = TypeVar("M", bound=Message)
U = TypeVar("U", bound=Unsigned)
_POLL_MS = 1000
_READ_AGAIN_SECONDS = 0.5
_WAKE_SECONDS = 0.5
_REFUSALS = 10
_PRESENT_SECONDS = 15


class Broker:
    """The service's connections to Redis: FastStream reads the streams, a pool of its own does all else."""

    def __init__(self, settings: CommonSettings, *, service: str, verifier: PassportVerifier, keyring: Keyring) -> None:
        self.redis = connect(settings.redis_url)
        self.replies = ReplyLog(self.redis, keyring)
        self.plain_replies = ReplyLog(self.redis, None)
        """Of log searches: the log-bridge holds no key."""
        self.faststream = RedisBroker(
            settings.redis_url.get_secret_value(),
            apply_types=False,
            logger=logging.getLogger("sluice.faststream"),
            graceful_timeout=None,  # what it has read and not begun is given back; what has begun, the intakes wait for
        )
        self.tracing = Tracing.of(settings, service)
        self._settings = settings
        self._service = service
        self._consumer = f"{service}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._verifier = verifier
        self.wire = Wire(keyring, verifier)
        self._alarms = Alarms(self.publish_unsigned)
        self.places = Places(self.redis)
        self.room = Room(self.redis)
        self._publication = Publication(self.redis)
        self._consumers: list[Consumer[Any, Any, Any]] = []
        self._alone = asyncio.Lock()
        self._intakes: list[Intake] = []
        self._renewals: list[asyncio.Task[None]] = []
        self._presence = Presence(self.redis, self._consumer, ())
        self._upkeep: asyncio.Task[None] | None = None
        self.lost = asyncio.Event()
        """Set when a group that was there is gone: what its stream held may be gone too. Whoever mends it clears it."""
        self._stopping = False
        self.broken = False
        """Whether this process can take no more messages and has to end."""

    def consume(
        self,
        kind: type[M],
        handler: Handler[M, Delivery],
        *,
        lane: Level | None = None,
        concurrency: int = 1,
        prefetch: int = 0,
        on_dead: OnDead[M, Delivery] | None = None,
        patient: bool = False,
    ) -> None:
        """Handles the stream's messages, at most `concurrency` at once, under a lease that is renewed meanwhile.

        A PermanentError buries the message and calls `on_dead`; any other error delays it, up to a number of attempts.
        A `patient` consumer goes on after a TransientError (but a RemoteUnavailableError) until the message's deadline.
        `prefetch` messages more are read ahead, for handlers that take less time than the reading.
        """
        work = self._work(kind.stream_of(lane) if lane else kind.stream)
        consumer: SignedConsumer[M] = SignedConsumer(
            kind,
            handler,
            on_dead,
            work,
            self._settings,
            patient=patient,
            tracing=self.tracing,
            alone=self._alone,
            wire=self.wire,
            alarm=self._alarms,
        )
        self._subscribe(consumer, concurrency, prefetch)

    def consume_unsigned(
        self,
        kind: type[U],
        handler: Handler[U, Arrival],
        *,
        concurrency: int = 1,
        on_dead: OnDead[U, Arrival] | None = None,
        patient: bool = False,
        most_bytes: int | None = None,
    ) -> None:
        """The same for what comes without a passport. An entry with more than `most_bytes` is buried unread."""
        work = self._work(kind.stream)
        consumer: UnsignedConsumer = UnsignedConsumer(
            kind,
            handler,
            on_dead,
            work,
            self._settings,
            patient=patient,
            tracing=self.tracing,
            alone=self._alone,
            most_bytes=most_bytes,
        )
        self._subscribe(consumer, concurrency, 0)

    def _work(self, stream: str) -> WorkStream:
        lease = timedelta(seconds=self._settings.lease_seconds)
        return WorkStream(self.redis, stream, group=self._service, consumer=self._consumer, lease=lease)

    def _subscribe(self, consumer: Consumer[Any, Any, Any], concurrency: int, prefetch: int) -> None:
        source = StreamSub(
            consumer.work.stream,
            group=self._service,
            consumer=self._consumer,
            batch=True,
            max_records=1 + prefetch,
            polling_interval=_POLL_MS,
        )
        consumer.subscriber = self.faststream.subscriber(
            stream=source,
            parser=_parse,
            decoder=_decode,
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        stream = consumer.work.stream
        intake = Intake(consumer.handle, stream=stream, concurrency=concurrency, read_ahead=prefetch > 0)
        consumer.subscriber(intake.take)
        consumer.handled = intake.leave_place
        self._consumers.append(consumer)
        self._intakes.append(intake)

    async def publish(self, message: Message) -> bool:
        """Puts the message on its stream, in the lane of its passport's clearance.

        False: it is there already, waits to be tried again, is dead, or was handled in the last hour.

        Raises:
            InvalidPassportError: the passport does not allow this message.
            AccessDeniedError: this process has no key of the passport's level.
        """
        passport = self._verifier.verify(
            message.passport, stream=type(message).stream, job=message.request_id, asked=message.asked
        )
        stream = message.stream_of(passport.clearance)

        def attributes() -> Attributes:
            return {
                "messaging.message.id": message.message_id,
                "messaging.message.conversation_id": message.request_id,
            }

        with self.tracing.publishing(stream, message.traceparent, attributes) as traceparent:
            if traceparent != message.traceparent:
                message = message.model_copy(update={"traceparent": traceparent})
            return await self._put(stream, message.message_id, self.wire.write(message, stream, passport))

    async def publish_unsigned(self, message: Unsigned, message_id: str) -> bool:
        """Puts a hint on its stream, once while its id stands there or was handled in the last hour."""
        return await self._put(message.stream, message_id, message.model_dump_json())

    async def _put(self, stream: str, message_id: str, body: str) -> bool:
        put = await self._publication(stream, message_id, body)
        if put:
            published(stream)
        return put

    async def start(self) -> None:
        """Makes the groups and begins to consume. Raises redis.RedisError when the broker is away."""
        for consumer in self._consumers:
            await consumer.work.ensure_group()
        self._renewals = [asyncio.create_task(consumer.leases.renew()) for consumer in self._consumers]
        self._presence = Presence(self.redis, self._consumer, [consumer.work.stream for consumer in self._consumers])
        client: Any = await self.faststream.connect()
        client.xgroup_create = _group_is_there
        client.xreadgroup = _patient(client.xreadgroup)
        for consumer in self._consumers:
            await _begin(consumer.subscriber)
        self.faststream.running = True
        self._upkeep = asyncio.create_task(self._keep_up())
        self._upkeep.add_done_callback(self._end_if_broken)

    async def stop(self) -> None:
        """Takes nothing more, waits for what has started up to the grace, and closes the connections."""
        if self._upkeep is not None:
            self._stopping = True
            await end(self._upkeep)
        for consumer in self._consumers:
            consumer.subscriber.running = False  # else it would read once more before FastStream stops it
        for intake in self._intakes:
            await intake.stop()
        await self.faststream.stop()
        await asyncio.gather(*[intake.drain(self._settings.shutdown_grace_seconds) for intake in self._intakes])
        await end(*self._renewals)
        await self._release()
        await self.replies.close()
        await self.plain_replies.close()
        await self.redis.aclose()
        await self.tracing.close()

    async def _release(self) -> None:
        """Gives back what was read ahead or cut off, so that nobody waits for its lease."""
        with suppress(RedisError, OSError):
            for consumer in self._consumers:
                await consumer.work.release()
            await self._presence.end()

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
        last_reaped, refusals = 0.0, 0
        while True:
            try:
                reap = time.monotonic() - last_reaped >= self._settings.lease_seconds / 3
                for consumer in self._consumers:
                    if await consumer.keep_up(reap=reap):
                        logger.error("broker.lost-group", extra={"stream": consumer.work.stream})
                        self.lost.set()
                if reap:
                    await self._tell_presence()
                last_reaped, refusals = time.monotonic() if reap else last_reaped, 0
            except (RedisError, OSError) as error:
                logger.warning("broker.away", extra={"error": type(error).__name__})
                refusals = refusals + 1 if _refused(error) else 0
                if refusals >= _REFUSALS:
                    raise
            await asyncio.sleep(_WAKE_SECONDS)

    async def _tell_presence(self) -> None:
        """For those who watch alone: nothing rests on it."""
        with suppress(RedisError, OSError):
            await self._presence.tell(timedelta(seconds=max(_PRESENT_SECONDS, self._settings.lease_seconds)))

    def _end_if_broken(self, upkeep: "asyncio.Task[None]") -> None:
        """Without upkeep nothing is retried or reaped: the process ends, and is started again by whoever watches it."""
        if self._stopping or upkeep.cancelled():
            return
        self.broken = True
        logger.critical("broker.broken", exc_info=upkeep.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def _begin(subscriber: Any) -> None:
    """FastStream fails where the first reading takes over 3 s, as on a busy machine; but the reading goes on."""
    with suppress(TimeoutError):
        await subscriber.start()


def _refused(error: Exception) -> bool:
    """Whether Redis answers but will not do it, for a reason that does not pass: a missing right, a wrong key."""
    passing = (OutOfMemoryError, ReadOnlyError)
    return isinstance(error, ResponseError) and not isinstance(error, passing) and "NOGROUP" not in str(error)


async def _group_is_there(**_: Any) -> None:
    """FastStream would make each group once more, which Redis refuses when it is out of memory."""


def _patient(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Reads again soon after a failure.

    FastStream would wait for 5 s where the broker is away, too long for a restart, and not at all where a replica says
    READONLY. A group that is gone it may see: it stops the reading, until the upkeep has made the group anew.
    """

    async def again(**options: Any) -> Any:
        try:
            return await read(**options)
        except (RedisError, OSError) as error:
            if "NOGROUP" in str(error):
                raise
            logger.warning("broker.unread", extra={"streams": [*options["streams"]], "error": type(error).__name__})
            await asyncio.sleep(_READ_AGAIN_SECONDS)
            return ()

    return again


async def _parse(raw: Any) -> StreamMessage[Any]:
    return StreamMessage(raw_message=raw, body=b"")


async def _decode(message: StreamMessage[Any]) -> Any:
    return message.raw_message
