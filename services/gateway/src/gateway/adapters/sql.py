"""What the SQL adapters share: rows to records and back, and lists by cursor."""

from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, literal, tuple_
from sqlalchemy.exc import IntegrityError

from gateway.models import UtcDateTime
from gateway.records import Page

R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound="Select[Any]")


async def once_more(work: Callable[[], Awaitable[T]]) -> T:
    """A row that someone else made at the same moment is there, and found, at the second try."""
    try:
        return await work()
    except IntegrityError:
        return await work()


def values_of(record: Any, **changed: Any) -> dict[str, Any]:
    """The record's fields as a row, with changed ones."""
    return {f.name: getattr(record, f.name) for f in fields(record)} | changed


def record_of(kind: type[R], row: RowMapping, prefix: str = "", **changed: Any) -> R:
    """The row's columns as a record, with changed ones."""
    named = {f.name: row[prefix + f.name] for f in fields(kind) if f.name not in changed}  # type: ignore[arg-type]
    return kind(**named, **changed)


def comes_after(
    time: ColumnElement[datetime], row_id: ColumnElement[str], at: datetime, last_id: str
) -> ColumnElement[bool]:
    """Where a walk through rows, oldest first, goes on."""
    return tuple_(time, row_id) > tuple_(literal(at, UtcDateTime), literal(last_id))


def newest_first(query: S, time: ColumnElement[datetime], row_id: ColumnElement[str], page: Page) -> S:
    """The page's rows and one more, which tells that the list goes on."""
    if page.before is not None:
        at, before_id = page.before
        query = query.where(tuple_(time, row_id) < tuple_(literal(at, UtcDateTime), literal(before_id)))
    return query.order_by(time.desc(), row_id.desc()).limit(page.limit + 1)
