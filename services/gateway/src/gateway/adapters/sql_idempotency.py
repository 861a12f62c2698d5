"""Idempotency keys in SQL: the primary key decides who was first."""

from datetime import datetime

from sqlalchemy import delete, insert, select, update

from gateway.adapters.sql import once_more
from gateway.database import Database
from gateway.models import idempotency_keys
from gateway.records import Claim


class SqlIdempotencyKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, owner: str, key: str, tenant_id: str, body_sha256: str, at: datetime) -> Claim:
        async def claim() -> Claim:
            if known := await self._find(owner, key):
                return known
            row = {"owner": owner, "key": key, "tenant_id": tenant_id, "body_sha256": body_sha256, "created_at": at}
            async with self._database.write() as connection:
                await connection.execute(insert(idempotency_keys).values(row))
            return Claim(owner=owner, key=key, body_sha256=body_sha256)

        return await once_more(claim)

    async def settle(self, owner: str, key: str, job_id: str) -> None:
        mine = (idempotency_keys.c.owner == owner, idempotency_keys.c.key == key)
        async with self._database.write() as connection:
            await connection.execute(update(idempotency_keys).where(*mine).values(job_id=job_id))

    async def forget(self, created_before: datetime) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < created_before))

    async def _find(self, owner: str, key: str) -> Claim | None:
        query = select(idempotency_keys).where(idempotency_keys.c.owner == owner, idempotency_keys.c.key == key)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        return Claim(owner=owner, key=key, body_sha256=row["body_sha256"], settled=row["job_id"] is not None)
