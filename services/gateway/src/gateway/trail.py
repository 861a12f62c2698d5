"""The use cases of whoever reads the audit log: all of a chain for operators, their tenant's records for admins."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.errors import NotFoundError
from gateway.ports import Accounts, AuditLog, AuditTrail
from gateway.records import AuditEntry, Person
from gateway.steps import each_step
from gateway.tenants import all_tenants
from sluice.access import Level
from sluice.audit import SYSTEM, AuditRecord, Head
from sluice.errors import AccessDeniedError


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A tenant's chain, or the system's; `last` is the number of the last record that is there."""

    tenant: str | None
    head: Head
    last: int


@dataclass(frozen=True, kw_only=True)
class Trail:
    accounts: Accounts
    trail: AuditTrail
    audit: AuditLog

    async def chains(self) -> Sequence[Chain]:
        """Every tenant's, also where nothing is left of it, and those of tenants that are gone."""
        found = {head.chain: (head, last) for head, last in await self.trail.heads()}
        slugs = {tenant.id: tenant.slug for tenant in await all_tenants(self.accounts)}
        names = sorted({SYSTEM, *found, *slugs}, key=lambda name: (slugs.get(name, ""), name))
        return [self._chain(name, slugs.get(name), found.get(name)) for name in names]

    async def export(self, chain: str) -> AsyncGenerator[AuditRecord | Head]:
        """All records, and the head; that it was read is the last of them. Raises NotFoundError."""
        if chain not in {known.head.chain for known in await self.chains()}:
            raise NotFoundError("there is no such chain")
        await self.audit.record(
            AuditEntry(
                tenant_id=None if chain == SYSTEM else chain, actor="operator", action="audit.exported", target=chain
            )
        )
        return self.trail.read(chain)

    async def page(
        self, admin: Person, limit: int, before: int | None, *, action: str | None, actor: str | None
    ) -> list[AuditRecord]:
        """The newest of the admin's tenant. Raises AccessDeniedError."""
        check_reader(admin)
        return await self.trail.page(admin.tenant.id, limit, before, action=action, actor=actor)

    async def keep_signed(self, pause: timedelta) -> None:
        while True:
            await each_step(self.trail.sign_anew)
            await asyncio.sleep(pause.total_seconds())

    @staticmethod
    def _chain(name: str, tenant: str | None, found: tuple[Head, int] | None) -> Chain:
        head, last = found or (Head(chain=name, sequence=0, hash=""), 0)
        return Chain(tenant=tenant, head=head, last=last)


def check_reader(admin: Person) -> None:
    """The records name INTERNAL documents, and quote log searches. Raises AccessDeniedError."""
    if admin.clearance is not Level.INTERNAL:
        raise AccessDeniedError("the audit log is for INTERNAL admins: it tells of INTERNAL documents")
