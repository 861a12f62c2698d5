"""The audit log in SQL: rows are only ever added."""

from datetime import UTC, datetime

from sqlalchemy import insert

from gateway.adapters.sql import values_of
from gateway.database import Database
from gateway.models import audit
from gateway.records import AuditEntry


class SqlAuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, *entries: AuditEntry) -> None:
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            await connection.execute(insert(audit), [values_of(entry, at=now) for entry in entries])
