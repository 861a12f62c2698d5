"""What became of offers, in SQL: rows of idempotency keys, with the jobs that came of them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, false, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql import newest_first, once_more
from gateway.database import Database
from gateway.models import documents, jobs
from gateway.models import idempotency_keys as rows
from gateway.records import ApiKey, DocumentState, Fate, Page
from sluice.messages import JobState

_OLD = or_(documents.c.generation > jobs.c.generation, documents.c.state == DocumentState.DELETING)
_FATE = select(
    rows,
    jobs.c.state.label("job_state"),
    jobs.c.document_id,
    jobs.c.error.label("job_error"),
    func.coalesce(_OLD, false()).label("superseded"),
).select_from(
    rows.outerjoin(jobs, rows.c.job_id == jobs.c.id).outerjoin(documents, jobs.c.document_id == documents.c.id)
)


class SqlOfferFates:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, owner: str, key: str) -> Fate | None:
        found = await self.of(owner, [key])
        return found[0] if found else None

    async def of(self, owner: str, keys: Sequence[str]) -> list[Fate]:
        query = _FATE.where(rows.c.owner == owner, rows.c.key.in_(keys))
        async with self._database.read() as connection:
            return [_fate(row) for row in (await connection.execute(query)).mappings()]

    async def page(self, owner: str, page: Page) -> list[Fate]:
        query = newest_first(_FATE.where(rows.c.owner == owner), rows.c.created_at, rows.c.key, page)
        async with self._database.read() as connection:
            return [_fate(row) for row in (await connection.execute(query)).mappings()]

    async def forgive(self, owner: str, key: str, body_sha256: str) -> None:
        async with self._database.write() as connection:
            changed = update(rows).where(*_of(owner, key), *_FREE).values(refused=None, body_sha256=body_sha256)
            await connection.execute(changed)

    async def refuse(self, key: ApiKey, names: Sequence[str], body_sha256: str, reason: str, at: datetime) -> None:
        async def refuse() -> None:
            async with self._database.write() as connection:
                for name in names:
                    if await _note(connection, key, name, {"body_sha256": body_sha256, "refused": reason}, at):
                        return

        await once_more(refuse)


_FREE = (rows.c.job_id.is_(None), rows.c.refused.is_not(None))
"""What was refused binds nobody: the next offer under its key may have another body."""


async def _note(connection: AsyncConnection, key: ApiKey, name: str, values: dict[str, str], at: datetime) -> bool:
    """False: another body has the name."""
    known = (await connection.execute(select(rows).where(*_of(key.id, name)))).mappings().first()
    if known is None:
        row = {"owner": key.id, "key": name, "tenant_id": key.tenant.id, "created_at": at, **values}
        await connection.execute(insert(rows).values(row))
        return True
    if known["job_id"] or (known["refused"] is None and known["body_sha256"] != values["body_sha256"]):
        return False
    await connection.execute(update(rows).where(*_of(key.id, name)).values(values))
    return True


def _of(owner: str, key: str) -> tuple[ColumnElement[bool], ...]:
    return rows.c.owner == owner, rows.c.key == key


def _fate(row: RowMapping) -> Fate:
    return Fate(
        idempotency_key=row["key"],
        body_sha256=row["body_sha256"],
        refused=row["refused"],
        job_id=row["job_id"],
        job_state=JobState(row["job_state"]) if row["job_state"] else None,
        document_id=row["document_id"],
        job_error=row["job_error"],
        superseded=bool(row["superseded"]),
        created_at=row["created_at"],
    )
