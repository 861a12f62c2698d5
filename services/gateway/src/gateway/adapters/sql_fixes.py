"""Taught answers in SQL."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import RowMapping, delete, insert, or_, select, update

from gateway.adapters.sql import newest_first, record_of, values_of
from gateway.database import Database
from gateway.models import fixes, tenants
from gateway.records import FixRow, FixState, Page
from sluice.access import Level
from sluice.messages import FixIndexed


class SqlFixes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, fix: FixRow) -> None:
        async with self._database.write() as connection:
            await connection.execute(insert(fixes).values(values_of(fix)))

    async def fix(self, tenant_id: str, fix_id: str) -> FixRow | None:
        query = select(fixes).where(fixes.c.id == fix_id, fixes.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return _fix(row) if row else None

    async def fixes(self, tenant_id: str, levels: Sequence[Level], page: Page) -> list[FixRow]:
        visible = select(fixes).where(fixes.c.tenant_id == tenant_id, fixes.c.access_level.in_(levels))
        query = newest_first(visible, fixes.c.created_at, fixes.c.id, page)
        async with self._database.read() as connection:
            return [_fix(row) for row in (await connection.execute(query)).mappings()]

    async def withdraw(self, fix_id: str) -> None:
        await self._set(fix_id, state=FixState.WITHDRAWING, published_at=None, updated_at=datetime.now(UTC))

    async def published(self, fix_id: str, at: datetime) -> None:
        await self._set(fix_id, published_at=at)

    async def unpublished(self, updated_before: datetime) -> list[FixRow]:
        query = (
            select(fixes)
            .where(fixes.c.published_at.is_(None), fixes.c.updated_at < updated_before)
            .where(or_(fixes.c.state == FixState.PENDING, fixes.c.state == FixState.WITHDRAWING))
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(fixes.c.updated_at).limit(100))).mappings().all()
        return [_fix(row) for row in rows]

    async def fail(self, fix_id: str, error: str) -> None:
        await self._set(fix_id, state=FixState.FAILED, error=error)

    async def indexed(self, message: FixIndexed, tenant: str) -> None:
        fix_id = message.fix.fix_id
        mine = (
            fixes.c.id == fix_id,
            fixes.c.tenant_id.in_(select(tenants.c.id).where(tenants.c.slug == tenant)),
        )
        async with self._database.write() as connection:
            if message.state == "withdrawn":
                await connection.execute(delete(fixes).where(*mine, fixes.c.state == FixState.WITHDRAWING))
            else:
                await connection.execute(
                    update(fixes)
                    .where(*mine, fixes.c.state == FixState.PENDING)
                    .values(state=FixState(message.state), error=message.error)
                )

    async def _set(self, fix_id: str, **changes: object) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(fixes).where(fixes.c.id == fix_id).values(**changes))


def _fix(row: RowMapping) -> FixRow:
    return record_of(FixRow, row, access_level=Level(row["access_level"]), state=FixState(row["state"]))
