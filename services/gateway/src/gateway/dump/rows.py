"""Rows as JSON lines, and back: the tables are read from the database itself, so that any revision will do."""

import json
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, MetaData, Table
from sqlalchemy.exc import SAWarning

NOT_KEPT = ("alembic_version", "sessions", "login_attempts")
"""Who was signed in signs in again: a session that was ended since must not come back."""
_BATCH = 1000


def tables_of(connection: Connection) -> list[Table]:
    """The tables that are kept; who is referred to comes first."""
    metadata = MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of an index of an expression, which is of no matter here
        metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in NOT_KEPT]


def encode(row: Mapping[Any, Any]) -> str:
    return json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False)


def decoded(file: Path, table: Table) -> Iterator[list[dict[str, Any]]]:
    """The rows in batches. Raises ValueError or KeyError for what `encode` did not write for this table."""
    times = [column.name for column in table.columns if isinstance(column.type, DateTime)]
    with file.open(encoding="utf-8") as lines:
        while batch := [_row(line, times) for line in islice(lines, _BATCH)]:
            yield batch


def _row(line: str, times: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line)
    return row | {name: datetime.fromisoformat(row[name]) for name in times if row[name] is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):  # SQLite's have no zone, and are in UTC
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value
