"""The use case: a log search of one person, confined to their tenant."""

import logging
from datetime import UTC, datetime
from typing import Any

from log_bridge.lucene import Text, confine
from log_bridge.ports import LogPage, LogQuery, LogSearch, QueryParser
from log_bridge.redaction import redact
from sluice.access import Level, Passport, Right
from sluice.errors import AccessDeniedError, PermanentError
from sluice.messages import LogsSearched

logger = logging.getLogger(__name__)
MAX_LIMIT = 500
MAX_CURSOR = 64
MAX_BARS = 2_000


class InvalidSearchError(PermanentError):
    """A search outside the limits; `field` is the one that is wrong."""

    type = "invalid-search"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", errors=[{"field": field, "message": reason}])


class SearchLogs:
    """`tenant_field` is the field of a record that names its tenant, `.keyword` at its end where that needs it."""

    def __init__(self, logs: LogSearch, parse: QueryParser, *, tenant_field: str, timeout_seconds: float) -> None:
        self._logs = logs
        self._parse = parse
        self._tenant_field = tenant_field
        self._timeout_seconds = timeout_seconds

    async def __call__(self, message: LogsSearched, passport: Passport) -> dict[str, Any]:
        """`{total, total_is_exact, took_ms, truncated, hits, next_cursor, histogram, warnings}`.

        Raises:
            AccessDeniedError: the passport lacks the right, or INTERNAL clearance.
            InvalidQueryError, InvalidSearchError: the query or a limit is wrong.
            PermanentError, TransientError: the log server refuses, or is away.
        """
        check_access(passport)
        check_limits(message)
        clause = Text(self._tenant_field, passport.tenant)
        query = LogQuery(
            query=confine(self._parse(message.query), clause),
            start=message.start,
            end=message.end,
            limit=message.limit,
            order=message.order,
            cursor=message.cursor,
            interval_seconds=message.interval_seconds,
        )
        left = (message.deadline - datetime.now(UTC)).total_seconds()
        page = await self._logs(query, timeout_seconds=max(0.0, min(self._timeout_seconds, left)))
        hits = self._own(page, passport.tenant)
        logger.info("logs.searched", extra={"hits": len(hits), "total": page.total, "took_ms": page.took_ms})
        return _result(page, hits, complete=len(hits) == len(page.hits))

    def _own(self, page: LogPage, tenant: str) -> list[dict[str, Any]]:
        """Each record is asserted against the tenant again: a server may take the clause for mere words."""
        path = self._tenant_field.removesuffix(".keyword").split(".")
        hits = [hit for hit in page.hits if _at(hit, path) == tenant]
        if len(hits) != len(page.hits):
            logger.error("logs.foreign-records", extra={"dropped": len(page.hits) - len(hits)})
        return hits


def check_access(passport: Passport) -> None:
    """Raises AccessDeniedError."""
    if passport.clearance is not Level.INTERNAL:
        raise AccessDeniedError("log search needs INTERNAL clearance")
    if Right.LOGS not in passport.rights:
        raise AccessDeniedError("log search needs the right logs")


def check_limits(message: LogsSearched) -> None:
    """Raises InvalidSearchError."""
    if message.start >= message.end:
        raise InvalidSearchError("start", "it must lie before the end")
    if not 1970 <= message.start.year <= message.end.year <= 2261:
        raise InvalidSearchError("start", "start and end must lie between the years 1970 and 2261")
    if not 1 <= message.limit <= MAX_LIMIT:
        raise InvalidSearchError("limit", f"it must lie between 1 and {MAX_LIMIT}")
    if message.cursor is not None and not (message.cursor.isalnum() and len(message.cursor) <= MAX_CURSOR):
        raise InvalidSearchError("cursor", "it is not a cursor of a search")
    bar = message.interval_seconds
    if bar is not None and (bar < 1 or (message.end - message.start).total_seconds() / bar > MAX_BARS):
        raise InvalidSearchError("interval", f"it must be at least a second, and give at most {MAX_BARS} bars")


def _result(page: LogPage, hits: list[dict[str, Any]], *, complete: bool) -> dict[str, Any]:
    """The counts of a page with foreign records are not shown: they would tell of what is not the asker's."""
    return {
        "total": page.total if complete else len(hits),
        "total_is_exact": page.total_is_exact and complete,
        "took_ms": page.took_ms,
        "truncated": page.next_cursor is not None or not page.total_is_exact,
        "hits": redact(hits),
        "next_cursor": page.next_cursor,
        "histogram": page.histogram if complete else None,
        "warnings": [str(warning) for warning in redact(page.warnings)],
    }


def _at(record: Any, path: list[str]) -> Any:
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return record  # pyright: ignore[reportUnknownVariableType]
