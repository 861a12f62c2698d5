"""Giving a document another level: the row first, then the message, and the end when nobody can be told it any more."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.errors import NotFoundError
from gateway.passports import SLACK, Holder
from gateway.ports import Accounts, AuditLog, Catalog, Moves, Places, Principals
from gateway.presence import LOOK_AGAIN_SECONDS
from gateway.records import AuditEntry, Document, FixState, Job, Principal, may_declassify
from gateway.steps import each_row, each_step
from gateway.submit import Submit, message_id, streams_of
from gateway.teach import Teach
from gateway.tokens import new_id
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError, TransientError
from sluice.messages import JobState

logger = logging.getLogger(__name__)
_QUIET_SECONDS = LOOK_AGAIN_SECONDS + 1
"""By then each stream that was running has looked again at what its reader may have."""
_AGAIN = timedelta(minutes=10)
_MOST_RUNS = 20


@dataclass(kw_only=True)
class Relevel:
    """What became INTERNAL is done when its EXTERNAL rows are gone, and every EXTERNAL question asked before has ended.

    Until then such a question may hold a passage of it: on a stream, at a model, in a reply log, in a client's stream.
    The EXTERNAL fixes that were taught from it go too, but those that somebody with the right had declassified.
    """

    submit: Submit
    catalog: Catalog
    moves: Moves
    places: Places
    accounts: Accounts
    principals: Principals
    audit: AuditLog
    teach: Teach
    quiet_seconds: float = _QUIET_SECONDS
    again_after: timedelta = _AGAIN
    _quiet: dict[str, float] = field(default_factory=dict[str, float])
    """Since when no question that was asked before stands in the way of a job."""

    async def __call__(self, principal: Principal, document_id: str, level: Level) -> tuple[Document, Job]:
        """Begins it; asking again gives the job that is under way.

        Raises:
            NotFoundError: no such document within the clearance of whoever asks.
            AccessDeniedError: the level lies above their clearance, or below the document's without the right.
            ConflictError: the level has a document of the same name, or another change is not done yet.
        """
        document = await self.submit.find(principal, document_id)
        if level not in principal.clearance.readable:
            raise AccessDeniedError(f"you cannot write {level} documents")
        if level < document.access_level and not may_declassify(principal):
            raise AccessDeniedError(f"this needs the right {Right.DECLASSIFY}, which you were not granted")
        job = _new_job(principal.id, document, level)
        async with self.audit.together():
            begun = await self.moves.begin(document, job)
            if begun is None:
                raise NotFoundError("there is no such document")
            if new := begun[1].id == job.id and begun[1].state is JobState.QUEUED:
                action = "document.declassified" if level < document.access_level else "document.classified"
                await self._note(principal.id, action, *begun)
                if level is Level.INTERNAL:
                    await self.teach.withdraw_what_rests_on(principal.id, document)
        if new:
            await self._send_soon(begun[1], begun[0])
        return begun

    async def _send_soon(self, job: Job, document: Document) -> None:
        """A broker that is away is asked again in a moment."""
        with suppress(TransientError):
            await self.send(job, document)

    async def send(self, job: Job, document: Document) -> None:
        """Publishes the job's message once those of earlier jobs stand nowhere: none of them writes behind it."""
        if job.access_level is Level.EXTERNAL and not await self._still(job):
            await self.catalog.fail_job(job.id, "who asked for this may not do so any more", run=job.run)
            return
        for other in await self.moves.others(job, datetime.now(UTC) - self.submit.deadline - SLACK):
            if await self._live(other):
                return
        tenant = await self.accounts.tenant_of(document.tenant_id)
        if tenant is None:
            raise NotFoundError("there is no such tenant")
        holder = Holder.system("relevel", tenant.slug, Level.INTERNAL, Right.UPLOAD)
        await self.submit.publish(holder, document, job)

    async def forever(self, pause: timedelta) -> None:
        """Sends what waits to be sent, and ends what has settled; gateways may do so side by side."""
        while True:
            await each_step(self.look)
            await asyncio.sleep(pause.total_seconds())

    async def look(self) -> None:
        unsent, settling = await self.moves.unsent(), await self.moves.settling()
        self._quiet = {job.id: self._quiet[job.id] for job, _ in settling if job.id in self._quiet}
        await each_row(unsent, lambda found: self.send(*found))
        await each_row(settling, lambda found: self._settle(*found))

    async def begin_failed_again(self) -> None:
        """What was told to become INTERNAL, or stays so, is not given up because something was away."""
        failed = await self.moves.failed(datetime.now(UTC) - self.again_after, below_run=_MOST_RUNS)
        await each_row(failed, lambda found: self._again(*found))

    async def _settle(self, job: Job, document: Document) -> None:
        if await self._fixes_left(job, document):
            self._quiet.pop(job.id, None)
            return
        if await self.moves.questions_open(job.tenant_id, job.updated_at):
            self._quiet.pop(job.id, None)
            return
        since = self._quiet.setdefault(job.id, time.monotonic())
        if time.monotonic() - since < self.quiet_seconds:
            return
        async with self.audit.together():
            if await self.moves.settled(job, datetime.now(UTC)):
                await self._note("system", "document.left-external", document, job)
                logger.info("job.ended", extra={"state": JobState.DONE, "document_id": document.id})

    async def _fixes_left(self, job: Job, document: Document) -> bool:
        """Whether a fix of it can still be read below its level; also one that was taught just as this began."""
        async with self.audit.together():
            if left := await self.teach.withdraw_what_rests_on("system", document):
                await self.moves.unsettled(job, datetime.now(UTC))
        tenant = await self.accounts.tenant_of(document.tenant_id)
        for fix in left:
            if tenant is not None and fix.state is FixState.WITHDRAWING and fix.published_at is None:
                holder = Holder.system("relevel", tenant.slug, fix.access_level, Right.TEACH)
                await self.teach.publish(holder, fix)
        return bool(left)

    async def _again(self, job: Job, document: Document) -> None:
        if job.access_level is Level.EXTERNAL or job.generation != document.generation:
            # It stays INTERNAL, so nothing of it may stay below, whatever was uploaded and failed since.
            await self.moves.begin(document, _new_job(job.created_by, document, Level.INTERNAL))
            return
        waited = self.again_after * 2 ** min(job.run - 1, 7)
        if job.updated_at < datetime.now(UTC) - waited:
            logger.warning("document.classified-again", extra={"document_id": document.id, "request_id": job.id})
            await self.catalog.again(job)

    async def _live(self, job: Job) -> bool:
        places = [await self.places.find(stream, message_id(job)) for stream in streams_of(job)]
        return any(place is not None and place.state != "dead" for place in places)

    async def _still(self, job: Job) -> bool:
        principal = await self.principals.principal(job.created_by)
        return principal is not None and Right.UPLOAD in principal.rights and may_declassify(principal)

    async def _note(self, actor: str, action: str, document: Document, job: Job) -> None:
        detail = {"job": job.id, "access_level": job.access_level, "generation": job.generation}
        await self.audit.record(
            AuditEntry(tenant_id=document.tenant_id, actor=actor, action=action, target=document.id, detail=detail)
        )


def _new_job(principal_id: str, document: Document, level: Level) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=new_id(),
        document_id=document.id,
        tenant_id=document.tenant_id,
        generation=document.generation,
        kind="relevel",
        access_level=level,
        state=JobState.QUEUED,
        created_by=principal_id,
        created_at=now,
        updated_at=now,
    )
