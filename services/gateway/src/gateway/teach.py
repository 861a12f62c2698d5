"""Teaching an answer, and taking it back."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.errors import NotFoundError
from gateway.passports import Errand, Holder
from gateway.ports import AuditLog, Fixes, Publisher, Sources
from gateway.records import AuditEntry, Document, FixRow, FixState, Person, may_declassify
from gateway.tokens import new_id
from sluice.access import Level, PassportSigner, Right
from sluice.errors import AccessDeniedError, TransientError
from sluice.messages import Fix, FixIndexed, FixTaught, FixWithdrawn, message_id_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Teach:
    fixes: Fixes
    sources: Sources
    publisher: Publisher
    audit: AuditLog
    signer: PassportSigner
    deadline: timedelta

    async def __call__(
        self,
        person: Person,
        question: str,
        answer: str,
        level: Level,
        *,
        sources: Collection[str] = (),
        fix_id: str | None = None,
    ) -> FixRow:
        """Keeps the fix and sends it to the index. A `fix_id` that is there already names the same fix.

        Raises:
            AccessDeniedError: the level lies above the person's clearance, or below what they may have written from.
        """
        if level not in person.clearance.readable:
            raise AccessDeniedError(f"you cannot teach {level} answers")
        now = datetime.now(UTC)
        fix = FixRow(
            id=fix_id or new_id(),
            tenant_id=person.tenant.id,
            question=question,
            answer=answer,
            access_level=level,
            state=FixState.PENDING,
            error=None,
            created_by=person.id,
            created_at=now,
            updated_at=now,
            sources=[],
        )
        async with self.audit.together():
            rests_on = {*sources, *await self.fixes.sources_of(person.tenant.id, sources)}
            fix = replace(fix, sources=sorted(rests_on))  # also when the fix that it was taught from is gone
            if level < person.clearance and not await self._rests_on(person, sources, level):
                fix = replace(fix, declassified=True)
            if fix.declassified and not may_declassify(person):
                raise AccessDeniedError(
                    f"without sources that are all {level} this needs the right {Right.DECLASSIFY}: "
                    "teach it as INTERNAL"
                )
            if added := await self.fixes.add(fix):
                await self._note(person.id, "fix.declassified" if fix.declassified else "fix.taught", fix)
        if not added:
            fix = await self.find(person, fix.id)
        if fix.state is FixState.PENDING and fix.published_at is None:
            await self.publish(Holder.of(person, Right.TEACH), fix)
        return fix

    async def withdraw(self, person: Person, fix_id: str) -> FixRow:
        """Begins to take a fix back; doing it again only sends the message again. Raises NotFoundError."""
        fix = await self.find(person, fix_id)
        if fix.state is not FixState.WITHDRAWING:
            async with self.audit.together():
                await self.fixes.withdraw(fix.id)
                await self._note(person.id, "fix.withdrawn", fix)
            fix = await self.find(person, fix_id)
        await self.publish(Holder.of(person, Right.TEACH), fix)
        return fix

    async def withdraw_what_rests_on(self, actor: str, document: Document) -> list[FixRow]:
        """Begins to take back the EXTERNAL fixes of a document that became INTERNAL; those that are not gone yet."""
        resting = await self.fixes.resting_on(document.tenant_id, document.id)
        for fix in resting:
            if fix.state is not FixState.WITHDRAWING:
                await self.fixes.withdraw(fix.id)
                await self._note(actor, "fix.withdrawn", fix, classified=document.id)
        return resting

    async def _rests_on(self, person: Person, sources: Collection[str], level: Level) -> bool:
        """Whether there are sources, and all of them are of the level or below."""
        found = await self.sources.readable(person.tenant.id, sources, level.readable) if sources else set[str]()
        return bool(sources) and set(sources) <= found

    async def find(self, person: Person, fix_id: str) -> FixRow:
        """A fix within the person's clearance; else NotFoundError."""
        fix = await self.fixes.fix(person.tenant.id, fix_id)
        if fix is None or fix.access_level not in person.clearance.readable:
            raise NotFoundError("there is no such fix")
        return fix

    async def publish(self, holder: Holder, fix: FixRow) -> None:
        """Sends what the fix's state asks for, under the same id each time in one run.

        A broker that is away is tried again by the reconciler.
        """
        kind = kind_of(fix)
        content = Fix(fix_id=fix.id, question=fix.question, answer=fix.answer, access_level=fix.access_level)
        errand = Errand(
            holder=holder,
            job=fix.id,
            kinds=(kind, FixIndexed),
            deadline=datetime.now(UTC) + self.deadline,
            bound={"fix": content},
        )
        envelope = errand.envelope(self.signer)
        try:
            await self.publisher.publish(kind(message_id=message_id(fix), run=fix.run, fix=content, **envelope))
        except TransientError as error:
            logger.warning("fix.not-published", exc_info=error, extra={"request_id": fix.id})
        else:
            await self.fixes.published(fix, datetime.now(UTC))

    async def _note(self, actor: str, action: str, fix: FixRow, **detail: Any) -> None:
        detail |= {"access_level": fix.access_level} | ({"sources": fix.sources} if fix.sources else {})
        await self.audit.record(
            AuditEntry(tenant_id=fix.tenant_id, actor=actor, action=action, target=fix.id, detail=detail)
        )


def kind_of(fix: FixRow) -> type[FixTaught] | type[FixWithdrawn]:
    return FixWithdrawn if fix.state is FixState.WITHDRAWING else FixTaught


def message_id(fix: FixRow) -> str:
    return message_id_of(kind_of(fix), fix.id, run=fix.run)
