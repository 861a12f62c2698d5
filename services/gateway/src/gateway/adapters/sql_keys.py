"""API keys in SQL."""

from datetime import datetime

from sqlalchemy import RowMapping, insert, select, update

from gateway.adapters.sql import newest_first, record_of, values_of
from gateway.database import Database
from gateway.models import api_keys, people, tenants
from gateway.records import ApiKey, Page, Person, SealedDigests, Tenant
from sluice.access import Level, Right

_TENANT = [column.label(f"tenant__{column.name}") for column in tenants.c]
_MAKER = [column.label(f"maker__{column.name}") for column in people.c]
_KEY = (
    select(api_keys, *_TENANT, *_MAKER)
    .join(tenants, tenants.c.id == api_keys.c.tenant_id)
    .outerjoin(people, (people.c.id == api_keys.c.created_by) & (people.c.tenant_id == api_keys.c.tenant_id))
)


class SqlApiKeys:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKey, sealed_digest: str) -> None:
        row = values_of(
            key,
            rights=sorted(key.granted),
            clearance=key.ceiling,
            tenant_id=key.tenant.id,
            sealed_digest=sealed_digest,
        )
        for name in ("tenant", "maker", "granted", "ceiling"):
            del row[name]
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys).values(row))

    async def key(self, key_id: str) -> tuple[ApiKey, SealedDigests] | None:
        async with self._database.read() as connection:
            row = (await connection.execute(_KEY.where(api_keys.c.id == key_id))).mappings().first()
        return (_key(row), SealedDigests(row["sealed_digest"], row["sealed_previous"])) if row else None

    async def keys(self, tenant_id: str, page: Page) -> list[ApiKey]:
        query = newest_first(_KEY.where(api_keys.c.tenant_id == tenant_id), api_keys.c.created_at, api_keys.c.id, page)
        async with self._database.read() as connection:
            return [_key(row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, key_id: str, at: datetime) -> None:
        good = (api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(update(api_keys).where(*good).values(revoked_at=at))

    async def rotate(self, key_id: str, before: SealedDigests, after: SealedDigests, until: datetime | None) -> bool:
        unchanged = (api_keys.c.sealed_digest == before.present, api_keys.c.revoked_at.is_(None))
        values = {"sealed_digest": after.present, "sealed_previous": after.previous, "previous_until": until}
        async with self._database.write() as connection:
            done = await connection.execute(
                update(api_keys).where(api_keys.c.id == key_id, *unchanged).values(values).returning(api_keys.c.id)
            )
            return done.first() is not None

    async def used(self, key_id: str, at: datetime) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at))


def _key(row: RowMapping) -> ApiKey:
    tenant = record_of(Tenant, row, prefix="tenant__")
    return record_of(
        ApiKey,
        row,
        tenant=tenant,
        maker=_maker(row, tenant),
        granted=_rights(row["rights"]),
        ceiling=Level(row["clearance"]),
    )


def _maker(row: RowMapping, tenant: Tenant) -> Person | None:
    if row["maker__id"] is None:
        return None
    return record_of(Person, row, prefix="maker__", tenant=tenant, rights=_rights(row["maker__rights"]))


def _rights(names: list[str]) -> frozenset[Right]:
    return frozenset(Right(name) for name in names)
