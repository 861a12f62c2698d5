"""What was accepted and has not ended, in SQL; each query reads one partial index alone."""

from datetime import datetime

from sqlalchemy import Select, func, select

from gateway.database import Database
from gateway.models import OPEN_FIX, OPEN_JOB, OPEN_TURN, WAITING, conversations, fixes, jobs, people, tenants, turns
from sluice.access import Level


class SqlBacklog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_jobs(self) -> dict[str, int]:
        tenant = jobs.c.tenant_id
        return await self._counts(select(tenant, func.count()).where(OPEN_JOB).group_by(tenant))

    async def open_fixes(self) -> dict[str, int]:
        tenant = fixes.c.tenant_id
        return await self._counts(select(tenant, func.count()).where(OPEN_FIX).group_by(tenant))

    async def open_turns(self, asked_after: datetime) -> dict[str, int]:
        waiting = select(turns.c.conversation_id).where(OPEN_TURN, turns.c.created_at > asked_after).subquery()
        theirs = waiting.join(conversations, conversations.c.id == waiting.c.conversation_id).join(people)
        tenant = people.c.tenant_id
        return await self._counts(select(tenant, func.count()).select_from(theirs).group_by(tenant))

    async def next(self, lane: Level, after_tenant: str) -> tuple[str, str] | None:
        oldest = (
            select(jobs.c.tenant_id, jobs.c.id)
            .where(WAITING, jobs.c.waiting_lane == lane, jobs.c.tenant_id > after_tenant)
            .where(jobs.c.tenant_id.not_in(select(tenants.c.id).where(tenants.c.suspended_at.is_not(None))))
            .order_by(jobs.c.tenant_id, jobs.c.created_at, jobs.c.id)
            .limit(1)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(oldest)).first()
        return (found[0], found[1]) if found else None

    async def counts(self) -> dict[str, int]:
        lane = jobs.c.waiting_lane
        # The lanes by name lead SQLite to the index of what waits.
        return await self._counts(select(lane, func.count()).where(WAITING, lane.in_(list(Level))).group_by(lane))

    async def _counts(self, query: Select[str, int]) -> dict[str, int]:
        async with self._database.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}
