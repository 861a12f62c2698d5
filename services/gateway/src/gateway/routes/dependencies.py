"""What routes ask for: the use cases, and who calls."""

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.errors import NotSignedInError
from gateway.records import Caller, Person
from gateway.services import Services
from gateway.tokens import fingerprint
from sluice.access import Right
from sluice.errors import AccessDeniedError
from sluice.telemetry import log_context

_LOOK_AGAIN_SECONDS = 3.0


def _services(request: Request) -> Services:
    return request.app.state.services


ServicesIn = Annotated[Services, Depends(_services)]
Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="The access_token of /auth/login.")),
]


async def signed_in(request: Request, services: ServicesIn, bearer: Bearer) -> AsyncIterator[Caller]:
    """Whose token it is. Raises NotSignedInError for one that is unknown, expired, or whose person is suspended."""
    if bearer is None:
        raise NotSignedInError("sign in first: send the access token as a bearer token")
    session = fingerprint(bearer.credentials)
    person = await _person(services, session)
    request.state.tenant = person.tenant.slug
    with log_context(tenant=person.tenant.slug):
        yield Caller(person=person, session=session)


CallerIn = Annotated[Caller, Depends(signed_in)]


async def _person(services: Services, session: str) -> Person:
    person = await services.accounts.signed_in(session)
    if person is None:
        raise NotSignedInError("the access token is not, or no longer, good: sign in again")
    return person


def _check(person: Person, right: Right) -> Person:
    if right not in person.rights:
        raise AccessDeniedError(f"this needs the right {right}, which you were not granted")
    return person


def needs(right: Right) -> Callable[[Caller], Awaitable[Person]]:
    """The caller, if they were granted the right; else AccessDeniedError."""

    async def person_with_right(caller: CallerIn) -> Person:
        return _check(caller.person, right)

    return person_with_right


class Present:
    """The caller of a stream, which may outlive their session and their right."""

    def __init__(self, services: Services, caller: Caller, right: Right) -> None:
        self._services = services
        self._session = caller.session
        self._right = right
        self._person = caller.person
        self._looked = time.monotonic()

    async def person(self) -> Person:
        """As they are, or were 3 s ago at most. Raises NotSignedInError, AccessDeniedError."""
        if time.monotonic() - self._looked >= _LOOK_AGAIN_SECONDS:
            self._person = _check(await _person(self._services, self._session), self._right)
            self._looked = time.monotonic()
        return self._person


def present(right: Right) -> Callable[[Caller, Services], Awaitable[Present]]:
    """The caller, to be asked for again; AccessDeniedError without the right."""

    async def present_with_right(caller: CallerIn, services: ServicesIn) -> Present:
        _check(caller.person, right)
        return Present(services, caller, right)

    return present_with_right


async def operator(services: ServicesIn, bearer: Bearer) -> None:
    """Lets the operators' token pass; it is compared in constant time and is nobody's session."""
    token = bearer.credentials if bearer else ""
    if not hmac.compare_digest(token.encode(), services.operator_token.encode()):
        raise NotSignedInError("this is for operators: send the operators' token as a bearer token")


Reader = Annotated[Person, Depends(needs(Right.READ))]
PresentReader = Annotated[Present, Depends(present(Right.READ))]
Uploader = Annotated[Person, Depends(needs(Right.UPLOAD))]
PresentUploader = Annotated[Present, Depends(present(Right.UPLOAD))]
Teacher = Annotated[Person, Depends(needs(Right.TEACH))]
LogReader = Annotated[Person, Depends(needs(Right.LOGS))]
Admin = Annotated[Person, Depends(needs(Right.ADMIN))]
