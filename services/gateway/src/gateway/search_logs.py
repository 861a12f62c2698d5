"""Searching the logs: the question goes to the log-bridge, its result comes back on the reply log."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.listen import given_up
from gateway.passports import Errand, Holder
from gateway.ports import AuditLog, Publisher, Replies
from gateway.records import AuditEntry, Person
from gateway.tokens import new_id
from sluice.access import Level, PassportSigner, Right
from sluice.errors import AccessDeniedError
from sluice.messages import LogsSearched, message_id_of
from sluice.replies import Event

_LATE = timedelta(seconds=2)


@dataclass(frozen=True, kw_only=True)
class SearchLogs:
    publisher: Publisher
    replies: Replies
    audit: AuditLog
    signer: PassportSigner
    deadline: timedelta

    async def __call__(self, person: Person, search: dict[str, Any]) -> Event:
        """The `result` or `error` event. The search stands in the audit log before it is made.

        Raises:
            AccessDeniedError: the person is not INTERNAL.
        """
        if person.clearance is not Level.INTERNAL:
            raise AccessDeniedError("the logs are for INTERNAL people")
        job = new_id()
        await self.audit.record(
            AuditEntry(
                tenant_id=person.tenant.id,
                actor=person.id,
                action="logs.searched",
                target=job,
                detail={"query": search["query"], "start": str(search["start"]), "end": str(search["end"])},
            )
        )
        deadline = datetime.now(UTC) + self.deadline
        errand = Errand(
            holder=Holder.of(person, Right.LOGS),
            job=job,
            kinds=(LogsSearched,),
            deadline=deadline,
            bound=_bound(search),
        )
        message_id = message_id_of(LogsSearched, job)
        await self.publisher.publish(LogsSearched(message_id=message_id, **search, **errand.envelope(self.signer)))
        return await self._terminal(person, job, deadline + _LATE)

    async def _terminal(self, person: Person, job: str, ends: datetime) -> Event:
        tenant, lane = person.tenant.slug, person.clearance
        try:
            log = self.replies.read(tenant, lane, job)
            async with given_up(self.replies, tenant, lane, job, ends), aclosing(log) as events:
                async for event in events:
                    if event.name in ("result", "error"):
                        return event
        except asyncio.CancelledError:
            await asyncio.shield(self.replies.cancel(lane, job))
            raise
        raise AssertionError("a reply log is read up to its terminal event")


def _bound(search: dict[str, Any]) -> dict[str, Any]:
    return {name: search[name] for name in LogsSearched.bound}
