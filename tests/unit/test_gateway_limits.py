"""How many may be open: counted now and then, and never forgotten in between."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import pytest

from gateway.errors import BacklogFullError
from gateway.limits import Counted, Rule
from tests.support.waiting import until


class Rows:
    """What stands in SQL."""

    def __init__(self, **rows: int) -> None:
        self.rows = Counter(rows)
        self.counts = 0

    async def count(self) -> Mapping[str, int]:
        self.counts += 1
        await asyncio.sleep(0)
        return dict(self.rows)

    def limit(self, *, overall: int = 100, tenant: int = 100) -> Counted:
        return Counted("questions", self.count, Rule(overall=overall, tenant=tenant, pause=timedelta(seconds=4)))


async def test_a_tenant_that_has_as_many_as_it_may_is_refused_and_another_is_not() -> None:
    limit = Rows(a=3).limit(tenant=3)
    with pytest.raises(BacklogFullError) as refused:
        async with limit.room("a"):
            pass
    assert refused.value.retry_after is not None
    assert 2 <= refused.value.retry_after.total_seconds() <= 6
    async with limit.room("b"):
        pass


async def test_all_tenants_together_have_a_limit_too() -> None:
    limit = Rows(a=3, b=3).limit(overall=6)
    with pytest.raises(BacklogFullError):
        async with limit.room("c"):
            pass


async def test_a_request_for_more_than_there_is_room_for_is_refused_as_a_whole() -> None:
    limit = Rows(a=3).limit(tenant=5)
    with pytest.raises(BacklogFullError):
        async with limit.room("a", 3):
            pass
    async with limit.room("a", 2):
        pass


async def test_requests_at_once_do_not_go_over_the_limit_while_their_rows_are_being_written() -> None:
    rows = Rows(a=1)
    limit, written = rows.limit(tenant=5), asyncio.Event()

    async def ask() -> bool:
        try:
            async with limit.room("a"):
                await written.wait()
                rows.rows["a"] += 1
        except BacklogFullError:
            return False
        return True

    asked = [asyncio.create_task(ask()) for _ in range(20)]
    await until(lambda: sum(task.done() for task in asked) == 16, what="the refusals")
    written.set()
    assert sum(await asyncio.gather(*asked)) == 4
    assert rows.rows["a"] == 5


async def test_what_was_let_in_since_the_last_count_counts() -> None:
    rows = Rows()
    limit = rows.limit(tenant=3)
    for _ in range(3):
        async with limit.room("a"):
            rows.rows["a"] += 1
    assert rows.counts == 1, "one count is enough for a second"
    with pytest.raises(BacklogFullError):
        async with limit.room("a"):
            pass


async def test_what_has_ended_makes_room_at_once() -> None:
    """Before anybody is refused, it is counted again."""
    rows = Rows(a=3)
    limit = rows.limit(tenant=3)
    await _refused(limit)
    rows.rows["a"] = 2

    await until(lambda: _let_in(limit), seconds=0.8, what="room, sooner than the next count of itself")


async def test_refusals_do_not_cost_a_count_each() -> None:
    rows = Rows(a=3)
    limit = rows.limit(tenant=3)
    await asyncio.gather(*[_refused(limit) for _ in range(500)])
    assert rows.counts < 50


async def _let_in(limit: Counted) -> bool:
    try:
        async with limit.room("a"):
            return True
    except BacklogFullError:
        return False


async def _refused(limit: Counted) -> None:
    with pytest.raises(BacklogFullError):
        async with limit.room("a"):
            pass
