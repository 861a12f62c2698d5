"""For operators, by their own token: tenants, and the first people in them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field, StringConstraints

from gateway.routes.dependencies import ServicesIn, operator
from gateway.routes.identity import NewPersonOut, PersonIn, Slug, new_person_out
from gateway.routes.schemas import Body, Listing, Output, PageIn, Text, listing
from gateway.tenants import add_tenant, find_tenant, suspend_tenant

router = APIRouter(prefix="/api/v1/tenants", tags=["operators"], dependencies=[Depends(operator)])
Domain = Annotated[str, StringConstraints(min_length=3, max_length=253)]


class TenantIn(Body):
    slug: Slug
    name: Annotated[Text, StringConstraints(max_length=200)]
    internal_domains: list[Domain] | None = Field(
        default=None, max_length=50, description="Mail domains of INTERNAL people; razorpay.com when not given."
    )


class TenantOut(Output):
    id: str
    slug: str
    name: str
    internal_domains: list[str]
    created_at: datetime
    suspended_at: datetime | None


class TenantChange(Body):
    suspended: bool = Field(description="Nobody of it may act, no key and no person, and its jobs wait.")


@router.post("", status_code=HTTPStatus.CREATED)
async def post_tenant(body: TenantIn, services: ServicesIn) -> TenantOut:
    tenant = await add_tenant(services.accounts, services.audit, services.first_keys, **body.model_dump())
    return TenantOut.model_validate(tenant)


@router.get("")
async def get_tenants(services: ServicesIn, page: PageIn) -> Listing[TenantOut]:
    tenants = await services.accounts.tenants(page)
    return listing(tenants, page, TenantOut.model_validate, lambda tenant: (tenant.created_at, tenant.id))


@router.patch("/{slug}")
async def patch_tenant(slug: Slug, body: TenantChange, services: ServicesIn) -> TenantOut:
    """Suspends the tenant: sessions end, streams too within seconds; or resumes it."""
    tenant = await suspend_tenant(services.accounts, services.audit, slug, suspended=body.suspended)
    services.dispatch.wake()
    return TenantOut.model_validate(tenant)


@router.post("/{slug}/people", status_code=HTTPStatus.CREATED)
async def post_tenant_person(slug: Slug, body: PersonIn, services: ServicesIn) -> NewPersonOut:
    tenant = await find_tenant(services.accounts, slug)
    return new_person_out(await services.people.add(None, tenant, body.email, body.rights))
