"""What all routes share of their bodies: strict input, times in UTC, lists by cursor."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from gateway.errors import InvalidInputError
from gateway.records import Page
from sluice.access import Level, Right

T = TypeVar("T")
R = TypeVar("R")


class Body(BaseModel):
    """Input: unknown fields are refused, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Output(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def _printable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not have a NUL character")
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_printable)]
Email = Annotated[str, StringConstraints(min_length=3, max_length=320), AfterValidator(_printable)]
_ID = r"^[A-Za-z0-9-]{1,64}$"
IdIn = Annotated[str, StringConstraints(pattern=_ID)]
IdPath = Annotated[str, Path(pattern=_ID)]
LevelIn = Annotated[Level, Field(strict=False)]
RightsIn = Annotated[frozenset[Annotated[Right, Field(strict=False)]], Field(strict=False, max_length=len(Right))]


class Listing(BaseModel, Generic[T]):
    """A part of a list, newest first; `next_cursor` asks for what comes after it."""

    items: list[T]
    next_cursor: str | None


def _page(
    limit: Annotated[int, Query(ge=1, le=100)] = 50, cursor: Annotated[str | None, Query(max_length=200)] = None
) -> Page:
    return Page(limit=limit, before=_decode(cursor) if cursor else None)


PageIn = Annotated[Page, Depends(_page)]


def listing(
    rows: Sequence[R], page: Page, show: Callable[[R], T], place: Callable[[R], tuple[datetime, str]]
) -> Listing[T]:
    """The rows of a page; one more than its limit tells that there are others."""
    shown = rows[: page.limit]
    cursor = _encode(*place(shown[-1])) if len(rows) > page.limit else None
    return Listing(items=[show(row) for row in shown], next_cursor=cursor)


def _encode(at: datetime, row_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at.astimezone(UTC).isoformat()} {row_id}".encode()).decode()


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, row_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode("ascii").partition(" ")
        time = datetime.fromisoformat(at)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError("cursor", "is not one that a list gave") from error
    if time.tzinfo is None or not row_id or not row_id.isprintable():
        raise InvalidInputError("cursor", "is not one that a list gave")
    return time, row_id
