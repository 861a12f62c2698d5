"""What a Lucene query finds in the local server's index."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.local_server.index import Found, LogIndex, Request
from log_bridge.lucene import InvalidQueryError, Text, confine, spell

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
CHAT = {"service": "gateway", "path": "/api/v1/chat"}
RECORDS: list[dict[str, Any]] = [
    {**CHAT, "level": "INFO", "event": "request.done", "status": 200, "took": 1.5},
    {**CHAT, "level": "ERROR", "event": "request.failed", "status": 503, "took": 20},
    {"level": "INFO", "service": "ingest-worker", "event": "document.indexed", "chunks": 12, "title": "Refund policy"},
    {"level": "WARNING", "service": "ingest-worker", "event": "document.slow", "chunks": 900, "took": -1},
    {"level": "ERROR", "service": "llm-router", "event": "tier.failed", "message": "Timed out after 30 s, a timeout"},
    {"level": "INFO", "service": "llm-router", "event": "tier.used", "tier": {"name": "gemini-2.5", "tries": [1, 2]}},
    {"level": "INFO", "service": "retriever", "event": "passages.found", "message": "out of time", "cached": True},
    {"level": "INFO", "service": "retriever", "event": "passages.few", "message": "naïve Überraschung", "code": "0042"},
]


def index_of(records: list[dict[str, Any]], **options: Any) -> LogIndex:
    """The n-th record was written n minutes after START."""
    index = LogIndex(**options)
    index.add(
        json.dumps({"time": (START + timedelta(minutes=n)).isoformat(), "tenant": "acme", **record, "n": n}).encode()
        for n, record in enumerate(records)
    )
    return index


@pytest.fixture(scope="module")
def logs() -> LogIndex:
    return index_of(RECORDS)


def search(index: LogIndex, query: str, **changes: Any) -> Found:
    values: dict[str, Any] = {"start": START, "end": START + timedelta(days=1), "limit": 500, **changes}
    return index.search(Request(parse_query(query), **values), START + timedelta(minutes=5))


def found(index: LogIndex, query: str, **changes: Any) -> list[int]:
    return sorted(record["n"] for record in search(index, query, **changes).records)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        # terms, in one field or in all
        ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("*", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("error", [1, 4]),
        ("level:error", [1, 4]),
        ("level:ERROR", [1, 4]),
        ("service:error", []),
        ("gateway", [0, 1]),
        ("service:ingest-worker", [2, 3]),
        ("event:document.indexed", [2]),
        ("status:503", [1]),
        ("cached:true", [6]),
        ("tier.name:gemini", [5]),
        ("tier.tries:2", [5]),
        ("message:überraschung", [7]),
        ("message:naïve", [7]),
        ("nonsense", []),
        # a path is no regular expression
        ("path:/api/v1/chat", [0, 1]),
        ("/api/v1/chat", [0, 1]),
        # phrases
        ('message:"timed out"', [4]),
        ('message:"out timed"', []),
        ('message:"timed after"', []),
        ('message:"timed after"~1', [4]),
        ('"refund policy"', [2]),
        ('"indexed 12"', []),
        # wildcards
        ("message:time*", [4, 6]),
        ("message:ti?ed", [4]),
        ("*out", [4, 6]),
        ("event:document.*", [2, 3]),
        ("path:/api/*/chat", [0, 1]),
        ("service:*-worker", [2, 3]),
        ("MESSAGE:time*", []),
        (r"message:time\*", [6]),
        # ranges
        ("status:[200 TO 299]", [0]),
        ("status:[200 TO 503]", [0, 1]),
        ("status:{200 TO 503]", [1]),
        ("status:[200 TO 503}", [0]),
        ("took:[-5 TO 2]", [0, 3]),
        ("took:>1.5", [1]),
        ("took:>=1.5", [0, 1]),
        ("took:<0", [3]),
        ("chunks:[100 TO *]", [3]),
        ("code:[40 TO 50]", [7]),
        ("tier.tries:[2 TO 9]", [5]),
        ("service:[a TO h]", [0, 1]),
        ("service:{gateway TO l]", [2, 3]),
        # time
        ("time:[2026-11-20T10:02:00Z TO 2026-11-20T10:04:00Z]", [2, 3, 4]),
        ("time:{2026-11-20T10:02:00Z TO 2026-11-20T10:04:00Z}", [3]),
        ("time:2026-11-20", []),
        ("time:[2026-11-20 TO 2026-11-20]", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("time:{2026-11-20 TO *]", []),
        ("time:[* TO *]", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("time:[now-2m TO now]", [3, 4, 5]),
        # existence
        ("chunks:*", [2, 3]),
        ("_exists_:tier", [5]),
        ("_exists_:tier.name", [5]),
        ("_exists_:nothing", []),
        # boolean
        ("level:error AND service:gateway", [1]),
        ("level:error service:gateway", [0, 1, 4]),
        ("level:error OR service:gateway", [0, 1, 4]),
        ("level:error || chunks:12", [1, 2, 4]),
        ("level:error && !service:gateway", [4]),
        ("+level:error service:gateway", [1, 4]),
        ("level:error AND service:gateway OR service:retriever", [1]),
        ("service:retriever OR level:error AND service:gateway", [1]),
        ("level:error AND (service:gateway OR service:retriever)", [1]),
        ("(level:error AND service:gateway) OR service:retriever", [1, 6, 7]),
        ("level:error NOT service:gateway", [4]),
        ("level:error -service:gateway", [4]),
        ("NOT level:info", [1, 3, 4]),
        ("-level:info -service:gateway", [3, 4]),
        ("service:gateway AND (NOT level:error)", [0]),
        ("chunks:12 OR (NOT level:info)", [1, 2, 3, 4]),
        ("level:(error OR warning)", [1, 3, 4]),
        ("level:(error warning) AND service:(llm-router ingest-worker)", [3, 4]),
        ("NOT (level:info OR level:error)", [3]),
        ("NOT *", []),
    ],
)
def test_a_query_finds_what_lucene_would(logs: LogIndex, query: str, numbers: list[int]) -> None:
    assert found(logs, query) == numbers


@pytest.mark.parametrize("query", ["tenant:acm", "tenant:ACME", "tenant:eu", "tenant:other", 'tenant:"acme eu"'])
def test_a_tenant_is_matched_as_a_whole_and_to_the_letter(query: str) -> None:
    """Words would let `acme` see `acme-eu`."""
    index = index_of([{"tenant": "acme"}, {"tenant": "acme-eu"}, {"tenant": "Acme"}, {}])
    assert found(index, query) == []
    assert found(index, "tenant:acme-eu") == [1]
    assert found(index, "tenant:acme") == [0, 3]
    assert found(index, "tenant:acme*") == [0, 1, 3]


def test_a_whole_value_is_found_to_the_letter_by_its_keyword(logs: LogIndex) -> None:
    assert found(logs, 'title.keyword:"Refund policy"') == [2]
    assert found(logs, 'title.keyword:"refund policy"') == []
    assert found(logs, "title.keyword:Refund") == []


@pytest.mark.parametrize("query", ["time:[yesterday TO now]", "time:>x", f"a:{'*b' * 400}"])
def test_what_cannot_be_evaluated_is_refused(logs: LogIndex, query: str) -> None:
    with pytest.raises(InvalidQueryError):
        search(logs, query)


def test_the_period_begins_at_its_start_and_ends_before_its_end(logs: LogIndex) -> None:
    period = {"start": START + timedelta(minutes=2), "end": START + timedelta(minutes=4)}
    assert found(logs, "", **period) == [2, 3]


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_give_each_record_once_in_order(newest_first: bool) -> None:
    """Also where many were written in the same microsecond."""
    same = [{"time": START.isoformat(), "n": n} for n in range(50)]
    index = LogIndex()
    index.add(json.dumps(record).encode() for record in same)
    seen: list[int] = []
    after: int | None = None
    while True:
        page = search(index, "", limit=7, after=after, newest_first=newest_first)
        assert page.total == 50
        seen += [record["n"] for record in page.records]
        after = page.last
        if after is None:
            break
    assert seen == sorted(range(50), reverse=newest_first)


def test_the_histogram_counts_by_time_and_level(logs: LogIndex) -> None:
    bars = search(logs, "", limit=1, interval_seconds=300).histogram
    assert bars == [
        {"time": "2026-11-20T10:00:00Z", "count": 5, "levels": {"ERROR": 2, "INFO": 2, "WARNING": 1}},
        {"time": "2026-11-20T10:05:00Z", "count": 3, "levels": {"INFO": 3}},
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[1]",
        b'"text"',
        b"{}",
        b'{"time": 5}',
        b'{"time": "yesterday"}',
        b'{"time": "0001-01-01T00:00:00Z"}',
        b"\xff\xfe",
        b'{"time": ' + b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_record_is_counted_and_left_out(line: bytes) -> None:
    index = index_of([{}])
    index.add([line])
    assert (search(index, "").total, index.skipped) == (1, 1)


def test_a_record_of_any_shape_is_given_back_as_it_was() -> None:
    odd = {"a b": {"": [None, {"x": 1e300}]}, "big": 10**40, "text": "x" * 20_000, "\0": "\0", "deep": [[[["v"]]]]}
    index = index_of([odd])
    record = search(index, "deep:v AND a_b:*").records[0]
    assert {name: record[name] for name in odd} == odd


def test_the_oldest_records_are_forgotten_past_the_limit() -> None:
    index = index_of([{} for _ in range(30)], max_records=20)
    assert found(index, "") == list(range(10, 30))


_TENANTS = ("acme", "acme-corp", "other", "Acme", "")
_NAMES = ("tenant", "acme", "other", "secret", "_id")
_PIECES = [*':*?"\\()[]{}+-!#;/~^', "||", "&&", "/*", "*/", "_exists_:", " TO ", " OR ", " AND ", " NOT ", *_NAMES]


@pytest.fixture(scope="module")
def shared_logs() -> LogIndex:
    return index_of([{"tenant": tenant, "event": "secret", "message": f"secret of {tenant}"} for tenant in _TENANTS])


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_no_query_finds_or_counts_another_tenants_record(shared_logs: LogIndex, query: str) -> None:
    """case 40: brackets, OR, field names, quotes, comments and wildcards all end within the tenant's clause."""
    try:
        sent = spell(confine(parse_query(query), Text("tenant", "acme")))
        seen = search(shared_logs, sent)
    except InvalidQueryError:
        return
    assert {record["tenant"] for record in seen.records} <= {"acme"}
    assert seen.total <= 1
