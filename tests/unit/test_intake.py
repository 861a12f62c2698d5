"""How entries are begun: so many at once, the next one as soon as a handler has ended."""

import asyncio
from typing import Any

from sluice.intake import Intake
from sluice.workstream import Entry


class Work:
    """Entries that are handled until `ended` is set, and settled until `settled` is."""

    def __init__(self, *, concurrency: int, read_ahead: bool) -> None:
        self.begun: list[str] = []
        self.ended, self.settled = asyncio.Event(), asyncio.Event()
        self.intake = Intake(self.handle, stream="s", concurrency=concurrency, read_ahead=read_ahead)

    async def handle(self, entry: Entry) -> None:
        self.begun.append(entry.entry_id)
        await self.ended.wait()
        self.intake.leave_place()
        await self.settled.wait()

    def take(self, *ids: str) -> "asyncio.Task[None]":
        read: dict[str, Any] = {"message_ids": [i.encode() for i in ids], "data": [{} for _ in ids]}
        return asyncio.create_task(self.intake.take(read))


async def pause() -> None:
    """Everything that can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_are_begun_than_may_run_at_once_and_the_next_does_not_wait_for_the_settling() -> None:
    work = Work(concurrency=2, read_ahead=True)
    taking = work.take("1-0", "2-0", "3-0")
    await pause()
    assert (work.begun, taking.done()) == (["1-0", "2-0"], False)
    work.ended.set()
    await taking
    await pause()
    assert work.begun == ["1-0", "2-0", "3-0"]
    assert not work.settled.is_set()


async def test_without_reading_ahead_nothing_is_read_before_a_place_is_free() -> None:
    ahead, not_ahead = Work(concurrency=1, read_ahead=True), Work(concurrency=1, read_ahead=False)
    takings = ahead.take("1-0"), not_ahead.take("1-0")
    await pause()
    assert [taking.done() for taking in takings] == [True, False]
    not_ahead.ended.set()
    await takings[1]


async def test_a_stopped_intake_begins_nothing_more_and_waits_for_what_is_being_settled() -> None:
    work = Work(concurrency=1, read_ahead=True)
    taking = work.take("1-0", "2-0")
    await pause()
    stopping = asyncio.create_task(work.intake.stop())
    await taking
    await stopping
    draining = asyncio.create_task(work.intake.drain(30))
    work.ended.set()
    await pause()
    assert not draining.done()
    work.settled.set()
    await draining
    assert work.begun == ["1-0"]


async def test_a_place_is_free_again_after_a_failure_that_nobody_expected() -> None:
    async def fail(_: Entry) -> None:
        raise ValueError

    intake = Intake(fail, stream="s", concurrency=1, read_ahead=False)
    for _ in range(3):
        await asyncio.wait_for(intake.take({"message_ids": [b"1-0"], "data": [{}]}), 5)
