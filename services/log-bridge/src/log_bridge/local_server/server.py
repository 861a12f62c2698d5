"""The tools that the server offers, over MCP."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from importlib.metadata import version
from typing import Annotated, Any, Literal, ParamSpec

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.local_server.logs import Logs
from log_bridge.local_server.times import parse_time
from log_bridge.lucene import InvalidQueryError

P = ParamSpec("P")
_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Interval = Annotated[int, Field(ge=1, le=86_400 * 31)]
Limit = Annotated[int, Field(ge=1, le=500)]
Time = Annotated[str, Field(description="RFC 3339, for example 2026-11-20T10:00:00Z.")]
Query = Annotated[str, Field(description='Lucene: level:error AND event:"document.indexed" AND NOT service:gateway.')]
Tenant = Annotated[str | None, Field(description="Only this tenant's records.")]


def create_server(logs: Logs) -> MCPServer:
    server: MCPServer[Any] = MCPServer("sluice-logs", version=version("log-bridge"), log_level="WARNING")

    @_answering
    def search_logs(
        query: Query,
        start_date: Time,
        end_date: Time,
        limit: Limit = 50,
        order: Literal["newest", "oldest"] = "newest",
        fields: list[str] | None = None,
        cursor: str | None = None,
        tenant: Tenant = None,
        interval_seconds: Interval | None = None,
    ) -> dict[str, Any]:
        """Searches the logs; with `interval_seconds` it also counts them per time and level."""
        start, end = _period(start_date, end_date)
        return logs.search(
            query,
            start,
            end,
            limit=limit,
            newest_first=order == "newest",
            fields=fields,
            cursor=cursor,
            tenant=tenant,
            interval_seconds=interval_seconds,
        )

    @_answering
    def list_fields(start_date: Time, end_date: Time, tenant: Tenant = None) -> dict[str, Any]:
        """The fields of the newest records, with their types and how many records have them."""
        return {"fields": logs.fields(*_period(start_date, end_date), tenant)}

    for tool in (search_logs, list_fields, validate_query):
        server.add_tool(tool, annotations=_READ_ONLY)
    return server


def validate_query(query: Query) -> dict[str, Any]:
    """Whether a query parses: {valid, message, position}; positions count characters from 0."""
    try:
        parse_query(query)
    except InvalidQueryError as error:
        return {"valid": False, "message": error.reason, "position": error.position}
    return {"valid": True, "message": None, "position": None}


def _period(start: str, end: str) -> tuple[datetime, datetime]:
    begins, ends = parse_time(start), parse_time(end)
    if begins >= ends:
        raise ValueError("start_date must lie before end_date")
    return begins, ends


def _answering(tool: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
    """What is wrong with the arguments is told to the caller; other exceptions are the server's own."""

    @wraps(tool)
    def answer(*args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        try:
            return tool(*args, **kwargs)
        except InvalidQueryError as error:
            raise ToolError(error.detail) from error
        except ValueError as error:
            raise ToolError(str(error)) from error

    return answer
