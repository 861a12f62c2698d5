"""Tenants, people and sessions in SQL."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.adapters.sql import newest_first, once_more, record_of, values_of
from gateway.database import Database
from gateway.errors import ConflictError
from gateway.models import login_attempts, people, sessions, tenants
from gateway.records import Credentials, Page, Person, Tenant
from sluice.access import Right

PERSON = select(people, *(column.label(f"tenant__{column.name}") for column in tenants.c)).join(tenants)


class SqlAccounts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_tenant(self, tenant: Tenant) -> None:
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(tenants).values(values_of(tenant)))
        except IntegrityError as error:
            raise ConflictError("there is a tenant with this slug already") from error

    async def tenant(self, slug: str) -> Tenant | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(tenants).where(tenants.c.slug == slug))).mappings().first()
        return record_of(Tenant, row) if row else None

    async def tenant_of(self, tenant_id: str) -> Tenant | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(tenants).where(tenants.c.id == tenant_id))).mappings().first()
        return record_of(Tenant, row) if row else None

    async def tenants(self, page: Page) -> list[Tenant]:
        query = newest_first(select(tenants), tenants.c.created_at, tenants.c.id, page)
        async with self._database.read() as connection:
            return [record_of(Tenant, row) for row in (await connection.execute(query)).mappings()]

    async def suspend_tenant(self, tenant_id: str, at: datetime | None) -> None:
        theirs = select(people.c.id).where(people.c.tenant_id == tenant_id)
        async with self._database.write() as connection:
            await connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(suspended_at=at))
            if at is not None:
                await connection.execute(delete(sessions).where(sessions.c.person_id.in_(theirs)))

    async def close_sessions(self, person_id: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    async def set_sign_up(self, tenant_id: str, setting: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(sign_up=setting))

    async def add_person(self, person: Person, password_hash: str, *, one_time: bool) -> None:
        row = values_of(person, rights=sorted(person.rights), tenant_id=person.tenant.id)
        del row["tenant"]
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(people).values(row | {"password_hash": password_hash, "password_one_time": one_time})
                )
        except IntegrityError as error:
            raise ConflictError("the tenant has a person with this address already") from error

    async def person(self, person_id: str) -> Person | None:
        async with self._database.read() as connection:
            row = (await connection.execute(PERSON.where(people.c.id == person_id))).mappings().first()
        return person_of(row) if row else None

    async def people(self, tenant_id: str, page: Page, *, email: str | None = None) -> list[Person]:
        query = newest_first(PERSON.where(people.c.tenant_id == tenant_id), people.c.created_at, people.c.id, page)
        query = query if email is None else query.where(people.c.email == email)
        async with self._database.read() as connection:
            return [person_of(row) for row in (await connection.execute(query)).mappings()]

    async def credentials(self, email: str) -> list[Credentials]:
        async with self._database.read() as connection:
            rows = (await connection.execute(PERSON.where(people.c.email == email))).mappings().all()
        return [
            Credentials(person=person_of(row), password_hash=row["password_hash"], one_time=row["password_one_time"])
            for row in rows
        ]

    async def set_password(self, person_id: str, password_hash: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(people)
                .where(people.c.id == person_id)
                .values(password_hash=password_hash, password_one_time=False)
            )
            await connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    async def change(
        self, person_id: str, *, rights: frozenset[Right] | None, suspended_at: datetime | None, suspend: bool | None
    ) -> None:
        changes = {} if rights is None else {"rights": sorted(rights)}
        async with self._database.write() as connection:
            if suspend is not None:
                changes |= {"suspended_at": suspended_at if suspend else None}
            if changes:
                await connection.execute(update(people).where(people.c.id == person_id).values(changes))
            if suspend:
                await connection.execute(delete(sessions).where(sessions.c.person_id == person_id))

    async def remove_person(self, person_id: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(people).where(people.c.id == person_id))

    async def open_session(self, token_sha256: str, person_id: str, expires_at: datetime) -> bool:
        may = (people.c.id == person_id, people.c.suspended_at.is_(None), tenants.c.suspended_at.is_(None))
        locked = select(people.c.id).join(tenants).where(*may).with_for_update(read=True)
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.expires_at < datetime.now(UTC)))
            if (await connection.execute(locked)).first() is None:
                return False
            await connection.execute(
                insert(sessions).values(token_sha256=token_sha256, person_id=person_id, expires_at=expires_at)
            )
        return True

    async def signed_in(self, token_sha256: str) -> Person | None:
        return (await self.all_signed_in([token_sha256])).get(token_sha256)

    async def all_signed_in(self, tokens_sha256: Iterable[str]) -> dict[str, Person]:
        """By their tokens; without those whose session ended, and who or whose tenant is suspended."""
        query = (
            PERSON.add_columns(sessions.c.token_sha256.label("session"))
            .join(sessions)
            .where(sessions.c.token_sha256.in_(list(tokens_sha256)))
            .where(sessions.c.expires_at > datetime.now(UTC))
            .where(people.c.suspended_at.is_(None), tenants.c.suspended_at.is_(None))
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["session"]: person_of(row) for row in rows}

    async def close_session(self, token_sha256: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.token_sha256 == token_sha256))

    async def count_attempt(self, address_sha256: str, window_ends: datetime) -> tuple[int, datetime]:
        return await once_more(lambda: self._count_attempt(address_sha256, window_ends))

    async def _count_attempt(self, address_sha256: str, window_ends: datetime) -> tuple[int, datetime]:
        mine = login_attempts.c.address_sha256 == address_sha256
        async with self._database.write() as connection:
            await connection.execute(delete(login_attempts).where(login_attempts.c.window_ends < datetime.now(UTC)))
            counted = await connection.execute(
                update(login_attempts)
                .where(mine)
                .values(attempts=login_attempts.c.attempts + 1)
                .returning(login_attempts.c.attempts, login_attempts.c.window_ends)
            )
            if row := counted.first():
                return row.attempts, row.window_ends
            first = {"address_sha256": address_sha256, "attempts": 1, "window_ends": window_ends}
            await connection.execute(insert(login_attempts).values(first))
        return 1, window_ends

    async def forget_attempts(self, address_sha256: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(login_attempts).where(login_attempts.c.address_sha256 == address_sha256))

    async def attempted(self, addresses_sha256: Collection[str], least: int) -> dict[str, datetime]:
        tried = select(login_attempts.c.address_sha256, login_attempts.c.window_ends).where(
            login_attempts.c.address_sha256.in_(list(addresses_sha256)),
            login_attempts.c.attempts >= least,
            login_attempts.c.window_ends > datetime.now(UTC),
        )
        async with self._database.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(tried)}


def person_of(row: RowMapping) -> Person:
    return record_of(
        Person,
        row,
        tenant=record_of(Tenant, row, prefix="tenant__"),
        rights=frozenset(Right(right) for right in row["rights"]),
    )
