"""When silence means that something is lost, and how long to wait before what may not be given up."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from gateway.dispatch import Dispatch
from gateway.lost import FindLost
from gateway.reconcile import pause_before
from gateway.records import Document, DocumentState, Job
from gateway.steps import each_page, each_step
from sluice.access import Level
from sluice.errors import TransientError
from sluice.messages import JobState
from sluice.places import Place

_NOW = datetime.now(UTC)
_JOB = Job(
    id="job-1",
    document_id="document-1",
    tenant_id="tenant-1",
    generation=1,
    kind="index",
    state=JobState.PARSING,
    created_by="person-1",
    created_at=_NOW,
    updated_at=_NOW,
)
_DOCUMENT = Document(
    id="document-1",
    tenant_id="tenant-1",
    access_level=Level.EXTERNAL,
    name="a.txt",
    title="a.txt",
    url=None,
    sha256="",
    generation=1,
    state=DocumentState.PENDING,
    chunk_count=0,
    created_by="person-1",
    created_at=_NOW,
    updated_at=_NOW,
)


class _Rows:
    """One open job, nothing else; and what was done with it."""

    def __init__(self) -> None:
        self.begun: list[Job] = []
        self.ended: list[tuple[str, str]] = []

    async def unheard(self, _: datetime, after: Any) -> list[Any]:
        return [] if after else [(_JOB, _DOCUMENT)]

    async def again(self, job: Job) -> Job:
        self.begun.append(job)
        return job

    async def fail_job(self, job_id: str, error: str, *, run: int) -> None:
        self.ended.append((job_id, error))


class _Nothing:
    async def unheard(self, *_: Any) -> list[Any]:
        return []


class _Resend:
    def __init__(self) -> None:
        self.catalog = _Rows()
        self.fixes = self.conversations = _Nothing()

    async def job(self, *_: Any) -> None: ...


class _Places:
    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places

    async def find(self, stream: str, _: str) -> Place | None:
        return self._places.get(stream)


class _News:
    def __init__(self, *, heard: bool) -> None:
        self._heard = heard

    async def heard(self, *_: Any) -> bool:
        return self._heard


async def _found(places: Mapping[str, Place], *, heard: bool) -> _Rows:
    resend = _Resend()
    find = FindLost(
        places=_Places(places), news=_News(heard=heard), resend=cast(Any, resend), after=timedelta(seconds=30)
    )
    await find()
    return resend.catalog


async def test_a_job_that_stands_nowhere_is_begun_again() -> None:
    assert (await _found({}, heard=True)).begun == [_JOB]


async def test_while_news_waits_to_be_heard_nothing_counts_as_lost() -> None:
    """It may be the job's end."""
    assert (await _found({}, heard=False)).begun == []


@pytest.mark.parametrize("state", ["waiting", "running", "delayed"])
@pytest.mark.parametrize("lane", ["external", "internal"])
async def test_a_job_that_stands_in_any_lane_is_left_alone(state: Any, lane: str) -> None:
    rows = await _found({f"documents.submitted.v1.{lane}": Place(state=state, attempt=1)}, heard=True)
    assert (rows.begun, rows.ended) == ([], [])


async def test_a_job_that_is_dead_ends_with_the_reason_or_without_one() -> None:
    stream = "documents.submitted.v1.external"
    rows = await _found({stream: Place(state="dead", attempt=3, reason="no text found")}, heard=True)
    assert (rows.begun, rows.ended) == ([], [("job-1", "no text found")])
    [(_, reason)] = (await _found({stream: Place(state="dead", attempt=3)}, heard=True)).ended
    assert "no reason was kept" in reason


def test_each_pause_is_twice_the_one_before_and_none_longer_than_a_day() -> None:
    minute = timedelta(minutes=1)
    assert [pause_before(run, minute) for run in (1, 2, 3, 4)] == [minute, 2 * minute, 4 * minute, 8 * minute]
    assert pause_before(1000, minute) == timedelta(days=1)


async def test_a_step_that_fails_does_not_keep_the_others_from_being_taken() -> None:
    taken: list[str] = []

    async def away() -> None:
        raise TransientError("the broker is away")

    async def broken() -> None:
        raise ValueError("unforeseen")

    async def fine() -> None:
        taken.append("fine")

    await each_step(away, broken, fine)
    assert taken == ["fine"]


@pytest.mark.parametrize("error", [ValueError("unforeseen"), TransientError("its blob cannot be read")])
async def test_a_row_that_fails_does_not_keep_the_next_ones_waiting(error: Exception) -> None:
    seen: list[int] = []

    async def read(last: int | None) -> list[int]:
        return {None: [1, 2], 2: [3]}.get(last, [])

    async def work(row: int) -> None:
        seen.append(row)
        if row == 1:
            raise error

    await each_page(read, work)
    assert seen == [1, 2, 3]


async def test_what_is_away_for_ten_rows_is_away_for_all() -> None:
    seen: list[int] = []

    async def read(last: int | None) -> list[int]:
        return list(range((last or 0) + 1, (last or 0) + 101))

    async def away(row: int) -> None:
        seen.append(row)
        if row != 5:
            raise TransientError("the broker is away")

    with pytest.raises(TransientError):
        await each_page(read, away)
    assert seen == list(range(1, 16))


class _Waiting:
    """One job for each lane, until it is ended; of the external lane nothing can be counted."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def standing(self, _: Any, lane: Level) -> int:
        if lane is Level.EXTERNAL:
            raise TransientError("the broker is away")
        return 0

    async def admit(self) -> None: ...

    async def next(self, *_: Any) -> tuple[str, str] | None:
        return None if self.ended else ("tenant-1", "job-1")

    async def job(self, *_: Any) -> tuple[Job, Document]:
        return _JOB, _DOCUMENT

    async def principal(self, _: str) -> None:
        raise ValueError("unforeseen")

    async def fail_job(self, job_id: str, error: str, *, run: int) -> None:
        self.ended.append(error)


async def test_a_bulk_job_that_cannot_be_sent_ends_with_a_reason_and_one_lane_does_not_hold_up_the_other() -> None:
    waiting: Any = _Waiting()
    dispatch = Dispatch(
        waiting=waiting, gate=waiting, catalog=waiting, principals=waiting, submit=cast(Any, None), window=5
    )
    await dispatch()
    [reason] = waiting.ended
    assert "upload it again" in reason
