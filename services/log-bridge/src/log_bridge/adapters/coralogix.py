"""What Coralogix's query tools take, and the rows that they give."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from log_bridge.ports import LogPage, LogQuery
from sluice.errors import PermanentError

_CONTAINERS = ("result", "results", "logs", "records", "rows", "hits", "data")
_ROW_PARTS = ("userData", "user_data", "metadata")
_LEVELS = {"1": "DEBUG", "2": "VERBOSE", "3": "INFO", "4": "WARNING", "5": "ERROR", "6": "CRITICAL"}
_MAX_NESTING = 6


def dataprime(lucene: str) -> str:
    """The Lucene query inside a DataPrime query.

    The literal never holds a single quote, and never ends in a backslash, so it ends where we end it however DataPrime
    reads escapes; to Lucene the quote is the same character by its number.
    """
    literal = f"({lucene})".replace("'", "\\u0027").replace("\\", "\\\\")
    return f"source logs | lucene '{literal}'"


def coralogix_page(answer: Any, query: LogQuery, took_ms: int) -> LogPage:
    """Rows `{metadata, labels, userData}`, flat or in lists under usual names, as log records in the order asked for.

    Raises:
        PermanentError: the query goes on from a cursor, which these tools do not have.
    """
    if query.cursor is not None:
        raise PermanentError("Coralogix gives one page: narrow the time or the query instead of going on")
    records = [_record(row) for row in _rows(answer, _MAX_NESTING)]
    records.sort(key=_instant, reverse=query.order == "newest")
    full = len(records) >= query.limit
    warnings = list(_warnings(answer))
    if full:
        warnings.append("Coralogix gave as many records as were asked for; there may be more")
    if query.interval_seconds is not None:
        warnings.append("Coralogix's tool gives no counts over time")
    return LogPage(records[: query.limit], len(records), not full, took_ms, warnings=warnings)


def _rows(answer: Any, nesting: int, *, listed: bool = False) -> Iterator[dict[str, Any]]:
    """The rows wherever they lie: in a list under a usual name, at the top, or line by line in results."""
    if isinstance(answer, list) and nesting:
        for each in cast(list[Any], answer):
            yield from _rows(each, nesting - 1, listed=listed)
    elif isinstance(answer, dict) and nesting:
        known = cast(dict[str, Any], answer)
        name = next((n for n in _CONTAINERS if isinstance(known.get(n), list | dict)), None)
        if listed or any(part in known for part in _ROW_PARTS):
            yield known
        elif name is not None:
            yield from _rows(known[name], nesting - 1, listed=isinstance(known[name], list))


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """The log as it was sent; `time` and `level` from Coralogix's own where it had none, and its labels."""
    if not any(part in row for part in _ROW_PARTS):
        return row
    metadata, labels = _named(row.get("metadata")), _named(row.get("labels"))
    known = {"time": metadata.get("timestamp"), "level": _level(metadata.get("severity")), "labels": labels or None}
    return {name: value for name, value in known.items() if value is not None} | _user_data(row)


def _level(severity: Any) -> str | None:
    return None if severity is None else _LEVELS.get(str(severity), str(severity).upper())


def _user_data(row: dict[str, Any]) -> dict[str, Any]:
    data = row.get("userData", row.get("user_data"))
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            return {"text": data}
    return cast(dict[str, Any], data) if isinstance(data, dict) else {"text": data}


def _named(pairs: Any) -> dict[str, Any]:
    """`[{key, value}]` or an object, as an object."""
    if isinstance(pairs, dict):
        return cast(dict[str, Any], pairs)
    if isinstance(pairs, list):
        known = [cast(dict[str, Any], pair) for pair in cast(list[Any], pairs) if isinstance(pair, dict)]
        return {str(pair.get("key")): pair.get("value") for pair in known}
    return {}


def _warnings(answer: Any) -> Iterator[str]:
    lines = cast(list[Any], answer) if isinstance(answer, list) else [answer]
    for line in lines:
        known = cast(dict[str, Any], line) if isinstance(line, dict) else {}
        found = known.get("warnings") or [known[name] for name in ("warning",) if name in known]
        yield from (each if isinstance(each, str) else json.dumps(each) for each in found)


def _instant(record: dict[str, Any]) -> datetime:
    try:
        time = datetime.fromisoformat(str(record.get("time")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
