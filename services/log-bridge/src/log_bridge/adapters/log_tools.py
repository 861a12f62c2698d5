"""The tools that search logs, whoever offers them: Sluice's own, Coralogix's own, and a third party's for Coralogix.

Each is called with what it takes, and what it gives is read into the same page. No other tool is ever called.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from log_bridge.adapters.coralogix import coralogix_page, dataprime
from log_bridge.adapters.mcp_stdio import LogServerUnusableError, McpStdioClient, Tools
from log_bridge.lucene import spell
from log_bridge.ports import LogPage, LogQuery
from sluice.errors import PermanentError, TransientError


@dataclass(frozen=True)
class _Tool:
    arguments: Callable[[LogQuery], Mapping[str, Any]]
    page: Callable[[Any, LogQuery, int], LogPage]


def _own_arguments(query: LogQuery) -> Mapping[str, Any]:
    arguments = {
        "query": spell(query.query),
        "start_date": _time(query.start),
        "end_date": _time(query.end),
        "limit": query.limit,
        "order": query.order,
        "cursor": query.cursor,
        "interval_seconds": query.interval_seconds,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _own_page(answer: Any, query: LogQuery, took_ms: int) -> LogPage:
    try:
        return LogPage(
            hits=[dict(hit) for hit in answer["hits"]],
            total=int(answer["total"]),
            total_is_exact=bool(answer.get("total_is_exact", True)),
            took_ms=int(answer.get("took_ms", took_ms)),
            next_cursor=answer.get("next_cursor"),
            histogram=answer.get("histogram"),
            warnings=[str(warning) for warning in answer.get("warnings", [])],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable() from error


def _dataprime_arguments(query: LogQuery) -> Mapping[str, Any]:
    return {
        "query": dataprime(spell(query.query)),
        "start_date": _time(query.start),
        "end_date": _time(query.end),
        "limit": query.limit,
    }


def _lucene_arguments(query: LogQuery) -> Mapping[str, Any]:
    return {
        "query": spell(query.query),
        "startDate": _time(query.start),
        "endDate": _time(query.end),
        "tier": "TIER_FREQUENT_SEARCH",
        "limit": query.limit,
    }


_TOOLS = {
    "search_logs": _Tool(_own_arguments, _own_page),
    "query_dataprime": _Tool(_dataprime_arguments, coralogix_page),
    "query_lucene": _Tool(_lucene_arguments, coralogix_page),
}


def choose_tool(tools: Tools) -> str:
    """The first tool that we know, unless its server says that it writes.

    Raises:
        LogServerUnusableError: there is none.
    """
    for name in _TOOLS:
        if name in tools and not _writes(tools[name].get("annotations")):
            return name
    raise LogServerUnusableError(f"the log server offers none of the tools {', '.join(_TOOLS)}")


def _writes(annotations: Any) -> bool:
    """What the server says of the tool; without a word it is taken as the reading tool that its name stands for."""
    hints: Any = annotations or {}
    return hints.get("readOnlyHint") is False


class McpLogSearch:
    """Searches through a child that speaks MCP."""

    def __init__(self, client: McpStdioClient, redact: Callable[[str], str]) -> None:
        self._client = client
        self._redact = redact

    async def __call__(self, query: LogQuery, *, timeout_seconds: float) -> LogPage:
        began = time.monotonic()
        name, result = await self._client.call(lambda tool: _TOOLS[tool].arguments(query), timeout_seconds)
        took_ms = round((time.monotonic() - began) * 1000)
        return _TOOLS[name].page(self._content(result), query, took_ms)

    def _content(self, result: Any) -> Any:
        """The structured content, else the text read as JSON or as lines of JSON."""
        try:
            text = "\n".join(part["text"] for part in result.get("content", []) if part["type"] == "text")
            failed, structured = result.get("isError"), result.get("structuredContent")
        except (AttributeError, KeyError, TypeError) as error:
            raise _unreadable() from error
        if failed:
            raise PermanentError(f"the log server refused the search: {self._redact(text)[:500]}")
        return structured or _json(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise _unreadable() from error


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _unreadable() -> TransientError:
    return TransientError("the log server answered in a form that Sluice does not read")
