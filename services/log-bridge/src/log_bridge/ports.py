"""What the use case needs."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from log_bridge.lucene import Node


@dataclass(frozen=True)
class LogQuery:
    """`query` is confined to the asker's tenant already; from `start` to before `end`.

    `interval_seconds` is the length of a histogram's bars; None asks for none.
    """

    query: Node
    start: datetime
    end: datetime
    limit: int
    order: Literal["newest", "oldest"]
    cursor: str | None = None
    interval_seconds: int | None = None


@dataclass(frozen=True)
class LogPage:
    """`hits` are whole log records. `total` counts all that match, or, where not exact, at least that many do.

    `histogram` is `[{time, count, levels: {level: count}}]`.
    """

    hits: list[dict[str, Any]]
    total: int
    total_is_exact: bool
    took_ms: int
    next_cursor: str | None = None
    histogram: list[dict[str, Any]] | None = None
    warnings: list[str] = field(default_factory=list[str])


class LogSearch(Protocol):
    async def __call__(self, query: LogQuery, *, timeout_seconds: float) -> LogPage:
        """Raises PermanentError when the search is refused, TransientError when it may succeed later."""
        ...


class QueryParser(Protocol):
    def __call__(self, text: str, /) -> Node:
        """Raises InvalidQueryError."""
        ...
