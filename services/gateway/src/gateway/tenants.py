"""Tenants, and the very first admin."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.errors import ConflictError, InvalidInputError, NotFoundError
from gateway.login import DEFAULT_TENANT
from gateway.ports import Accounts, AuditLog, FirstKeys, Passwords
from gateway.records import AuditEntry, Page, Person, Tenant
from gateway.tokens import new_id, new_one_time_password
from sluice.access import Right, normalise_email

INTERNAL_DOMAINS = ["razorpay.com"]
_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class FirstAdmin:
    """Who is made when nobody is there; without a password a one-time one is written to the file."""

    email: str
    password: str | None
    password_file: Path


async def add_tenant(
    accounts: Accounts, audit: AuditLog, keys: FirstKeys, *, slug: str, name: str, internal_domains: list[str] | None
) -> Tenant:
    """Raises InvalidInputError for a domain that is none, ConflictError for a slug that is taken."""
    domains = [_domain(domain) for domain in (INTERNAL_DOMAINS if internal_domains is None else internal_domains)]
    tenant = Tenant(id=new_id(), slug=slug, name=name, internal_domains=domains, created_at=datetime.now(UTC))
    async with audit.together():
        await accounts.add_tenant(tenant)
        keys.begin(slug)
        await audit.record(AuditEntry(tenant_id=tenant.id, actor="operator", action="tenant.added", target=slug))
    return tenant


async def all_tenants(accounts: Accounts) -> list[Tenant]:
    """The newest first."""
    tenants: list[Tenant] = []
    page = Page(limit=_PAGE)
    while found := (await accounts.tenants(page))[:_PAGE]:
        tenants += found
        page = Page(limit=_PAGE, before=(found[-1].created_at, found[-1].id))
    return tenants


async def find_tenant(accounts: Accounts, slug: str) -> Tenant:
    tenant = await accounts.tenant(slug)
    if tenant is None:
        raise NotFoundError("there is no such tenant")
    return tenant


async def suspend_tenant(accounts: Accounts, audit: AuditLog, slug: str, *, suspended: bool) -> Tenant:
    """Suspends a tenant with all its people and keys, or ends that; doing it again changes nothing.

    Raises:
        NotFoundError: there is no such tenant.
    """
    tenant = await find_tenant(accounts, slug)
    if suspended is (tenant.suspended_at is not None):
        return tenant
    action = "tenant.suspended" if suspended else "tenant.resumed"
    async with audit.together():
        await accounts.suspend_tenant(tenant.id, datetime.now(UTC) if suspended else None)
        await audit.record(AuditEntry(tenant_id=tenant.id, actor="operator", action=action, target=slug))
    return await find_tenant(accounts, slug)


async def ensure_first_admin(
    accounts: Accounts, passwords: Passwords, audit: AuditLog, keys: FirstKeys, first: FirstAdmin
) -> None:
    """Makes tenant and admin that are missing; of gateways that start at once, one does."""
    tenant = await _default_tenant(accounts, audit, keys)
    known = await accounts.credentials(first.email)
    if any(credentials.person.tenant.id == tenant.id for credentials in known):
        return
    password = first.password or new_one_time_password()
    person = Person(
        id=new_id(),
        tenant=tenant,
        email=first.email,
        email_verified=True,
        rights=frozenset(Right) - {Right.OPERATOR},
        created_at=datetime.now(UTC),
    )
    password_hash, detail = await passwords.hash(password), {"first": True}
    added = AuditEntry(tenant_id=tenant.id, actor="system", action="person.added", target=person.id, detail=detail)
    try:
        async with audit.together():
            await accounts.add_person(person, password_hash, one_time=first.password is None)
            await audit.record(added)
    except ConflictError:
        return
    if first.password is None:
        _write_secret(first.password_file, password)


async def _default_tenant(accounts: Accounts, audit: AuditLog, keys: FirstKeys) -> Tenant:
    if tenant := await accounts.tenant(DEFAULT_TENANT):
        return tenant
    try:
        return await add_tenant(accounts, audit, keys, slug=DEFAULT_TENANT, name="Default", internal_domains=None)
    except ConflictError:
        return await find_tenant(accounts, DEFAULT_TENANT)


def _write_secret(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)


def _domain(domain: str) -> str:
    try:
        return normalise_email(f"name@{domain}").partition("@")[2]
    except ValueError as error:
        raise InvalidInputError("internal_domains", "must be mail domains such as example.com") from error
