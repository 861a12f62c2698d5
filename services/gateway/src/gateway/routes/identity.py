"""Signing in, and people: /api/v1/auth, /api/v1/me, /api/v1/people."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from gateway.login import Attempt, login, logout, logout_everywhere
from gateway.people import NewPerson
from gateway.records import ApiKey, Person
from gateway.routes.dependencies import Admin, CallerIn, ServicesIn, Somebody
from gateway.routes.schemas import Body, Email, IdPath, Listing, Output, PageIn, RightsIn, listing
from gateway.services import Services
from gateway.settings import MAX_PASSWORD, MIN_PASSWORD
from sluice.access import Level, Right

router = APIRouter(prefix="/api/v1", tags=["identity"])
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
NewPassword = Annotated[str, StringConstraints(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class LoginIn(Body):
    email: Email
    password: Password
    tenant: Slug | None = None
    new_password: NewPassword | None = Field(default=None, description="Replaces the password; a one-time one must be.")


class Me(Output):
    id: str
    email: str
    tenant: str
    clearance: Level
    rights: list[Right]


class KeyMe(Output):
    id: str
    name: str
    tenant: str
    clearance: Level
    rights: list[Right]
    expires_at: datetime | None


class LoginOut(Output):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    person: Me


class PersonIn(Body):
    email: Email
    rights: RightsIn = frozenset()


class PersonChange(Body):
    rights: RightsIn | None = None
    suspended: bool | None = None
    locked: Literal[False] | None = Field(default=None, description="Lifts the lock that failed logins brought about.")


class PersonOut(Me):
    suspended: bool
    locked_until: datetime | None = Field(description="Failed logins locked the address until then.")
    created_at: datetime


class NewPersonOut(PersonOut):
    one_time_password: str


@router.post("/auth/login")
async def post_login(body: LoginIn, services: ServicesIn) -> LoginOut:
    attempt = Attempt(**body.model_dump())
    session = await login(services.accounts, services.passwords, services.audit, services.login_rules, attempt)
    return LoginOut(access_token=session.token, expires_in=session.expires_in, person=me(session.person))


@router.post("/auth/logout", status_code=HTTPStatus.NO_CONTENT)
async def post_logout(_: Somebody, caller: CallerIn, services: ServicesIn) -> None:
    await logout(services.accounts, caller.token_sha256)


@router.post("/auth/logout-everywhere", status_code=HTTPStatus.NO_CONTENT)
async def post_logout_everywhere(person: Somebody, services: ServicesIn) -> None:
    """Ends every session of the person who calls, this one too."""
    await logout_everywhere(services.accounts, services.audit, person, person)


@router.get("/me")
async def get_me(caller: CallerIn) -> Me | KeyMe:
    """The person, or the API key, that calls."""
    return me(caller.principal) if isinstance(caller.principal, Person) else _key_me(caller.principal)


@router.post("/people", status_code=HTTPStatus.CREATED)
async def post_person(body: PersonIn, admin: Admin, services: ServicesIn) -> NewPersonOut:
    return new_person_out(await services.people.add(admin, admin.tenant, body.email, body.rights))


@router.get("/people")
async def get_people(
    admin: Admin,
    services: ServicesIn,
    page: PageIn,
    email: Annotated[Email | None, Query(description="Who has this address, if anybody.")] = None,
) -> Listing[PersonOut]:
    people = await services.people.of(admin, page, email)
    locked = await _locked(services, *people)
    return listing(
        people, page, lambda person: person_out(person, locked), lambda person: (person.created_at, person.id)
    )


@router.get("/people/{person_id}")
async def get_person(person_id: IdPath, admin: Admin, services: ServicesIn) -> PersonOut:
    person = await services.people.find(admin, person_id)
    return person_out(person, await _locked(services, person))


@router.patch("/people/{person_id}")
async def patch_person(person_id: IdPath, body: PersonChange, admin: Admin, services: ServicesIn) -> PersonOut:
    changed = await services.people.change(admin, person_id, rights=body.rights, suspended=body.suspended)
    if body.locked is False:
        await services.people.unlock(admin, person_id)
    return person_out(changed, await _locked(services, changed))


@router.delete("/people/{person_id}/sessions", status_code=HTTPStatus.NO_CONTENT)
async def delete_sessions(person_id: IdPath, admin: Admin, services: ServicesIn) -> None:
    """Ends every session of a person."""
    await services.people.sign_out(admin, person_id)


@router.delete("/people/{person_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_person(person_id: IdPath, admin: Admin, services: ServicesIn) -> None:
    await services.people.remove(admin, person_id)


def me(person: Person) -> Me:
    return Me(
        id=person.id,
        email=person.email,
        tenant=person.tenant.slug,
        clearance=person.clearance,
        rights=sorted(person.rights),
    )


def _key_me(key: ApiKey) -> KeyMe:
    named = {name: getattr(key, name) for name in ("id", "name", "clearance", "expires_at")}
    return KeyMe(tenant=key.tenant.slug, rights=sorted(key.rights), **named)


async def _locked(services: Services, *people: Person) -> dict[str, datetime]:
    return await services.people.locked(people, services.login_rules.lock_attempts)


def person_out(person: Person, locked: Mapping[str, datetime]) -> PersonOut:
    return PersonOut(
        **me(person).model_dump(),
        suspended=person.suspended_at is not None,
        locked_until=locked.get(person.id),
        created_at=person.created_at,
    )


def new_person_out(new: NewPerson) -> NewPersonOut:
    return NewPersonOut(**person_out(new.person, {}).model_dump(), one_time_password=new.one_time_password)
