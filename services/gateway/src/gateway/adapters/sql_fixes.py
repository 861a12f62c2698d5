"""Taught answers in SQL, sealed for the tenant and the level of each."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, and_, delete, insert, select, update

from gateway.adapters.sealed_columns import SealedColumns, each_openable
from gateway.adapters.sql import comes_after, newest_first, once_more, record_of, values_of
from gateway.database import Database
from gateway.models import OPEN_FIX, fixes, tenants
from gateway.records import FixRow, FixState, Page
from sluice.access import Level
from sluice.errors import SealBrokenError
from sluice.messages import FixIndexed
from sluice.sealing import Keyring

_FIX = select(fixes, tenants.c.slug.label("tenant")).select_from(fixes.join(tenants))


class SqlFixes:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._sealed = SealedColumns(keyring, "fixes")

    async def add(self, fix: FixRow) -> bool:
        async def add() -> bool:
            async with self._database.write() as connection:
                if (await connection.execute(select(fixes.c.id).where(fixes.c.id == fix.id))).first():
                    return False
                of_tenant = select(tenants.c.slug).where(tenants.c.id == fix.tenant_id)
                tenant = (await connection.execute(of_tenant)).scalar_one()
                texts = {"question": fix.question, "answer": fix.answer}
                sealed = self._sealed.seal(tenant, fix.access_level, fix.id, texts)
                await connection.execute(insert(fixes).values(values_of(fix) | sealed))
                return True

        return await once_more(add)

    async def fix(self, tenant_id: str, fix_id: str) -> FixRow | None:
        query = _FIX.where(fixes.c.id == fix_id, fixes.c.tenant_id == tenant_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return self._fix(row) if row else None

    async def fixes(self, tenant_id: str, levels: Sequence[Level], page: Page) -> list[FixRow]:
        visible = _FIX.where(fixes.c.tenant_id == tenant_id, fixes.c.access_level.in_(levels))
        query = newest_first(visible, fixes.c.created_at, fixes.c.id, page)
        async with self._database.read() as connection:
            return [self._fix(row) for row in (await connection.execute(query)).mappings()]

    async def sources_of(self, tenant_id: str, ids: Collection[str]) -> set[str]:
        async with self._database.read() as connection:
            found = await connection.execute(_follows(tenant_id).where(fixes.c.id.in_(ids)))
            return set[str]().union(*(row.sources for row in found))

    async def resting_on(self, tenant_id: str, document_id: str) -> list[FixRow]:
        external = _follows(tenant_id).where(fixes.c.access_level == Level.EXTERNAL)
        async with self._database.read() as connection:
            resting = [row.id for row in await connection.execute(external) if document_id in row.sources]
            rows = (await connection.execute(_FIX.where(fixes.c.id.in_(resting)))).mappings().all()
        return [self._fix(row) for row in rows]

    async def withdraw(self, fix_id: str) -> None:
        async with self._database.write() as connection:
            changes = {"state": FixState.WITHDRAWING, "error": None, **_to_send()}
            await connection.execute(update(fixes).where(fixes.c.id == fix_id).values(changes))

    async def published(self, fix: FixRow, at: datetime) -> None:
        first = (fixes.c.id == fix.id, fixes.c.run == fix.run, fixes.c.published_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(update(fixes).where(*first).values(published_at=at))

    async def unpublished(self, changed_before: datetime, after: FixRow | None = None) -> list[FixRow]:
        return await self._open(fixes.c.published_at.is_(None), fixes.c.updated_at < changed_before, after=after)

    async def unheard(self, changed_before: datetime, after: FixRow | None) -> list[FixRow]:
        quiet = and_(fixes.c.published_at < changed_before, fixes.c.updated_at < changed_before)
        return await self._open(quiet, after=after)

    async def again(self, fix: FixRow) -> FixRow | None:
        state = FixState.PENDING if fix.state is FixState.FAILED else fix.state
        if state not in (FixState.PENDING, FixState.WITHDRAWING):
            return None
        changes: dict[str, Any] = {"state": state, "error": None, "run": fix.run + 1, "published_at": None}
        changes["updated_at"] = datetime.now(UTC)
        unchanged = (fixes.c.id == fix.id, fixes.c.run == fix.run, fixes.c.state == fix.state)
        async with self._database.write() as connection:
            done = await connection.execute(update(fixes).where(*unchanged).values(changes))
        return replace(fix, **changes) if done.rowcount else None

    async def overdue(self, published_before: datetime, after: FixRow | None = None) -> list[FixRow]:
        return await self._open(fixes.c.published_at < published_before, after=after)

    async def fail(self, fix: FixRow, error: str) -> None:
        run = and_(fixes.c.id == fix.id, fixes.c.run == fix.run)
        await self._change(run, FixState.PENDING, state=FixState.FAILED, error=error)

    async def withdraw_again(self, fix: FixRow, error: str) -> None:
        run = and_(fixes.c.id == fix.id, fixes.c.run == fix.run)
        await self._change(run, FixState.WITHDRAWING, error=error, **_to_send())

    async def indexed(self, message: FixIndexed, tenant: str) -> None:
        fix_id = message.fix.fix_id
        mine = and_(
            fixes.c.id == fix_id,
            fixes.c.tenant_id.in_(select(tenants.c.id).where(tenants.c.slug == tenant)),
        )
        if message.state == "withdrawn":
            async with self._database.write() as connection:
                await connection.execute(delete(fixes).where(mine, fixes.c.state == FixState.WITHDRAWING))
            return
        if message.state == "failed":
            mine = and_(mine, fixes.c.run == message.run)
            await self._change(mine, FixState.WITHDRAWING, error=message.error, **_to_send())
        await self._change(mine, FixState.PENDING, state=FixState(message.state), error=message.error)

    async def _open(self, *conditions: ColumnElement[bool], after: FixRow | None = None) -> list[FixRow]:
        query = _FIX.where(OPEN_FIX, *conditions)
        if after is not None:
            query = query.where(comes_after(fixes.c.updated_at, fixes.c.id, after.updated_at, after.id))
        async with self._database.read() as connection:
            ordered = query.order_by(fixes.c.updated_at, fixes.c.id).limit(100)
            rows = (await connection.execute(ordered)).mappings().all()
        return list(each_openable(self._fix, rows))

    async def _change(self, which: ColumnElement[bool], now: FixState, **changes: object) -> None:
        """Changes a fix that is in the state `now`."""
        async with self._database.write() as connection:
            await connection.execute(update(fixes).where(which, fixes.c.state == now).values(**changes))

    def _fix(self, row: RowMapping) -> FixRow:
        """One that does not open has failed, unless it is being withdrawn: that takes its id alone."""
        level, state = Level(row["access_level"]), FixState(row["state"])
        try:
            texts = self._sealed.open(row["tenant"], level, row["id"], row, "question", "answer")
        except SealBrokenError as error:
            texts = {"question": "", "answer": "", "error": error.detail}
            state = state if state is FixState.WITHDRAWING else FixState.FAILED
        return record_of(FixRow, row, access_level=level, state=state, **texts)


def _follows(tenant_id: str) -> Select[Any, Any]:
    """The tenant's fixes that follow the levels of their sources."""
    return select(fixes.c.id, fixes.c.sources).where(fixes.c.tenant_id == tenant_id, fixes.c.declassified.is_(False))


def _to_send() -> dict[str, Any]:
    """The next run: a message that was being sent before this does not count as sent."""
    return {"run": fixes.c.run + 1, "published_at": None, "updated_at": datetime.now(UTC)}
