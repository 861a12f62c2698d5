"""The use case: who may search, what is asked of the log server, and what of its answer is shown."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.lucene import InvalidQueryError, spell
from log_bridge.ports import LogPage, LogQuery
from log_bridge.search import InvalidSearchError, SearchLogs
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError, TransientError
from sluice.messages import LogsSearched
from tests.support.identity import passport

START = datetime(2026, 11, 20, tzinfo=UTC)
INTERNAL = passport(tenant="acme", clearance=Level.INTERNAL)


class LogsInMemory:
    def __init__(self, *hits: dict[str, Any], **page: Any) -> None:
        self.page = LogPage(list(hits), **{"total": len(hits), "total_is_exact": True, "took_ms": 1, **page})
        self.asked: list[LogQuery] = []
        self.timeouts: list[float] = []

    async def __call__(self, query: LogQuery, *, timeout_seconds: float) -> LogPage:
        self.asked.append(query)
        self.timeouts.append(timeout_seconds)
        return self.page


def search_in(logs: LogsInMemory, tenant_field: str = "tenant") -> SearchLogs:
    return SearchLogs(logs, parse_query, tenant_field=tenant_field, timeout_seconds=20)


def message(query: str = "", **changes: Any) -> LogsSearched:
    values: dict[str, Any] = {
        "request_id": "r",
        "tenant": "acme",
        "passport": "",
        "deadline": datetime.now(UTC) + timedelta(seconds=60),
        "start": START,
        "end": START + timedelta(days=1),
        **changes,
    }
    return LogsSearched(query=query, **values)


@pytest.mark.parametrize(
    "changes",
    [
        {"clearance": Level.EXTERNAL},
        {"clearance": Level.INTERNAL, "rights": frozenset(Right) - {Right.LOGS}},
        {"clearance": Level.EXTERNAL, "rights": frozenset()},
    ],
)
async def test_without_the_right_and_internal_clearance_nothing_is_asked(changes: dict[str, Any]) -> None:
    logs = LogsInMemory()
    with pytest.raises(AccessDeniedError):
        await search_in(logs)(message(), passport(tenant="acme", **changes))
    assert logs.asked == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("start", {"end": START}),
        ("start", {"end": START - timedelta(seconds=1)}),
        ("start", {"start": datetime(1, 1, 1, tzinfo=UTC)}),
        ("start", {"end": datetime(9999, 1, 1, tzinfo=UTC)}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 501}),
        ("cursor", {"cursor": ""}),
        ("cursor", {"cursor": "x\n"}),
        ("cursor", {"cursor": "x" * 65}),
        ("interval", {"interval_seconds": 0}),
        ("interval", {"interval_seconds": 1}),
    ],
)
async def test_a_search_outside_the_limits_is_refused_by_its_field(field: str, changes: dict[str, Any]) -> None:
    logs = LogsInMemory()
    with pytest.raises(InvalidSearchError) as refusal:
        await search_in(logs)(message(**changes), INTERNAL)
    assert refusal.value.errors[0]["field"] == field
    assert logs.asked == []


@pytest.mark.parametrize("query", ["a\0b", "a\nb", "a\r\nb", "(a", 'x" OR tenant:other'])
async def test_a_query_that_does_not_parse_never_reaches_the_log_server(query: str) -> None:
    """case 40: NUL and newlines are refused in the worker as well."""
    logs = LogsInMemory()
    with pytest.raises(InvalidQueryError):
        await search_in(logs)(message(query), INTERNAL)
    assert logs.asked == []


async def test_the_query_is_confined_to_the_passports_tenant() -> None:
    """Not to the one that the message names."""
    logs = LogsInMemory()
    await search_in(logs, "labels.tenant.keyword")(message("a OR tenant:other", tenant="other"), INTERNAL)
    assert spell(logs.asked[0].query) == 'labels.tenant.keyword:"acme" AND ("a" OR tenant:"other")'


async def test_a_record_of_another_tenant_is_dropped_with_all_counts_that_tell_of_it() -> None:
    """A server that takes the clause for mere words matches `acme-eu` as well."""
    mine = {"tenant": "acme", "n": 1}
    others = [{"tenant": "acme-eu"}, {"tenant": "Acme"}, {"tenant": ["acme"]}, {}]
    bars = [{"time": "2026-11-20T10:00:00Z", "count": 5, "levels": {}}]
    result = await search_in(LogsInMemory(mine, *others, total=900, histogram=bars))(message(), INTERNAL)
    assert result["hits"] == [mine]
    assert (result["total"], result["total_is_exact"], result["histogram"]) == (1, False, None)


async def test_the_tenant_is_looked_up_where_the_settings_say() -> None:
    hit = {"labels": {"tenant": "acme"}}
    result = await search_in(LogsInMemory(hit), "labels.tenant.keyword")(message(), INTERNAL)
    assert result["hits"] == [hit]


async def test_hits_and_warnings_are_redacted() -> None:
    hit = {"tenant": "acme", "authorization": "Bearer abcdefgh", "text": "write to bob@example.com"}
    result = await search_in(LogsInMemory(hit, warnings=["password=hunter2"]))(message(), INTERNAL)
    assert result["hits"] == [{"tenant": "acme", "authorization": "[redacted]", "text": "write to [redacted:email]"}]
    assert result["warnings"] == ["password=[redacted]"]


async def test_the_result_has_the_pages_counts_and_cursor() -> None:
    logs = LogsInMemory({"tenant": "acme"}, total=7, next_cursor="abc")
    result = await search_in(logs)(message(), INTERNAL)
    assert {name: result[name] for name in result if name != "hits"} == {
        "total": 7,
        "total_is_exact": True,
        "took_ms": 1,
        "truncated": True,
        "next_cursor": "abc",
        "histogram": None,
        "warnings": [],
    }


async def test_a_search_takes_no_longer_than_its_deadline() -> None:
    logs = LogsInMemory()
    await search_in(logs)(message(deadline=datetime.now(UTC) + timedelta(seconds=3)), INTERNAL)
    await search_in(logs)(message(), INTERNAL)
    assert logs.timeouts[0] <= 3
    assert logs.timeouts[1] == 20


async def test_what_the_log_server_raises_goes_to_the_broker() -> None:
    class Away(LogsInMemory):
        async def __call__(self, query: LogQuery, *, timeout_seconds: float) -> LogPage:
            raise TransientError("away")

    with pytest.raises(TransientError):
        await search_in(Away())(message(), INTERNAL)
