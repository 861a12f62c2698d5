"""The levels of what answers rest on, documents and fixes, in SQL."""

from collections.abc import Collection, Sequence

from sqlalchemy import select, union_all

from gateway.database import Database
from gateway.models import documents, fixes
from gateway.records import DocumentState, FixState
from sluice.access import Level


class SqlSources:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def readable(self, tenant_id: str, ids: Collection[str], levels: Sequence[Level]) -> set[str]:
        """Those of the documents and fixes that are there, at one of these levels, and not on their way out."""
        found = union_all(
            select(documents.c.id).where(
                documents.c.id.in_(ids),
                documents.c.tenant_id == tenant_id,
                documents.c.access_level.in_(levels),
                documents.c.state != DocumentState.DELETING,
            ),
            select(fixes.c.id).where(
                fixes.c.id.in_(ids),
                fixes.c.tenant_id == tenant_id,
                fixes.c.access_level.in_(levels),
                fixes.c.state != FixState.WITHDRAWING,
            ),
        )
        async with self._database.read() as connection:
            return set((await connection.execute(found)).scalars())
