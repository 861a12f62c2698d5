"""An index in memory of the logs, by tantivy."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from tantivy import Document, Index, Occur, Order, Query, SchemaBuilder, Searcher

from log_bridge.local_server.analysis import leaves, terms_of
from log_bridge.local_server.compile import KEY, ORDERED, TIES, TIME_FIELD, VALUES, WORDS, Compiler
from log_bridge.local_server.times import microseconds, parse_time
from log_bridge.lucene import Node

_LEVEL, _TIME, _LINE = "level", "at", "line"
_WRITER_BYTES = 50_000_000
_BATCH = 5_000


@dataclass(frozen=True)
class Request:
    """Which records: from `start` to before `end`, past the record whose key is `after` in the order asked for."""

    query: Node
    start: datetime
    end: datetime
    limit: int = 50
    newest_first: bool = True
    after: int | None = None
    interval_seconds: int | None = None


@dataclass(frozen=True)
class Found:
    """`last` is the key to go on after; None at the end."""

    total: int
    records: list[dict[str, Any]]
    last: int | None
    histogram: list[dict[str, Any]] | None = None


class LogIndex:
    """Holds at most about `max_records`, the newest. One thread may add at a time, any number may search."""

    def __init__(self, max_records: int = 200_000) -> None:
        builder = SchemaBuilder()
        builder.add_text_field(WORDS, tokenizer_name="whitespace", index_option="position")
        builder.add_text_field(VALUES, tokenizer_name="raw", index_option="basic")
        builder.add_text_field(ORDERED, tokenizer_name="raw", index_option="basic")
        builder.add_text_field(_LEVEL, tokenizer_name="raw", index_option="basic", fast=True)
        builder.add_unsigned_field(KEY, indexed=True, fast=True)
        builder.add_date_field(_TIME, indexed=True, fast=True)
        builder.add_bytes_field(_LINE, stored=True)
        self._schema = builder.build()
        self._index = Index(self._schema)
        self._writer = self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)
        self._added = 0
        self._max_records = max_records
        self.skipped = 0
        """Lines that were no JSON object with a time."""

    def add(self, lines: Iterable[bytes]) -> None:
        """A part can be found while the rest is still being read."""
        committed = self._added
        for line in lines:
            self._add(line)
            if self._added - committed == _BATCH:
                self._commit()
                committed = self._added
        if self._added != committed:
            self._commit()
        self._forget_oldest()

    def search(self, request: Request, now: datetime) -> Found:
        """Raises:
        InvalidQueryError: the query cannot be evaluated.
        """
        searcher = self._index.searcher()
        compiler = Compiler(self._index, self._schema, now)
        low, high = microseconds(request.start) * TIES, microseconds(request.end) * TIES
        matching = compiler.query(request.query)
        wanted = _both(matching, compiler.key_range(low, high))
        page = wanted
        if request.after is not None:
            rest = (None, request.after) if request.newest_first else (request.after + 1, None)
            page = _both(wanted, compiler.key_range(*rest))
        order = Order.Desc if request.newest_first else Order.Asc
        result = searcher.search(page, request.limit, order_by_field=KEY, order=order)
        records = [json.loads(cast(bytes, searcher.doc(address).get_first(_LINE))) for _, address in result.hits]
        count = cast(int, result.count)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        total = count if page is wanted else self._count(wanted)
        more = count > len(records)
        histogram = None
        if request.interval_seconds is not None:
            histogram = _histogram(searcher, wanted, request.interval_seconds)
        return Found(total, records, result.hits[-1][0] if more else None, histogram)

    def fields(self, query: Node, start: datetime, end: datetime, sample: int = 1_000) -> dict[str, dict[str, Any]]:
        """The paths in the newest `sample` of these records: `{path: {types, count}}`."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.search(Request(query, start, end, sample), end).records:
            for path, kind in {(path, type(leaf).__name__) for path, leaf in leaves(record)}:
                entry = found.setdefault(path, {"types": set[str](), "count": 0})
                entry["types"].add(kind)
                entry["count"] += 1
        return {path: {"types": sorted(e["types"]), "count": e["count"]} for path, e in sorted(found.items())}

    def _add(self, line: bytes) -> None:
        try:
            record: Any = json.loads(line)
            time = parse_time(record[TIME_FIELD])
            terms = terms_of(record)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            self.skipped += 1
            return
        document = Document()
        document.add_text(WORDS, terms.words)
        for value in terms.values:
            document.add_text(VALUES, value)
        for value in terms.ordered:
            document.add_text(ORDERED, value)
        document.add_text(_LEVEL, str(record.get("level", ""))[:32])
        document.add_unsigned(KEY, microseconds(time) * TIES + self._added % TIES)
        document.add_date(_TIME, time)
        document.add_bytes(_LINE, line)
        self._writer.add_document(document)
        self._added += 1

    def _commit(self) -> None:
        self._writer.commit()
        self._index.reload()

    def _forget_oldest(self) -> None:
        """In steps of a tenth, since each costs a search and a commit."""
        searcher = self._index.searcher()
        excess = searcher.num_docs - self._max_records
        if excess * 10 <= self._max_records:
            return
        edge = searcher.search(Query.all_query(), 1, order_by_field=KEY, order=Order.Asc, offset=excess)
        compiler = Compiler(self._index, self._schema, datetime.now(UTC))
        self._writer.delete_documents_by_query(compiler.key_range(None, edge.hits[0][0]))
        self._commit()

    def _count(self, query: Query) -> int:
        result = self._index.searcher().search(query, 1, count=True)
        return cast(int, result.count)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def _both(first: Query, second: Query) -> Query:
    return Query.boolean_query([(Occur.Must, first), (Occur.Must, second)])


def _counts_per(seconds: int) -> dict[str, Any]:
    buckets = {"field": _TIME, "fixed_interval": f"{seconds}s", "min_doc_count": 1}
    return {"times": {"date_histogram": buckets, "aggs": {"levels": {"terms": {"field": _LEVEL}}}}}


def _histogram(searcher: Searcher, query: Query, seconds: int) -> list[dict[str, Any]]:
    """`[{time, count, levels: {level: count}}]`, empty intervals left out."""
    answer: Any = searcher.aggregate(query, _counts_per(seconds))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    buckets: Sequence[dict[str, Any]] = answer["times"]["buckets"]
    return [
        {
            "time": bucket["key_as_string"],
            "count": bucket["doc_count"],
            "levels": {level["key"]: level["doc_count"] for level in bucket["levels"]["buckets"]},
        }
        for bucket in buckets
    ]
