"""What routes ask for: the use cases, and who calls."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.errors import NotSignedInError
from gateway.presence import LOOK_AGAIN_SECONDS, LOOK_AHEAD_SECONDS
from gateway.rates import Standing
from gateway.records import ApiKey, Caller, Person, Principal
from gateway.services import Services
from gateway.tokens import fingerprint
from sluice.access import Right
from sluice.errors import AccessDeniedError
from sluice.offers import key_id_of
from sluice.telemetry import log_context

P = TypeVar("P", bound=Principal)


def _services(request: Request) -> Services:
    return request.app.state.services


ServicesIn = Annotated[Services, Depends(_services)]
Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="The access_token of /auth/login, or an API key.")),
]


async def authenticated(request: Request, services: ServicesIn, bearer: Bearer) -> AsyncIterator[Caller]:
    """Whose token or API key it is. Raises NotSignedInError when that is nobody's who may act now."""
    if bearer is None:
        raise NotSignedInError("sign in first: send the access token or an API key as a bearer token")
    if key_id_of(bearer.credentials):
        principal = _known(await services.keys.bearer(bearer.credentials))
    else:
        principal = _known(await services.accounts.signed_in(fingerprint(bearer.credentials)))
    slug = principal.tenant.slug
    request.state.tenant = slug
    request.state.principal = principal
    request.state.standings = standings = list[Standing]()
    await services.rates.request(principal, standings)
    with log_context(tenant=slug):
        yield Caller(principal=principal, token_sha256=fingerprint(bearer.credentials))


CallerIn = Annotated[Caller, Depends(authenticated)]


def _known(found: P | None) -> P:
    if found is None:
        raise NotSignedInError("the access token or API key is not, or no longer, good: sign in again")
    return found


def _check(principal: P, right: Right) -> P:
    if right not in principal.rights:
        raise AccessDeniedError(f"this needs the right {right}, which you were not granted")
    return principal


async def somebody(caller: CallerIn) -> Person:
    """The person who calls; AccessDeniedError for a program."""
    if not isinstance(caller.principal, Person):
        raise AccessDeniedError("this is for people: an API key reads and uploads documents, and nothing else")
    return caller.principal


async def producer(caller: CallerIn) -> ApiKey:
    """The program that calls, if it may upload; AccessDeniedError for a person."""
    if not isinstance(caller.principal, ApiKey):
        raise AccessDeniedError("this is for API keys: send the one that the documents were offered with")
    return _check(caller.principal, Right.UPLOAD)


def needs(right: Right) -> Callable[[Person], Awaitable[Person]]:
    """The person who calls, if they were granted the right; else AccessDeniedError."""

    async def person_with_right(person: Annotated[Person, Depends(somebody)]) -> Person:
        return _check(person, right)

    return person_with_right


def allows(right: Right) -> Callable[[Caller], Awaitable[Principal]]:
    """The person or program that calls, if it was granted the right; else AccessDeniedError."""

    async def principal_with_right(caller: CallerIn) -> Principal:
        return _check(caller.principal, right)

    return principal_with_right


class Present(Generic[P]):
    """The caller of a stream, which may outlive their session or key, and their right.

    The next look is taken before the last one is too old, so that a stream waits for it only when it takes long.
    """

    def __init__(self, principal: P, look: Callable[[], Awaitable[P | None]], right: Right) -> None:
        self._principal = principal
        self._look = look
        self._right = right
        self._required: list[Callable[[P], Awaitable[None]]] = []
        self._looked = time.monotonic()
        self._looking: asyncio.Task[tuple[P, float]] | None = None

    def require(self, check: Callable[[P], Awaitable[None]]) -> None:
        """From now on nobody is let through who does not pass the check too, whose error is raised."""
        self._required.append(check)
        self._looking = None

    async def now(self) -> P:
        """As they are, or were 3 s ago at most. Raises NotSignedInError, AccessDeniedError, what checks raise."""
        while (age := time.monotonic() - self._looked) >= LOOK_AHEAD_SECONDS:
            if self._looking is None:
                if age >= LOOK_AGAIN_SECONDS:
                    return await self.anew()
                self._looking = asyncio.create_task(self._again())
                self._looking.add_done_callback(_heard)
            if age < LOOK_AGAIN_SECONDS and not self._looking.done():
                break
            looking, self._looking = self._looking, None
            self._principal, self._looked = await looking
        return self._principal

    async def anew(self) -> P:
        """As they are at this moment. Raises as `now` does."""
        self._principal, self._looked = await self._again()
        return self._principal

    async def _again(self) -> tuple[P, float]:
        began = time.monotonic()
        principal = _check(_known(await self._look()), self._right)
        for check in self._required:
            await check(principal)
        return principal, began


def _heard(looking: "asyncio.Task[Any]") -> None:
    """A stream that ended does not ask what came of its last look."""
    if not looking.cancelled():
        looking.exception()


def _look_for(services: Services, caller: Caller) -> Callable[[], Awaitable[Person | ApiKey | None]]:
    if isinstance(caller.principal, ApiKey):
        return partial(services.keys.still, caller.principal.id, bytes.fromhex(caller.token_sha256))
    return partial(services.presence, caller.token_sha256)


async def _present_reader(
    caller: CallerIn, reader: Annotated[Person, Depends(needs(Right.READ))], services: ServicesIn
) -> Present[Person]:
    return Present(reader, partial(services.presence, caller.token_sha256), Right.READ)


async def _present_uploader(caller: CallerIn, services: ServicesIn) -> Present[Person | ApiKey]:
    uploader = _check(caller.principal, Right.UPLOAD)
    return Present(uploader, _look_for(services, caller), Right.UPLOAD)


async def operator(services: ServicesIn, bearer: Bearer) -> None:
    """Lets the operators' token pass; it is compared in constant time and is nobody's session."""
    token = bearer.credentials if bearer else ""
    if not hmac.compare_digest(token.encode(), services.operator_token.encode()):
        raise NotSignedInError("this is for operators: send the operators' token as a bearer token")


Somebody = Annotated[Person, Depends(somebody)]
Reader = Annotated[Person, Depends(needs(Right.READ))]
PresentReader = Annotated[Present[Person], Depends(_present_reader)]
DocumentReader = Annotated[Principal, Depends(allows(Right.READ))]
Uploader = Annotated[Principal, Depends(allows(Right.UPLOAD))]
Producer = Annotated[ApiKey, Depends(producer)]
PresentUploader = Annotated[Present[Person | ApiKey], Depends(_present_uploader)]
Teacher = Annotated[Person, Depends(needs(Right.TEACH))]
LogReader = Annotated[Person, Depends(needs(Right.LOGS))]
Admin = Annotated[Person, Depends(needs(Right.ADMIN))]
