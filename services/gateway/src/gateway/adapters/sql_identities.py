"""Who comes from issuers, and their way in, in SQL."""

from datetime import UTC, datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.adapters.sql import record_of, values_of
from gateway.adapters.sql_accounts import PERSON, person_of
from gateway.arrivals import Asserted, Handshake
from gateway.database import Database
from gateway.errors import ConflictError
from gateway.models import handshakes, identities, people, sessions
from gateway.records import Person


class SqlIdentities:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, state_sha256: str, handshake: Handshake) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(handshakes).where(handshakes.c.expires_at < datetime.now(UTC)))
            await connection.execute(insert(handshakes).values(values_of(handshake) | {"state_sha256": state_sha256}))

    async def take(self, state_sha256: str) -> Handshake | None:
        taken = delete(handshakes).where(handshakes.c.state_sha256 == state_sha256).returning(*handshakes.c)
        async with self._database.write() as connection:
            row = (await connection.execute(taken)).mappings().first()
        return record_of(Handshake, row) if row else None

    async def known(self, issuer: str, subject: str) -> list[Person]:
        theirs = select(identities.c.person_id).where(identities.c.issuer == issuer, identities.c.subject == subject)
        query = PERSON.where(people.c.id.in_(theirs))
        async with self._database.read() as connection:
            return [person_of(row) for row in (await connection.execute(query)).mappings()]

    async def of(self, person_id: str) -> set[str]:
        query = select(identities.c.issuer).where(identities.c.person_id == person_id)
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def connect(self, person: Person, asserted: Asserted, at: datetime) -> None:
        row = {
            "tenant_id": person.tenant.id,
            "issuer": asserted.issuer,
            "subject": asserted.subject,
            "person_id": person.id,
            "created_at": at,
        }
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(identities).values(row))
        except IntegrityError as error:
            raise ConflictError("this account is connected to somebody else already") from error

    async def set_address(self, person: Person) -> None:
        now = {"email": person.email, "email_verified": person.email_verified, "rights": sorted(person.rights)}
        try:
            async with self._database.write() as connection:
                await connection.execute(update(people).where(people.c.id == person.id).values(now))
                await connection.execute(delete(sessions).where(sessions.c.person_id == person.id))
        except IntegrityError as error:
            raise ConflictError("the tenant has another person with this address") from error
