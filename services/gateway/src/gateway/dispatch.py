"""Bulk jobs wait in SQL and are published a few at a time: tenants take turns, and the queue stays short."""

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from prometheus_client import Gauge

from gateway.passports import Holder
from gateway.ports import Catalog, Gate, Principals, WaitingJobs
from gateway.records import Document, Job
from gateway.steps import each_step
from gateway.submit import Submit
from sluice.access import Level, Right
from sluice.errors import SluiceError, TransientError
from sluice.messages import BulkDocumentSubmitted

logger = logging.getLogger(__name__)
_WAITING = Gauge("sluice_bulk_waiting", "Bulk documents that wait for their turn to be published.", ["lane"])
_MEASURE_SECONDS = 15.0


@dataclass(kw_only=True)
class Dispatch:
    """Keeps up to `window` bulk jobs of each lane on the queue.

    Gateways may do so side by side: who publishes a job that another has published changes nothing.
    """

    waiting: WaitingJobs
    gate: Gate
    catalog: Catalog
    principals: Principals
    submit: Submit
    window: int
    _last: defaultdict[Level, str] = field(default_factory=lambda: defaultdict[Level, str](str))
    """The tenant that had its turn last, a lane."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _measured_at: float = float("-inf")

    def wake(self) -> None:
        """A job was taken in, or has ended."""
        self._bell.set()

    async def forever(self, pause: timedelta) -> None:
        """Looks when it is woken, and after every pause: the other gateways' jobs end too."""
        while True:
            self._bell.clear()
            try:
                await self()
                await self._measure()
            except SluiceError as error:
                logger.warning("dispatch.failed", exc_info=error)
            except Exception as error:
                logger.exception("dispatch.broken", exc_info=error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), pause.total_seconds())

    async def __call__(self) -> None:
        """Fills the window of each lane, tenant by tenant, a tenant's oldest job first."""
        await each_step(*(partial(self._fill, lane) for lane in Level))

    async def _fill(self, lane: Level) -> None:
        room = self.window - await self.gate.standing(BulkDocumentSubmitted, lane)
        while room > 0 and (found := await self._next(lane)):
            await self.gate.admit()
            if not await self._publish_or_end(*found):
                break
            room -= 1

    async def _next(self, lane: Level) -> tuple[Job, Document] | None:
        found = await self.waiting.next(lane, self._last[lane])
        if found is None and self._last[lane]:
            found = await self.waiting.next(lane, "")
        if found is None:
            return None
        self._last[lane] = found[0]
        return await self.catalog.job(*found)

    async def _publish_or_end(self, job: Job, document: Document) -> bool:
        """A job that cannot be published does not stay the first for ever."""
        try:
            return await self._publish(job, document)
        except TransientError:
            raise
        except Exception as error:
            logger.exception("dispatch.job-failed", exc_info=error, extra={"request_id": job.id})
        await self.catalog.fail_job(job.id, "this could not be sent to be indexed: upload it again", run=job.run)
        self.wake()
        return True

    async def _publish(self, job: Job, document: Document) -> bool:
        """With what the principal may do now. False: the broker is away."""
        principal = await self.principals.principal(job.created_by)
        may = principal and Right.UPLOAD in principal.rights and document.access_level in principal.clearance.readable
        if principal and may:
            return await self.submit.publish(Holder.of(principal, Right.UPLOAD), document, job)
        await self.catalog.fail_job(job.id, "who asked for this may not do so any more")
        self.wake()  # it takes no room on the queue
        return True

    async def _measure(self) -> None:
        if time.monotonic() - self._measured_at < _MEASURE_SECONDS:
            return
        self._measured_at = time.monotonic()
        counts = await self.waiting.counts()
        for lane in Level:
            _WAITING.labels(lane).set(counts.get(lane, 0))
