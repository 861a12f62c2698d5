"""Teaching an answer, and taking it back."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.errors import NotFoundError
from gateway.passports import Errand, Holder
from gateway.ports import AuditLog, Fixes, Publisher
from gateway.records import AuditEntry, FixRow, FixState, Person
from gateway.tokens import new_id
from sluice.access import Level, PassportSigner, digest
from sluice.errors import AccessDeniedError, TransientError
from sluice.messages import Fix, FixIndexed, FixTaught, FixWithdrawn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Teach:
    fixes: Fixes
    publisher: Publisher
    audit: AuditLog
    signer: PassportSigner
    deadline: timedelta

    async def __call__(self, person: Person, question: str, answer: str, level: Level) -> FixRow:
        """Keeps the fix and sends it to the index. Raises AccessDeniedError for a level above the clearance."""
        if level not in person.clearance.readable:
            raise AccessDeniedError(f"you cannot teach {level} answers")
        now = datetime.now(UTC)
        fix = FixRow(
            id=new_id(),
            tenant_id=person.tenant.id,
            question=question,
            answer=answer,
            access_level=level,
            state=FixState.PENDING,
            error=None,
            created_by=person.id,
            created_at=now,
            updated_at=now,
        )
        await self.fixes.add(fix)
        await self._note(person, "fix.taught", fix)
        await self.publish(Holder.of(person), fix)
        return fix

    async def withdraw(self, person: Person, fix_id: str) -> FixRow:
        """Begins to take a fix back; doing it again only sends the message again. Raises NotFoundError."""
        fix = await self.find(person, fix_id)
        if fix.state is not FixState.WITHDRAWING:
            await self.fixes.withdraw(fix.id)
            await self._note(person, "fix.withdrawn", fix)
            fix = replace(fix, state=FixState.WITHDRAWING, error=None)
        await self.publish(Holder.of(person), fix)
        return fix

    async def find(self, person: Person, fix_id: str) -> FixRow:
        """A fix within the person's clearance; else NotFoundError."""
        fix = await self.fixes.fix(person.tenant.id, fix_id)
        if fix is None or fix.access_level not in person.clearance.readable:
            raise NotFoundError("there is no such fix")
        return fix

    async def publish(self, holder: Holder, fix: FixRow) -> None:
        """Sends what the fix's state asks for, under the same id each time: a receiver that is done drops it.

        A broker that is away is tried again by the reconciler.
        """
        began = datetime.now(UTC)
        kind = FixWithdrawn if fix.state is FixState.WITHDRAWING else FixTaught
        content = Fix(fix_id=fix.id, question=fix.question, answer=fix.answer, access_level=fix.access_level)
        errand = Errand(
            holder=holder,
            job=fix.id,
            kinds=(kind, FixIndexed),
            deadline=began + self.deadline,
            bound={"fix": content},
        )
        message_id = digest([fix.id, kind.stream])[:32]
        try:
            await self.publisher.publish(kind(message_id=message_id, fix=content, **errand.envelope(self.signer)))
        except TransientError as error:
            logger.warning("fix.not-published", exc_info=error, extra={"request_id": fix.id})
        else:
            await self.fixes.published(fix.id, began)

    async def _note(self, person: Person, action: str, fix: FixRow) -> None:
        detail = {"access_level": fix.access_level}
        await self.audit.record(
            AuditEntry(tenant_id=person.tenant.id, actor=person.id, action=action, target=fix.id, detail=detail)
        )
