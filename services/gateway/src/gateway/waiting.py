"""Why a job is not done yet, in words for whoever waits for it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Literal

from gateway.ports import Places, WaitingJobs
from gateway.records import Job
from gateway.submit import message_id, streams_of
from sluice.access import Level
from sluice.messages import JobState
from sluice.places import COUNTED, Place

_COUNT_SECONDS = 5.0
_SETTLING = "waits for the questions that were asked before to end"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """`turn`: a bulk job that is not on the queue yet. `unsent`: the job's message stands nowhere."""

    state: Literal["turn", "unsent", "waiting", "running", "delayed", "dead"]
    detail: str
    attempt: int
    since: datetime | None = None
    due: datetime | None = None


@dataclass(kw_only=True)
class Explain:
    """Looks where the job's message stands, in either lane."""

    places: Places
    waiting: WaitingJobs
    sent_within: timedelta
    _counts: Mapping[str, int] = field(default_factory=dict[str, int])
    _counted_at: float = float("-inf")

    async def __call__(self, job: Job) -> Waiting | None:
        """None for a job that has ended. Raises TransientError when the broker is away."""
        if job.state.terminal:
            return None
        if job.state is JobState.SETTLING:
            return Waiting(state="running", detail=_SETTLING, attempt=job.attempt, since=job.updated_at)
        if job.waiting_lane is not None and job.published_at is None:
            return await self._turn(job, job.waiting_lane)
        places = await asyncio.gather(*(self.places.find(stream, message_id(job)) for stream in streams_of(job)))
        place = next((place for place in places if place is not None), None)
        return _standing(place) if place else self._unsent(job)

    async def _turn(self, job: Job, lane: Level) -> Waiting:
        if time.monotonic() - self._counted_at >= _COUNT_SECONDS:
            self._counts, self._counted_at = await self.waiting.counts(), time.monotonic()
        count = max(1, self._counts.get(lane, 0))
        detail = f"waits for its turn among {count} {_documents(count)}"
        return Waiting(state="turn", detail=detail, attempt=job.attempt, since=job.created_at)

    def _unsent(self, job: Job) -> Waiting:
        minutes = ceil(self.sent_within / timedelta(minutes=1))
        soon = "a minute" if minutes == 1 else f"{minutes} minutes"
        detail = f"not on the queue: it will be sent again within {soon}"
        if job.published_at is not None:
            detail = f"not on the queue: its end is being told, or it will be sent again within {soon}"
        return Waiting(state="unsent", detail=detail, attempt=job.attempt)


def _standing(place: Place) -> Waiting:
    return Waiting(state=place.state, detail=_detail(place), attempt=place.attempt, since=place.since, due=place.due)


def _detail(place: Place) -> str:
    if place.state == "dead":
        return f"in the dead letters: {place.reason or 'no reason was kept'}"
    if place.state == "delayed":
        times = "once" if place.attempt == 2 else f"{place.attempt - 1} times"
        again = f", again at {place.due:%H:%M:%S} UTC" if place.due else ""
        return f"tried {times}{again}: {place.reason or 'a passing failure'}"
    if place.state == "running":
        return "a worker is at it" if place.attempt == 1 else f"a worker is at it, attempt {place.attempt}"
    ahead = place.ahead or 0
    if ahead == 0:
        return "the next to be taken by a worker"
    number = f"{ahead} or more" if ahead >= COUNTED else str(ahead)
    return f"{number} {_documents(ahead)} {'is' if ahead == 1 else 'are'} before this one"


def _documents(count: int) -> str:
    return "document" if count == 1 else "documents"
