"""The use cases: a part of the index made anew, or compared with the blob store, by the worker that has its keys."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from gateway.errors import NotFoundError
from gateway.passports import Errand, Holder
from gateway.ports import Accounts, AuditLog, IndexTasks, Publisher
from gateway.records import AuditEntry, IndexTask, Tenant
from gateway.tenants import all_tenants, find_tenant
from gateway.tokens import new_id
from sluice.access import Level, PassportSigner, digest
from sluice.messages import IndexDamaged, IndexPart, IndexProgress, IndexRebuilt, IndexVerified, message_id_of

logger = logging.getLogger(__name__)
_KINDS: tuple[Literal["chunks", "fixes"], ...] = get_args(IndexPart.model_fields["kind"].annotation)


@dataclass(frozen=True, kw_only=True)
class Indexes:
    """A passport for this work names the system, and carries no rights and the collection's level alone."""

    accounts: Accounts
    tasks: IndexTasks
    publisher: Publisher
    audit: AuditLog
    signer: PassportSigner
    deadline: timedelta

    async def mend(self, damaged: IndexDamaged, now: datetime) -> None:
        """Takes a worker's hint, which anyone could have sent: what is sound is left as it is by whoever rebuilds.

        The hint comes again as long as the damage stands: one attempt an hour, as one may end without having mended it.
        """
        tenant = await self.accounts.tenant(damaged.tenant)
        if tenant is None or damaged.part.incident is None:
            logger.warning("index.hint-refused", extra={"tenant": damaged.tenant})
            return
        part = damaged.part
        hour = now.astimezone(UTC).strftime("%Y-%m-%dT%H")
        job = digest([tenant.slug, part.access_level, part.kind, part.incident, hour])[:32]
        if await self._send(IndexRebuilt, tenant, part, job):
            await self._note(tenant, "system", "index.damaged", part)

    async def rebuild(self, slug: str, levels: Sequence[Level]) -> list[IndexTask]:
        """Raises NotFoundError."""
        return await self._begin(IndexRebuilt, "index.rebuilt", [await find_tenant(self.accounts, slug)], levels)

    async def verify(self, slug: str | None, levels: Sequence[Level]) -> list[IndexTask]:
        """Of one tenant, or of all. Raises NotFoundError."""
        tenants = await all_tenants(self.accounts) if slug is None else [await find_tenant(self.accounts, slug)]
        return await self._begin(IndexVerified, "index.verified", tenants, levels)

    async def task(self, task_id: str) -> IndexTask:
        """Raises NotFoundError, also when it is a day old."""
        task = await self.tasks.find(task_id)
        if task is None:
            raise NotFoundError("there is no such task, or it is too long ago")
        return task

    async def progressed(self, message: IndexProgress) -> None:
        """Only ever forward; what no operator asked for is in the log alone."""
        if message.state != "rebuilding":
            details = {"state": message.state, "level": message.part.access_level, "kind": message.part.kind}
            logger.info("index.progress", extra={**details, "rows": message.rows, "error": message.error})
        task = await self.tasks.find(message.request_id)
        if task is None or task.ended or (message.state == task.state and message.rows < task.rows):
            return
        counts = {name: getattr(message, name) for name in ("state", "rows", "missing", "extra", "unusable", "error")}
        await self.tasks.keep(replace(task, **counts))

    async def _begin(
        self,
        kind: type[IndexRebuilt] | type[IndexVerified],
        action: str,
        tenants: Sequence[Tenant],
        levels: Sequence[Level],
    ) -> list[IndexTask]:
        begun: list[IndexTask] = []
        for tenant in tenants:
            for part in (IndexPart(access_level=level, kind=kind_) for level in levels for kind_ in _KINDS):
                task = IndexTask(id=new_id(), tenant=tenant.slug, access_level=part.access_level, kind=part.kind)
                await self._note(tenant, "operator", action, part)
                await self.tasks.keep(task)
                await self._send(kind, tenant, part, task.id)
                begun.append(task)
        return begun

    async def _send(
        self, kind: type[IndexRebuilt] | type[IndexVerified], tenant: Tenant, part: IndexPart, job: str
    ) -> bool:
        work = "rebuild" if kind is IndexRebuilt else "verify"
        holder = replace(Holder.system(work, tenant.slug, part.access_level), single_level=True)
        errand = Errand(
            holder=holder,
            job=job,
            kinds=(kind, IndexProgress),
            deadline=datetime.now(UTC) + self.deadline,
            bound={"part": part},
        )
        return await self.publisher.publish(
            kind(message_id=message_id_of(kind, job), part=part, **errand.envelope(self.signer))
        )

    async def _note(self, tenant: Tenant, actor: str, action: str, part: IndexPart) -> None:
        target, detail = f"{part.access_level}.{part.kind}", {"incident": part.incident}
        await self.audit.record(
            AuditEntry(tenant_id=tenant.id, actor=actor, action=action, target=target, detail=detail)
        )
