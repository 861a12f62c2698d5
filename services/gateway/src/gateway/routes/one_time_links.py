"""Links that are good once: invitations, new passwords, and signing up at a tenant that is open to it."""

from datetime import datetime
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from gateway.arrivals import Purpose
from gateway.one_time_links import NewLink
from gateway.records import Tenant
from gateway.routes.dependencies import Admin, ServicesIn
from gateway.routes.identity import LoginOut, NewPassword, PersonOut, Slug, me, person_out
from gateway.routes.oidc import IssuerOut, Secret
from gateway.routes.schemas import Body, Email, IdPath, Output, RightsIn

router = APIRouter(prefix="/api/v1", tags=["identity"])
_MAIL = Field(default=False, description="Mail it to the person's address too.")


class InvitationIn(Body):
    email: Email
    rights: RightsIn = frozenset()
    mail: bool = _MAIL


class LinkIn(Body):
    mail: bool = _MAIL


class LinkOut(Output):
    url: str = Field(description="The link. It is shown this once, and only its hash is kept.")
    purpose: Purpose
    expires_at: datetime
    mailed: bool


class InvitationOut(LinkOut):
    person: PersonOut


class TokenIn(Body):
    token: Secret


class FoundLinkOut(Output):
    purpose: Purpose
    email: str
    tenant: str
    issuers: list[IssuerOut]


class UseIn(TokenIn):
    new_password: NewPassword


class ForgottenIn(Body):
    email: Email
    tenant: Slug | None = None


class SignUpIn(Body):
    email: Email
    tenant: Slug


class TenantSettings(Body):
    sign_up: Literal["open", "closed"]


class TenantSettingsOut(Output):
    slug: str
    name: str
    internal_domains: list[str]
    sign_up: Literal["open", "closed"]


@router.post("/invitations", status_code=HTTPStatus.CREATED)
async def post_invitation(body: InvitationIn, admin: Admin, services: ServicesIn) -> InvitationOut:
    """A new person, who chooses their password by the link, or comes from an issuer with it."""
    links = services.ways_in.links
    person, link = await links.invite(admin, admin.tenant, body.email, body.rights, mail=body.mail)
    return InvitationOut(person=person_out(person, {}), **_link_out(link).model_dump())


@router.post("/people/{person_id}/links", status_code=HTTPStatus.CREATED)
async def post_link(person_id: IdPath, body: LinkIn, admin: Admin, services: ServicesIn) -> LinkOut:
    """By which the person chooses a new password. Their former links are not good any more."""
    return _link_out(await services.ways_in.links.renew(admin, person_id, mail=body.mail))


@router.post("/auth/links/look")
async def post_look(body: TokenIn, services: ServicesIn) -> FoundLinkOut:
    """What a link is for. It stays good."""
    link, tenant = await services.ways_in.links.look(body.token)
    issuers = services.ways_in.at_issuer.of(tenant.slug) if link.person_id else []
    shown = [IssuerOut(name=issuer.name, title=issuer.shown_as) for issuer in issuers]
    return FoundLinkOut(purpose=link.purpose, email=link.email, tenant=tenant.name, issuers=shown)


@router.post("/auth/links/use")
async def post_use(body: UseIn, services: ServicesIn) -> LoginOut:
    session = await services.ways_in.links.use(body.token, body.new_password)
    return LoginOut(access_token=session.token, expires_in=session.expires_in, person=me(session.person))


@router.post("/auth/forgotten", status_code=HTTPStatus.ACCEPTED)
async def post_forgotten(body: ForgottenIn, services: ServicesIn) -> None:
    """The same answer, as fast, whether anybody has the address."""
    services.ways_in.links.forgotten(body.email, body.tenant)


@router.post("/auth/sign-up", status_code=HTTPStatus.ACCEPTED)
async def post_sign_up(body: SignUpIn, services: ServicesIn) -> None:
    """The same answer, as fast, whether the tenant has somebody with the address."""
    await services.ways_in.links.sign_up(body.email, body.tenant)


@router.get("/tenant")
async def get_tenant(admin: Admin) -> TenantSettingsOut:
    return _tenant_out(admin.tenant)


@router.patch("/tenant")
async def patch_tenant(body: TenantSettings, admin: Admin, services: ServicesIn) -> TenantSettingsOut:
    """Whether whoever has an address may become an EXTERNAL person of the tenant, with the right to read."""
    return _tenant_out(await services.ways_in.links.open_sign_up(admin, opened=body.sign_up == "open"))


def _link_out(link: NewLink) -> LinkOut:
    return LinkOut.model_validate(link)


def _tenant_out(tenant: Tenant) -> TenantSettingsOut:
    return TenantSettingsOut.model_validate(tenant)
