"""One-time links in SQL."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, insert, select

from gateway.adapters.sql import record_of, values_of
from gateway.arrivals import Link, Purpose
from gateway.database import Database
from gateway.models import links


class SqlLinks:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, link: Link, *, alone: bool) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(links).where(links.c.expires_at < datetime.now(UTC)))
            if alone:
                await connection.execute(delete(links).where(_same(link), links.c.purpose == link.purpose))
            await connection.execute(insert(links).values(values_of(link)))

    async def find(self, token_sha256: str) -> Link | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(links).where(links.c.token_sha256 == token_sha256))).mappings()
            found = row.first()
        return record_of(Link, found, purpose=Purpose(found["purpose"])) if found else None

    async def take(self, token_sha256: str) -> Link | None:
        taken = delete(links).where(links.c.token_sha256 == token_sha256).returning(*links.c)
        async with self._database.write() as connection:
            row = (await connection.execute(taken)).mappings().first()
            link = record_of(Link, row, purpose=Purpose(row["purpose"])) if row else None
            if link:
                await connection.execute(delete(links).where(_same(link)))
        return link


def _same(link: Link) -> ColumnElement[bool]:
    """The links of the same person, or of the same address where nobody is made yet."""
    if link.person_id is not None:
        return links.c.person_id == link.person_id
    return (links.c.tenant_id == link.tenant_id) & links.c.person_id.is_(None) & (links.c.email == link.email)
