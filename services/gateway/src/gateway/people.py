"""Making, changing and removing people, within what the one who does it has themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.errors import ConflictError, InvalidInputError, NotFoundError
from gateway.login import forget_failures, lock_of, logout_everywhere
from gateway.ports import Accounts, AuditLog, Passwords
from gateway.records import AuditEntry, Page, Person, Tenant
from gateway.tokens import fingerprint, new_id, new_one_time_password
from sluice.access import Right, normalise_email
from sluice.errors import AccessDeniedError


@dataclass(frozen=True, kw_only=True)
class NewPerson:
    """A person, and the password that is told this once."""

    person: Person
    one_time_password: str


@dataclass(frozen=True, kw_only=True)
class People:
    accounts: Accounts
    passwords: Passwords
    audit: AuditLog

    async def add(self, by: Person | None, tenant: Tenant, email: str, rights: frozenset[Right]) -> NewPerson:
        """Adds a person, whose address the one who adds them vouches for; `by` None is the operator.

        Raises:
            InvalidInputError: not an e-mail address.
            AccessDeniedError: a right or a clearance that `by` has not.
            ConflictError: the tenant has the address already.
        """
        person = _new_person(tenant, email, rights)
        may_grant(by, person, rights)
        password = new_one_time_password()
        password_hash = await self.passwords.hash(password)
        async with self.audit.together():
            await self.accounts.add_person(person, password_hash, one_time=True)
            await self._note(by, "person.added", person, rights=sorted(rights))
        return NewPerson(person=person, one_time_password=password)

    async def of(self, by: Person, page: Page, email: str | None) -> list[Person]:
        """Those of the tenant, or whoever has the address. Raises InvalidInputError: it is none."""
        return await self.accounts.people(by.tenant.id, page, email=of_address(email) if email is not None else None)

    async def find(self, by: Person, person_id: str) -> Person:
        """Raises NotFoundError, also for another tenant's."""
        person = await self.accounts.person(person_id)
        if person is None or person.tenant.id != by.tenant.id:
            raise NotFoundError("there is no such person")
        return person

    async def change(
        self, by: Person, person_id: str, *, rights: frozenset[Right] | None, suspended: bool | None
    ) -> Person:
        person = await self.find(by, person_id)
        may_grant(by, person, (rights or frozenset()) - person.rights)
        if suspended:
            _is_another(by, person, "suspend")
        granted = sorted(rights) if rights is not None else None
        async with self.audit.together():
            await self.accounts.change(person.id, rights=rights, suspended_at=datetime.now(UTC), suspend=suspended)
            await self._note(by, "person.changed", person, rights=granted, suspended=suspended)
        return await self.find(by, person_id)

    async def sign_out(self, by: Person, person_id: str) -> None:
        """Raises NotFoundError, AccessDeniedError as `remove` does."""
        person = await self.find(by, person_id)
        may_grant(by, person, frozenset())
        await logout_everywhere(self.accounts, self.audit, person, by)

    async def locked(self, people: Sequence[Person], failures: int) -> dict[str, datetime]:
        """Until when who of them cannot sign in, by their ids; so many failures lock an address."""
        locks = {lock_of(fingerprint(person.email)): person.id for person in people} if failures else {}
        return {locks[lock]: until for lock, until in (await self.accounts.attempted(list(locks), failures)).items()}

    async def unlock(self, by: Person, person_id: str) -> None:
        """Raises NotFoundError, AccessDeniedError as `remove` does."""
        person = await self.find(by, person_id)
        may_grant(by, person, frozenset())
        async with self.audit.together():
            await forget_failures(self.accounts, person.email)
            await self._note(by, "person.unlocked", person)

    async def remove(self, by: Person, person_id: str) -> None:
        person = await self.find(by, person_id)
        may_grant(by, person, frozenset())
        _is_another(by, person, "remove")
        async with self.audit.together():
            await self.accounts.remove_person(person.id)
            await self._note(by, "person.removed", person)

    async def _note(self, by: Person | None, action: str, person: Person, **detail: object) -> None:
        actor = by.id if by else "operator"
        await self.audit.record(
            AuditEntry(tenant_id=person.tenant.id, actor=actor, action=action, target=person.id, detail=detail)
        )


def _new_person(tenant: Tenant, email: str, rights: frozenset[Right]) -> Person:
    return Person(
        id=new_id(),
        tenant=tenant,
        email=of_address(email),
        email_verified=True,
        rights=rights,
        created_at=datetime.now(UTC),
    )


def of_address(email: str) -> str:
    """In its one form. Raises InvalidInputError: not an e-mail address."""
    try:
        return normalise_email(email)
    except ValueError as error:
        raise InvalidInputError("email", str(error)) from error


def may_grant(by: Person | None, person: Person, rights: frozenset[Right]) -> None:
    """Who could make or change someone above themselves could sign in as them.

    An operator is no person: nobody has that right, and so nobody grants it.

    Raises:
        AccessDeniedError: a right or a clearance that `by` has not.
        InvalidInputError: the right of operators.
    """
    if by is None:
        if Right.OPERATOR in rights:
            raise InvalidInputError("rights", "operators have a token of their own: a person cannot be one")
        return
    if missing := sorted(rights - by.rights):
        raise AccessDeniedError(f"you cannot grant what you have not: {', '.join(missing)}")
    if by.clearance < person.clearance:
        raise AccessDeniedError(f"a person of clearance {person.clearance} is for people of that clearance to manage")


def _is_another(by: Person, person: Person, verb: str) -> None:
    if by.id == person.id:
        raise ConflictError(f"you cannot {verb} yourself: ask another admin")
