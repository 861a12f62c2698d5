"""/api/v1/auth/oidc: signing in at an issuer. The page keeps `binding` in a cookie and calls both, never a browser."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import StringConstraints

from gateway.login import DEFAULT_TENANT
from gateway.routes.dependencies import ServicesIn
from gateway.routes.identity import LoginOut, Slug, me
from gateway.routes.schemas import Body, Output

router = APIRouter(prefix="/api/v1/auth", tags=["identity"])
Secret = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{20,200}$")]
NamePath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class IssuerOut(Output):
    name: str
    title: str


class WaysOut(Output):
    """`forgotten`: a new password can be mailed. `sign_up`: the tenant is open to everybody."""

    issuers: list[IssuerOut]
    forgotten: bool
    sign_up: bool


class BeginIn(Body):
    tenant: Slug | None = None
    link: Secret | None = None
    binding_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BeginOut(Output):
    authorization_url: str
    expires_in: int


class FinishIn(Body):
    state: Secret
    binding: Secret
    code: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    iss: Annotated[str, StringConstraints(max_length=1000)] | None = None


@router.get("/ways")
async def get_ways(services: ServicesIn, tenant: Annotated[Slug | None, Query()] = None) -> WaysOut:
    """How one may sign in, beside a password."""
    shown = [IssuerOut(name=one.name, title=one.shown_as) for one in services.ways_in.at_issuer.of(tenant)]
    there = await services.accounts.tenant(tenant or DEFAULT_TENANT)
    is_open = services.ways_in.mails and there is not None and there.sign_up == "open"
    return WaysOut(issuers=shown, forgotten=services.ways_in.mails, sign_up=is_open)


@router.post("/oidc/{issuer}/begin")
async def post_begin(issuer: NamePath, body: BeginIn, services: ServicesIn) -> BeginOut:
    """Where to send the browser; what `binding_sha256` (hex) is of comes back with `finish`."""
    return BeginOut.model_validate(await services.ways_in.at_issuer.begin(issuer, **body.model_dump()))


@router.post("/oidc/{issuer}/finish")
async def post_finish(issuer: NamePath, body: FinishIn, services: ServicesIn) -> LoginOut:
    session = await services.ways_in.at_issuer.finish(issuer, **body.model_dump())
    return LoginOut(access_token=session.token, expires_in=session.expires_in, person=me(session.person))
