"""Coralogix's own tools: what they are sent, and how their rows are read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from log_bridge.adapters.coralogix import coralogix_page, dataprime
from log_bridge.adapters.log_tools import McpLogSearch, choose_tool
from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.adapters.mcp_stdio import LogServerUnusableError
from log_bridge.lucene import Text, confine, spell
from log_bridge.ports import LogQuery
from sluice.errors import PermanentError, TransientError

ROW = {
    "metadata": [{"key": "timestamp", "value": "2026-11-20T10:00:01"}, {"key": "severity", "value": "5"}],
    "labels": [{"key": "applicationname", "value": "shop"}],
    "userData": '{"tenant": "acme", "event": "order.paid"}',
}
RECORD = {
    "time": "2026-11-20T10:00:01",
    "level": "ERROR",
    "labels": {"applicationname": "shop"},
    "tenant": "acme",
    "event": "order.paid",
}
FLAT = {"time": "2026-11-20T10:00:01Z", "tenant": "acme"}


def query(text: str = "a", **changes: Any) -> LogQuery:
    values: dict[str, Any] = {
        "query": confine(parse_query(text), Text("tenant", "acme")),
        "start": datetime(2026, 11, 20, tzinfo=UTC),
        "end": datetime(2026, 11, 21, tzinfo=UTC),
        "limit": 50,
        "order": "newest",
        **changes,
    }
    return LogQuery(**values)


class ClientInMemory:
    """Has one tool, and answers with one result."""

    def __init__(self, tool: str, result: Any) -> None:
        self.tool = tool
        self.result = result
        self.arguments: Any = None

    async def call(self, arguments: Any, timeout_seconds: float) -> tuple[str, Any]:
        self.arguments = arguments(self.tool)
        return self.tool, self.result


def text(*lines: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "\n".join(map(json.dumps, lines))}]}


@pytest.mark.parametrize(
    ("tools", "chosen"),
    [
        (["search_logs"], "search_logs"),
        (["query_lucene", "query_dataprime", "search_logs"], "search_logs"),
        (["query_lucene", "query_dataprime", "manage_alerts"], "query_dataprime"),
        (["query_lucene", "manage_alerts"], "query_lucene"),
    ],
)
def test_the_tool_that_searches_logs_is_chosen(tools: list[str], chosen: str) -> None:
    assert choose_tool({name: {"name": name} for name in tools}) == chosen


@pytest.mark.parametrize(
    "tools",
    [
        {},
        {"manage_alerts": {}, "submit_background_query": {}},
        {"search_logs": {"annotations": {"readOnlyHint": False}}},
    ],
)
def test_no_other_tool_and_none_that_writes_is_ever_chosen(tools: dict[str, Any]) -> None:
    with pytest.raises(LogServerUnusableError):
        choose_tool(tools)


async def test_query_dataprime_is_sent_the_lucene_query_as_a_literal() -> None:
    client: Any = ClientInMemory("query_dataprime", text({"results": [ROW]}))
    await McpLogSearch(client, str)(query('level:error AND "it went"'), timeout_seconds=1)
    assert client.arguments == {
        "query": 'source logs | lucene \'(tenant:"acme" AND (level:"error" AND "it went"))\'',
        "start_date": "2026-11-20T00:00:00Z",
        "end_date": "2026-11-21T00:00:00Z",
        "limit": 50,
    }


async def test_query_lucene_is_sent_the_lucene_query() -> None:
    client: Any = ClientInMemory("query_lucene", text({"results": [ROW]}))
    await McpLogSearch(client, str)(query(), timeout_seconds=1)
    assert client.arguments == {
        "query": 'tenant:"acme" AND "a"',
        "startDate": "2026-11-20T00:00:00Z",
        "endDate": "2026-11-21T00:00:00Z",
        "tier": "TIER_FREQUENT_SEARCH",
        "limit": 50,
    }


@pytest.mark.parametrize("asked", ["it's", "x' | limit 9 #", "'", "\\\\' | x", "a\\'"])
def test_no_query_ends_the_dataprime_literal(asked: str) -> None:
    """Whether DataPrime escapes a quote with a backslash or by doubling it."""
    sent = dataprime(spell(query(asked).query))
    before, literal, after = sent.split("'")
    assert (before, after) == ("source logs | lucene ", "")
    assert literal.endswith(")")
    assert literal.replace("\\\\", "\\").replace("\\u0027", "'") == f"({spell(query(asked).query)})"


@pytest.mark.parametrize(
    ("answer", "records"),
    [
        ([{"queryId": {"queryId": "1"}}, {"result": {"results": [ROW]}}, {"statistics": {}}], [RECORD]),
        ({"queryId": "1", "results": [ROW], "statistics": {}}, [RECORD]),
        ({"result": {"results": [ROW]}}, [RECORD]),
        ([ROW], [RECORD]),
        ({"logs": [FLAT]}, [FLAT]),
        ({"results": [{"userData": {"n": 1}, "metadata": {"severity": 3}}]}, [{"level": "INFO", "n": 1}]),
        ({"results": [{"user_data": {"n": 1}, "metadata": {"severity": "Info"}}]}, [{"level": "INFO", "n": 1}]),
        ({"results": [{"userData": "plain words"}]}, [{"text": "plain words"}]),
        ({"results": []}, []),
        ([], []),
    ],
)
def test_rows_of_every_shape_become_log_records(answer: Any, records: list[dict[str, Any]]) -> None:
    page = coralogix_page(answer, query(), 5)
    assert (page.hits, page.total, page.total_is_exact, page.took_ms) == (records, len(records), True, 5)


@pytest.mark.parametrize(("order", "seconds"), [("newest", [9, 5, 1]), ("oldest", [1, 5, 9])])
def test_records_are_put_into_the_order_asked_for(order: str, seconds: list[int]) -> None:
    rows = [{"userData": {"time": f"2026-11-20T10:00:0{n}Z", "n": n}} for n in (5, 9, 1)]
    page = coralogix_page({"results": rows}, query(order=order), 5)
    assert [hit["n"] for hit in page.hits] == seconds


def test_a_full_page_is_not_taken_for_all_there_is() -> None:
    page = coralogix_page({"results": [ROW] * 3, "warnings": ["slow"]}, query(limit=3), 5)
    assert (page.total, page.total_is_exact) == (3, False)
    assert page.warnings == ["slow", "Coralogix gave as many records as were asked for; there may be more"]


def test_what_coralogix_cannot_do_is_said() -> None:
    assert coralogix_page([], query(interval_seconds=60), 5).warnings == ["Coralogix's tool gives no counts over time"]
    with pytest.raises(PermanentError, match="one page"):
        coralogix_page([], query(cursor="abc"), 5)


@pytest.mark.parametrize(
    "result",
    [None, [], "x", {"content": [{"type": "text", "text": "Found 3 logs:\n1. hello"}]}, {"content": [5]}],
)
async def test_an_answer_of_no_known_form_is_an_error(result: Any) -> None:
    client: Any = ClientInMemory("query_lucene", result)
    with pytest.raises(TransientError, match="does not read"):
        await McpLogSearch(client, str)(query(), timeout_seconds=1)


@pytest.mark.parametrize("answer", [{}, {"hits": 5}, {"hits": [5], "total": 1}, {"hits": [], "total": "many"}])
async def test_an_answer_of_search_logs_without_hits_is_an_error(answer: Any) -> None:
    client: Any = ClientInMemory("search_logs", {"structuredContent": {"x": 1, **answer}})
    with pytest.raises(TransientError, match="does not read"):
        await McpLogSearch(client, str)(query(), timeout_seconds=1)


async def test_a_tools_own_error_is_told_redacted() -> None:
    client: Any = ClientInMemory("search_logs", {"isError": True, "content": [{"type": "text", "text": "no: s3cret"}]})
    with pytest.raises(PermanentError, match=r"refused the search: no: \*\*\*"):
        await McpLogSearch(client, lambda text: text.replace("s3cret", "***"))(query(), timeout_seconds=1)
