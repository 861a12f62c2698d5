"""The MCP client against real child processes, well and badly behaved."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from log_bridge.adapters.child import AnswerTooLongError, ChildLostError
from log_bridge.adapters.log_tools import choose_tool
from log_bridge.adapters.mcp_stdio import ChildSettings, LogServerUnusableError, McpStdioClient
from log_bridge.redaction import redact_text
from sluice.errors import PermanentError, TransientError
from tests.support.waiting import until

SCRIPT = Path(__file__).parent.parent / "support" / "log_child.py"
Make = Callable[..., Awaitable[McpStdioClient]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a client of a child that behaves as told, and ends it after the test."""
    clients: list[McpStdioClient] = []

    async def make(*behaviours: str, tool: str = "search_logs", **changes: Any) -> McpStdioClient:
        command = [sys.executable, str(SCRIPT), str(tmp_path), tool, *behaviours]
        values: dict[str, Any] = {
            "command": command,
            "environment": {"PATH": os.environ["PATH"]},
            "start_timeout": 10,
            "close_grace": 0.3,
            "ping_timeout": 0.5,
            "least_backoff": 0.05,
            "most_backoff": 0.2,
            **changes,
        }
        client = McpStdioClient(ChildSettings(**values), choose_tool, redact_text)
        clients.append(client)
        await client.start()
        return client

    yield make
    await asyncio.gather(*(client.close() for client in clients))


async def ask(client: McpStdioClient, query: str = "", seconds: float = 10, **arguments: Any) -> Any:
    _, result = await client.call(lambda _: {"query": query, **arguments}, seconds)
    return result["structuredContent"]["hits"][0]


def starts(folder: Path) -> list[int]:
    file = folder / "starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def received(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "received").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_handshake_comes_before_the_first_call(make: Make, tmp_path: Path) -> None:
    client = await make()
    assert (await ask(client))["tenant"] == "acme"
    messages = received(tmp_path)
    assert [m["method"] for m in messages if "method" in m] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/list",
        "tools/call",
    ]
    assert messages[0]["params"]["protocolVersion"] == "2025-11-25"
    assert {"jsonrpc": "2.0", "id": "from-child", "result": {}} in messages
    await client.check()


async def test_many_calls_at_once_each_get_their_own_answer(make: Make) -> None:
    client = await make()
    hits = await asyncio.gather(*(ask(client) for _ in range(200)))
    assert len({hit["pid"] for hit in hits}) == 1


async def test_after_kill_9_the_next_search_works(make: Make, tmp_path: Path) -> None:
    """And its tools were listed again."""
    client = await make()
    first = (await ask(client))["pid"]
    os.kill(first, signal.SIGKILL)
    second = (await ask(client))["pid"]
    assert second != first
    assert [m.get("method") for m in received(tmp_path)].count("tools/list") == 4


async def test_a_call_that_a_crash_cuts_off_is_made_once_more(make: Make, tmp_path: Path) -> None:
    client = await make()
    assert (await ask(client, "crash-once"))["pid"] == starts(tmp_path)[1]


async def test_a_call_that_always_crashes_is_given_up_after_the_second_time(make: Make, tmp_path: Path) -> None:
    client = await make()
    with pytest.raises(ChildLostError):
        await ask(client, "crash-always")
    calls = [m for m in received(tmp_path) if m.get("method") == "tools/call"]
    assert len(calls) == 2
    assert (await ask(client))["tenant"] == "acme"


async def test_a_call_that_hangs_ends_in_time_and_the_child_is_told(make: Make, tmp_path: Path) -> None:
    client = await make()
    with pytest.raises(TransientError, match=r"did not answer within 0\.3 s"):
        await ask(client, "hang", seconds=0.3)
    hung = next(m for m in received(tmp_path) if m.get("method") == "tools/call")

    def told() -> bool:
        cancelled = [m for m in received(tmp_path) if m.get("method") == "notifications/cancelled"]
        return [m["params"]["requestId"] for m in cancelled] == [hung["id"]]

    await until(told)
    assert (await ask(client))["pid"] == starts(tmp_path)[0], "a child that still answers pings is kept"


