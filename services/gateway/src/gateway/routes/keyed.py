"""The header Idempotency-Key: doing something once, however often it is asked for."""

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from gateway.errors import InvalidInputError
from gateway.idempotency import Idempotency
from gateway.records import Claim, Principal
from gateway.routes.dependencies import ServicesIn
from sluice.access import digest

_KEY = re.compile(r"[\x20-\x7e]{1,200}")


class Keyed:
    """What the request says of itself, to know it again by."""

    def __init__(self, idempotency: Idempotency, request: Request, key: str | None) -> None:
        self._idempotency = idempotency
        self._route = [request.method, request.url.path]
        self._key = key

    @property
    def given(self) -> bool:
        return self._key is not None

    async def claim(self, principal: Principal, asked: Any) -> Claim | None:
        """None without a key. `asked` is the body as JSON has it. Raises KeyReusedError."""
        if self._key is None:
            return None
        return await self._idempotency.claim(principal, self._key, digest([*self._route, asked]))

    async def settle(self, claim: Claim | None) -> None:
        """All was made that the request asked for."""
        if claim is not None:
            await self._idempotency.settle(claim)


def _keyed(
    request: Request,
    services: ServicesIn,
    idempotency_key: Annotated[
        str | None,
        Header(description="1 to 200 printable ASCII characters: asking again under the same key gives the same."),
    ] = None,
) -> Keyed:
    given = request.headers.getlist("idempotency-key")
    if len(given) > 1 or (idempotency_key is not None and not _KEY.fullmatch(idempotency_key)):
        raise InvalidInputError("Idempotency-Key", "must be one of 1 to 200 printable ASCII characters")
    return Keyed(services.idempotency, request, idempotency_key)


KeyedIn = Annotated[Keyed, Depends(_keyed)]
