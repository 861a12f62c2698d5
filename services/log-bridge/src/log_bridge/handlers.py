"""Searches in from the stream, results out on the reply log."""

from typing import Protocol

from log_bridge.search import SearchLogs
from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.errors import SluiceError
from sluice.messages import LogsSearched
from sluice.replies import Event


class Replies(Protocol):
    async def finish(self, tenant: str, lane: Level, request_id: str, event: Event) -> bool: ...

    async def fail(self, tenant: str, lane: Level, request_id: str, error: SluiceError) -> bool: ...


class Handlers:
    """Log search needs INTERNAL clearance, so its replies lie in that lane; plain, for no key is here."""

    def __init__(self, search: SearchLogs, replies: Replies) -> None:
        self._search = search
        self._replies = replies

    async def on_logs_searched(self, message: LogsSearched, delivery: Delivery) -> None:
        result = await self._search(message, delivery.passport)
        tenant = delivery.passport.tenant
        await self._replies.finish(tenant, Level.INTERNAL, message.request_id, Event("result", result))

    async def on_dead(self, message: LogsSearched, delivery: Delivery, error: SluiceError) -> None:
        await self._replies.fail(delivery.passport.tenant, Level.INTERNAL, message.request_id, error)


def register(broker: Broker, search: SearchLogs, *, concurrency: int) -> None:
    handlers = Handlers(search, broker.plain_replies)
    broker.consume(LogsSearched, handlers.on_logs_searched, concurrency=concurrency, on_dead=handlers.on_dead)
