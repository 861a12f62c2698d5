"""What routes ask for: the use cases, and who calls."""

import hmac
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
    person = await services.accounts.signed_in(session)
    if person is None:
        raise NotSignedInError("the access token is not, or no longer, good: sign in again")
    request.state.tenant = person.tenant.slug
    with log_context(tenant=person.tenant.slug):
        yield Caller(person=person, session=session)


CallerIn = Annotated[Caller, Depends(signed_in)]


def needs(right: Right) -> Callable[[Caller], Awaitable[Person]]:
    """The caller, if they were granted the right; else AccessDeniedError."""

    async def person_with_right(caller: CallerIn) -> Person:
        if right not in caller.person.rights:
            raise AccessDeniedError(f"this needs the right {right}, which you were not granted")
        return caller.person

    return person_with_right


async def operator(services: ServicesIn, bearer: Bearer) -> None:
    """Lets the operators' token pass; it is compared in constant time and is nobody's session."""
    token = bearer.credentials if bearer else ""
    if not hmac.compare_digest(token.encode(), services.operator_token.encode()):
        raise NotSignedInError("this is for operators: send the operators' token as a bearer token")


Reader = Annotated[Person, Depends(needs(Right.READ))]
Uploader = Annotated[Person, Depends(needs(Right.UPLOAD))]
Teacher = Annotated[Person, Depends(needs(Right.TEACH))]
LogReader = Annotated[Person, Depends(needs(Right.LOGS))]
Admin = Annotated[Person, Depends(needs(Right.ADMIN))]
