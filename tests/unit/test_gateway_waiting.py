"""Why a job is not done, in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.records import Job
from gateway.submit import message_id
from gateway.waiting import Explain
from sluice.access import Level
from sluice.messages import BulkDocumentSubmitted, DocumentDeleted, DocumentSubmitted, JobState
from sluice.places import COUNTED, Place

NOW = datetime(2026, 1, 1, 12, 3, 0, tzinfo=UTC)
JOB = Job(
    id="j1",
    document_id="d1",
    tenant_id="t1",
    generation=1,
    kind="index",
    state=JobState.QUEUED,
    created_by="p1",
    created_at=NOW,
    updated_at=NOW,
)


@dataclass
class FakePlaces:
    places: dict[tuple[str, str], Place] = field(default_factory=dict)

    async def find(self, stream: str, message_id: str) -> Place | None:
        return self.places.get((stream, message_id))


@dataclass
class FakeWaitingJobs:
    """10 wait in the INTERNAL lane."""

    counted: int = 0

    async def next(self, lane: Level, after_tenant: str) -> tuple[str, str] | None:
        return None

    async def counts(self) -> Mapping[str, int]:
        self.counted += 1
        return {Level.INTERNAL: 10}


def explain(job: Job = JOB, place: Place | None = None, stream: str = "", **changes: object) -> Explain:
    stream = stream or DocumentSubmitted.stream_of(Level.EXTERNAL)
    places = FakePlaces({(stream, message_id(job)): place} if place else {})
    values: dict[str, object] = {"waiting": FakeWaitingJobs(), "sent_within": timedelta(seconds=60), **changes}
    return Explain(places=places, **values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("place", "detail"),
    [
        (Place(state="waiting", attempt=1, ahead=0), "the next to be taken by a worker"),
        (Place(state="waiting", attempt=1, ahead=1), "1 document is before this one"),
        (Place(state="waiting", attempt=1, ahead=3), "3 documents are before this one"),
        (Place(state="waiting", attempt=1, ahead=COUNTED), f"{COUNTED} or more documents are before this one"),
        (Place(state="running", attempt=1, worker="w", since=NOW), "a worker is at it"),
        (Place(state="running", attempt=2, worker="w", since=NOW), "a worker is at it, attempt 2"),
        (
            Place(state="delayed", attempt=2, due=NOW, reason="the index does not answer"),
            "tried once, again at 12:03:00 UTC: the index does not answer",
        ),
        (
            Place(state="delayed", attempt=4, due=NOW, reason=None),
            "tried 3 times, again at 12:03:00 UTC: a passing failure",
        ),
        (Place(state="dead", attempt=5, reason="it is encrypted"), "in the dead letters: it is encrypted"),
    ],
)
async def test_where_the_message_stands_is_told_in_a_sentence(place: Place, detail: str) -> None:
    why = await explain(place=place)(JOB)
    assert why is not None
    assert (why.state, why.detail, why.attempt) == (place.state, detail, place.attempt)
    assert (why.since, why.due) == (place.since, place.due)


@pytest.mark.parametrize("lane", list(Level))
@pytest.mark.parametrize(
    ("changes", "kind"),
    [({}, DocumentSubmitted), ({"bulk": True, "run": 2}, BulkDocumentSubmitted), ({"kind": "delete"}, DocumentDeleted)],
)
async def test_the_message_of_this_run_is_found_on_the_stream_of_its_kind_in_either_lane(
    lane: Level, changes: dict[str, object], kind: type[DocumentSubmitted]
) -> None:
    job = replace(JOB, **changes)  # pyright: ignore[reportArgumentType]
    why = await explain(job, Place(state="waiting", attempt=1, ahead=0), kind.stream_of(lane))(job)
    assert why is not None
    assert why.state == "waiting"
    other = await explain(replace(job, run=9), Place(state="waiting", attempt=1, ahead=0), kind.stream_of(lane))(job)
    assert other is not None
    assert other.state == "unsent"


async def test_a_message_that_stands_nowhere_will_be_sent_again() -> None:
    why = await explain()(JOB)
    assert why is not None
    assert (why.state, why.detail) == ("unsent", "not on the queue: it will be sent again within a minute")
    later = await explain(sent_within=timedelta(seconds=75))(replace(JOB, published_at=NOW))
    assert later is not None
    assert later.detail == "not on the queue: its end is being told, or it will be sent again within 2 minutes"


async def test_a_bulk_job_waits_for_its_turn_and_the_others_are_not_counted_for_each_look() -> None:
    job = replace(JOB, bulk=True, waiting_lane=Level.INTERNAL)
    waiting = FakeWaitingJobs()
    ask = explain(waiting=waiting)
    for _ in range(3):
        why = await ask(job)
        assert why is not None
        assert (why.state, why.detail) == ("turn", "waits for its turn among 10 documents")
    assert waiting.counted == 1


@pytest.mark.parametrize("state", [state for state in JobState if state.terminal])
async def test_a_job_that_has_ended_waits_for_nothing(state: JobState) -> None:
    assert await explain(place=Place(state="dead", attempt=1))(replace(JOB, state=state)) is None
