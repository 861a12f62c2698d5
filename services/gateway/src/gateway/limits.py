"""How much may be accepted: asked before anything is written, so that what is refused leaves nothing behind."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import prometheus_client

from gateway.errors import BacklogFullError
from gateway.ports import Backlog, Gate
from gateway.settings import GatewaySettings
from sluice.errors import TransientError

_REFUSED = prometheus_client.Counter(
    "sluice_refused_total", "Requests that were not accepted, by what they asked for and why.", ["asked", "reason"]
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How many may be open: of all tenants together, and of one.

    A count is good for `fresh` seconds; when it says full, for `again` seconds. Who is refused may come back after
    about the `pause`.
    """

    overall: int
    tenant: int
    fresh: float = 1.0
    again: float = 0.05
    pause: timedelta = timedelta(seconds=5)


class Counted:
    """How much of one kind of work is open: counted now and then, and what was let in since.

    A count that says full is made again before anybody is refused. What another gateway lets in is seen at the next
    count, so that many gateways together may go over the limit by what they accept between two.
    """

    def __init__(self, what: str, count: Callable[[], Awaitable[Mapping[str, int]]], rule: Rule) -> None:
        self.what = what
        self._count = count
        self._rule = rule
        self._counted: Mapping[str, int] = {}
        self._counted_at = float("-inf")
        self._let_in: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        self._counting = asyncio.Lock()

    @asynccontextmanager
    async def room(self, tenant_id: str, number: int = 1) -> AsyncGenerator[None]:
        """Keeps room while the work is written down. Raises BacklogFullError."""
        await self._check(tenant_id, number)
        self._coming[tenant_id] += number
        try:
            yield
        finally:
            self._coming[tenant_id] -= number
            self._let_in[tenant_id] += number

    async def _check(self, tenant_id: str, number: int) -> None:
        full = ""
        for age in (self._rule.fresh, self._rule.again):
            await self._look(age)
            if not (full := self._full(tenant_id, number)):
                return
        _REFUSED.labels(self.what, full).inc()
        retry_after = self._rule.pause * random.uniform(0.5, 1.5)  # noqa: S311  # so that not all come back at once
        whose = "of your organisation" if full == "backlog-tenant" else "of all"
        raise BacklogFullError(f"too many {self.what} {whose} are waiting: try again later", retry_after=retry_after)

    async def _look(self, age: float) -> None:
        """Counts, unless that was done within so many seconds."""
        async with self._counting:
            if time.monotonic() - self._counted_at < age:
                return
            self._let_in.clear()  # before the count: what is written meanwhile is rather counted twice than not at all
            self._counted, self._counted_at = await self._count(), time.monotonic()

    def _full(self, tenant_id: str, number: int) -> str:
        of_tenant = self._counted.get(tenant_id, 0) + self._let_in[tenant_id] + self._coming[tenant_id]
        if of_tenant + number > self._rule.tenant:
            return "backlog-tenant"
        overall = sum(self._counted.values()) + self._let_in.total() + self._coming.total()
        return "backlog-overall" if overall + number > self._rule.overall else ""


async def _none() -> Mapping[str, int]:
    """Log searches live no longer than their requests: there are none but those in this process."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be open, a kind of work."""

    gate: Gate
    questions: Counted
    documents: Counted
    fixes: Counted
    log_searches: Counted

    @classmethod
    def of(cls, settings: GatewaySettings, gate: Gate, backlog: Backlog) -> Self:
        async def open_questions() -> Mapping[str, int]:
            return await backlog.open_turns(datetime.now(UTC) - timedelta(seconds=settings.question_deadline_seconds))

        documents = Rule(  # a hundred thousand take up to 0.2 s to count
            overall=settings.max_open_documents,
            tenant=settings.max_tenant_documents,
            fresh=5,
            again=0.5,
            pause=timedelta(seconds=60),
        )
        questions = Rule(overall=settings.max_open_questions, tenant=settings.max_tenant_questions)
        fixes = Rule(overall=settings.max_open_fixes, tenant=settings.max_tenant_fixes)
        log_searches = Rule(overall=settings.max_log_searches, tenant=settings.max_tenant_log_searches)
        return cls(
            gate=gate,
            questions=Counted("questions", open_questions, questions),
            documents=Counted("documents", backlog.open_jobs, documents),
            fixes=Counted("fixes", backlog.open_fixes, fixes),
            log_searches=Counted("log searches", _none, log_searches),
        )

    @asynccontextmanager
    async def room(self, work: Counted, tenant_id: str, number: int = 1) -> AsyncGenerator[None]:
        """Held from before the first row until the last is written.

        Raises:
            BacklogFullError: too much is open.
            TransientError: the broker has no memory left.
        """
        try:
            await self.gate.admit()
        except TransientError:
            _REFUSED.labels(work.what, "broker-memory").inc()
            raise
        async with work.room(tenant_id, number):
            yield
