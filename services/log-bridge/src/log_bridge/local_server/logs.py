"""The use case of the local server: look what is new in the log files, then search."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.local_server.analysis import TENANT_FIELD
from log_bridge.local_server.files import LogFolder
from log_bridge.local_server.index import LogIndex, Request
from log_bridge.lucene import Node, Text, confine

MAX_BUCKETS = 2_000


class Logs:
    """Thread-safe. A line is found by the first search after it was written.

    Only where very much is new does a search not wait for all of it: after `patience_seconds` it says so instead.
    """

    def __init__(self, folder: LogFolder, index: LogIndex, patience_seconds: float = 5.0) -> None:
        self._folder = folder
        self._index = index
        self._patience_seconds = patience_seconds
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")

    def read(self) -> "Future[None]":
        """Begins to read what is new."""
        return self._reader.submit(lambda: self._index.add(self._folder.new_lines()))

    def search(
        self,
        query: str,
        start: datetime,
        end: datetime,
        *,
        limit: int,
        newest_first: bool,
        fields: list[str] | None,
        cursor: str | None,
        tenant: str | None,
        interval_seconds: int | None,
    ) -> dict[str, Any]:
        """`{total, total_is_exact, took_ms, truncated, hits, next_cursor, histogram, warnings}`.

        Raises:
            InvalidQueryError: the query does not parse or cannot be evaluated.
            ValueError: the cursor is none of ours, or the histogram would have over MAX_BUCKETS intervals.
        """
        began = time.monotonic()
        tree = _confined(query, tenant)
        if interval_seconds and (end - start).total_seconds() / interval_seconds > MAX_BUCKETS:
            raise ValueError(f"the histogram would have more than {MAX_BUCKETS} intervals: take longer ones")
        after = None if cursor is None else int(cursor, 36)
        request = Request(tree, start, end, limit, newest_first, after, interval_seconds)
        complete = self._read_in_time()
        found = self._index.search(request, datetime.now(UTC))
        return {
            "total": found.total,
            "total_is_exact": complete,
            "took_ms": round((time.monotonic() - began) * 1000),
            "truncated": found.last is not None,
            "hits": [_only(record, fields) for record in found.records],
            "next_cursor": None if found.last is None else _base36(found.last),
            "histogram": found.histogram,
            "warnings": self._warnings(complete=complete),
        }

    def fields(self, start: datetime, end: datetime, tenant: str | None) -> dict[str, Any]:
        """`{path: {types, count}}` of the newest records."""
        self._read_in_time()
        return self._index.fields(_confined("", tenant), start, end)

    def _read_in_time(self) -> bool:
        try:
            self.read().result(self._patience_seconds)
        except TimeoutError:
            return False
        return True

    def _warnings(self, *, complete: bool) -> list[str]:
        warnings = [] if complete else ["the log files are still being read: search again for all that is there"]
        if skipped := self._index.skipped:
            warnings.append(f"{skipped} lines of the log files are no JSON objects with a time and were left out")
        return warnings


def _confined(query: str, tenant: str | None) -> Node:
    tree = parse_query(query)
    return tree if tenant is None else confine(tree, Text(TENANT_FIELD, tenant))


def _only(record: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    """The record cut down to `fields` at its top."""
    return record if not fields else {name: value for name, value in record.items() if name in fields}


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
