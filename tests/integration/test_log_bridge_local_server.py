"""Sluice's own log server as any MCP client sees it, and how it follows the log files."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters, stdio_client

from log_bridge.local_server.files import LogFolder
from log_bridge.local_server.index import LogIndex
from log_bridge.local_server.logs import Logs
from tests.support.waiting import until

START = datetime(2026, 11, 20, 10, tzinfo=UTC)
PERIOD = {"start_date": "2026-11-20T00:00:00Z", "end_date": "2026-11-21T00:00:00Z"}
Call = Callable[..., Awaitable[Any]]


def write(folder: Path, count: int, **record: Any) -> None:
    with (folder / "a.jsonl").open("a") as file:
        for number in range(count):
            time = (START + timedelta(seconds=number)).isoformat()
            file.write(json.dumps({"time": time, "tenant": "acme", "n": number, **record}) + "\n")


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[Call]:
    """Calls a tool of the running server with the SDK's client."""
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "log_bridge.local_server", "--logs", str(folder)]
    )
    async with stdio_client(program) as streams, ClientSession(*streams) as session:
        await session.initialize()

        async def call(tool: str, **arguments: Any) -> Any:
            return await session.call_tool(tool, arguments)

        yield call


async def test_its_tools_find_count_and_describe_the_logs(tmp_path: Path) -> None:
    async with server(tmp_path) as call:
        write(tmp_path, 3, level="INFO")
        write(tmp_path, 1, tenant="other", secret=True)
        with (tmp_path / "a.jsonl").open("a") as file:
            file.write("not json\n")
        found = await call("search_logs", query="n:[1 TO 2]", **PERIOD, fields=["n"], tenant="acme")
        assert found.structured_content["hits"] == [{"n": 2}, {"n": 1}]
        assert found.structured_content["total"] == 2
        assert found.structured_content["warnings"] == [
            "1 lines of the log files are no JSON objects with a time and were left out"
        ]
        fields = await call("list_fields", **PERIOD, tenant="acme")
        assert fields.structured_content["fields"]["n"] == {"types": ["int"], "count": 3}
        assert "secret" not in fields.structured_content["fields"]
        escaped = await call("search_logs", query="* OR tenant:other", **PERIOD, tenant="acme")
        assert escaped.structured_content["total"] == 3
        valid = await call("validate_query", query="a AND b")
        assert valid.structured_content == {"valid": True, "message": None, "position": None}
        invalid = await call("validate_query", query="a AND (b")
        assert (invalid.structured_content["valid"], invalid.structured_content["position"]) == (False, 8)


async def test_wrong_arguments_are_told_as_an_error_of_the_tool(tmp_path: Path) -> None:
    async with server(tmp_path) as call:
        period = {"start_date": PERIOD["end_date"], "end_date": PERIOD["start_date"]}
        for wrong, reason in [
            ({"query": "(a", **PERIOD}, "the query is wrong at character 3"),
            ({"query": "a", **period}, "start_date must lie before end_date"),
            ({"query": "a", **PERIOD, "start_date": "yesterday"}, "Invalid isoformat string"),
            ({"query": "a", **PERIOD, "limit": 501}, "less than or equal to 500"),
            ({"query": "a", **PERIOD, "cursor": "!"}, "invalid literal"),
            ({"query": "a", **PERIOD, "interval_seconds": 1}, "take longer ones"),
        ]:
            result = await call("search_logs", **wrong)
            assert result.is_error, wrong
            assert reason in result.content[0].text, wrong


async def test_a_search_does_not_wait_for_all_of_a_large_backlog(tmp_path: Path) -> None:
    """It says that there is more to come, and a later one has it all."""
    write(tmp_path, 6_000)
    logs = Logs(LogFolder(tmp_path), LogIndex(), patience_seconds=0.02)

    def search() -> dict[str, Any]:
        return logs.search(
            "",
            START,
            START + timedelta(days=1),
            limit=1,
            newest_first=True,
            fields=None,
            cursor=None,
            tenant=None,
            interval_seconds=None,
        )

    early = search()
    assert not early["total_is_exact"]
    assert early["warnings"] == ["the log files are still being read: search again for all that is there"]
    await until(lambda: search()["total_is_exact"], seconds=60)
    assert search()["total"] == 6_000