async def test_a_stopped_child_costs_one_deadline_and_is_replaced(make: Make, tmp_path: Path) -> None:
    """The request is larger than the pipe, so that writing it never ends."""
    client = await make()
    await ask(client, "stop-reading")
    began = time.monotonic()
    with pytest.raises(TransientError):
        await ask(client, text="x" * 400_000, seconds=0.5)
    assert time.monotonic() - began < 2
    assert (await ask(client))["pid"] != starts(tmp_path)[0]
    await until(lambda: not alive(starts(tmp_path)[0]))


async def test_an_idle_child_that_no_longer_answers_is_replaced(make: Make, tmp_path: Path) -> None:
    client = await make(ping_interval=0.2)
    os.kill((await ask(client))["pid"], signal.SIGSTOP)
    await until(lambda: len(starts(tmp_path)) == 2)
    assert (await ask(client))["pid"] == starts(tmp_path)[1]


async def test_a_flood_on_stderr_neither_blocks_nor_fills_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = await make()
    assert (await ask(client, "flood", seconds=30))["tenant"] == "acme"
    lines = [record for record in caplog.records if record.message == "child.stderr"]
    assert 1 < len(lines) <= 300


async def test_what_the_child_says_on_stderr_is_redacted(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await ask(await make())

    def line() -> Any:
        return next((r.__dict__["line"] for r in caplog.records if r.message == "child.stderr"), None)

    assert await until(line) == "child says Bearer [redacted:token] on stderr"


async def test_garbage_on_stdout_is_passed_over(make: Make) -> None:
    assert (await ask(await make(), "garbage"))["tenant"] == "acme"


async def test_an_answer_over_16_mb_is_refused_for_good_and_the_next_search_works(make: Make) -> None:
    client = await make()
    with pytest.raises(AnswerTooLongError, match="narrow the search"):
        await ask(client, "giant")
    assert (await ask(client))["tenant"] == "acme"


async def test_an_error_of_the_child_is_told_without_its_secrets(make: Make) -> None:
    with pytest.raises(PermanentError, match=r"Unknown tool, password=\[redacted\]"):
        await ask(await make(), "invalid")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("exit", "ended"),
        ("silent", "was not ready within 1 s"),
        ("ancient", "no revision of MCP"),
        ("writes", "offers none of the tools"),
    ],
)
async def test_a_child_that_cannot_be_used_is_told_by_the_check_and_the_call(
    make: Make, tmp_path: Path, behaviour: str, reason: str
) -> None:
    client = await make(behaviour, start_timeout=1)
    with pytest.raises(TransientError, match=reason):
        await ask(client, seconds=5)
    with pytest.raises(TransientError, match=reason):
        await client.check()
    await until(lambda: len(starts(tmp_path)) > 1, what="another try")
    assert not alive(starts(tmp_path)[0])


async def test_a_command_that_does_not_exist_is_told(make: Make) -> None:
    client = await make(command=["/nonexistent/log-server"])
    with pytest.raises(LogServerUnusableError, match="cannot be run: No such file"):
        await ask(client)


async def test_closing_leaves_no_process_behind(make: Make, tmp_path: Path) -> None:
    """Neither a child that ignores the end of its input and SIGTERM, nor what it started."""
    client = await make("deaf", "grandchild")
    child = (await ask(client))["pid"]
    grandchild = int((tmp_path / "grandchildren").read_text())
    assert alive(child)
    assert alive(grandchild)
    await client.close()
    await until(lambda: not alive(child) and not alive(grandchild))
    with pytest.raises(TransientError):
        await client.check()


async def test_a_crash_leaves_no_grandchild_behind(make: Make, tmp_path: Path) -> None:
    client = await make("grandchild")
    os.kill((await ask(client))["pid"], signal.SIGKILL)
    grandchild = int((tmp_path / "grandchildren").read_text().split()[0])
    await until(lambda: not alive(grandchild))


async def test_a_well_behaved_child_ends_by_itself_when_its_input_ends(make: Make) -> None:
    client = await make(close_grace=10)
    child = (await ask(client))["pid"]
    began = time.monotonic()
    await client.close()
    assert time.monotonic() - began < 5
    assert not alive(child)


async def test_the_child_sees_no_more_of_the_environment_than_it_is_given(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 39: the child's environment is scrubbed."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    await ask(await make(environment={"PATH": os.environ["PATH"], "CORA_AUTH_TOKEN": "t"}))
    seen = json.loads((tmp_path / "environment").read_text())
    assert set(seen) - {"LC_CTYPE"} == {"PATH", "CORA_AUTH_TOKEN"}
