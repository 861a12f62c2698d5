"""API keys in SQL."""

from datetime import datetime

from sqlalchemy import RowMapping, insert, select, update

from gateway.adapters.sql import newest_first, record_of, values_of
from gateway.database import Database
from gateway.models import api_keys, tenants
from gateway.records import ApiKey, Page, Tenant
from sluice.access import Level, Right

_KEY = select(api_keys, *(column.label(f"tenant__{column.name}") for column in tenants.c)).join(tenants)


class SqlApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey, sealed_digest: str) -> None:
        row = values_of(key, rights=sorted(key.rights), tenant_id=key.tenant.id, sealed_digest=sealed_digest)
        del row["tenant"]
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys).values(row))

    async def key(self, key_id: str) -> tuple[ApiKey, str] | None:
        async with self._database.read() as connection:
            row = (await connection.execute(_KEY.where(api_keys.c.id == key_id))).mappings().first()
        return (_key(row), row["sealed_digest"]) if row else None

    async def keys(self, tenant_id: str, page: Page) -> list[ApiKey]:
        query = newest_first(_KEY.where(api_keys.c.tenant_id == tenant_id), api_keys.c.created_at, api_keys.c.id, page)
        async with self._database.read() as connection:
            return [_key(row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, key_id: str, at: datetime) -> None:
        good = (api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(update(api_keys).where(*good).values(revoked_at=at))


def _key(row: RowMapping) -> ApiKey:
    return record_of(
        ApiKey,
        row,
        tenant=record_of(Tenant, row, prefix="tenant__"),
        rights=frozenset(Right(right) for right in row["rights"]),
        clearance=Level(row["clearance"]),
    )
