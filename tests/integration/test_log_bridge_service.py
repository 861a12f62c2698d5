"""The log-bridge whole: from its stream, through a real child process, to the reply log, and its health."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from log_bridge.app import create_app
from log_bridge.settings import LogBridgeSettings
from sluice.access import Level, Right
from sluice.broker import Broker
from sluice.messages import LogsSearched
from sluice.replies import Event
from tests.support.identity import Office
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import until

CHILD = Path(__file__).parent.parent / "support" / "log_child.py"
START = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Bridge:
    """The service in this process, asked as the gateway asks it."""

    def __init__(self, app: Any, broker: Broker, office: Office) -> None:
        self._office = office
        self._broker = broker
        self._http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://bridge")

    async def search(self, query: str = "", **changes: Any) -> Event:
        values: dict[str, Any] = {
            "tenant": "acme",
            "clearance": Level.INTERNAL,
            "start": START,
            "end": START + timedelta(days=1),
            **changes,
        }
        message = self._office.message(LogsSearched, query=query, **values)
        await self._broker.publish(message)
        async with asyncio.timeout(30):
            return await self._broker.plain_replies.terminal(message.tenant, Level.INTERNAL, message.request_id)

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        response = await self._http.get("/readyz")
        return response.status_code, response.json()

    async def ready(self) -> bool:
        return (await self.readiness())[0] == 200


@pytest.fixture
def bridges(valkey: RedisServer, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.delenv("CORA_AUTH_TOKEN", raising=False)

    @asynccontextmanager
    async def bridge(**changes: Any) -> AsyncIterator[Bridge]:
        settings = LogBridgeSettings(redis_url=valkey.url, log_search_dir=tmp_path, **changes)  # pyright: ignore[reportArgumentType]
        broker = Broker(settings, service="log-bridge", verifier=office.verifier, keyring=office.keyring)
        await broker.redis.flushall()
        app = create_app(settings, broker)
        async with app.router.lifespan_context(app):
            yield Bridge(app, broker, office)

    return bridge


def write(folder: Path, **record: Any) -> None:
    """A line of the services' logs, of the tenant acme where not told otherwise."""
    number = record.get("n", 0)
    line = {"time": (START + timedelta(seconds=number)).isoformat(), "level": "INFO", "tenant": "acme", **record}
    with (folder / "gateway.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def numbers(event: Event) -> list[int]:
    assert event.name == "result", event.data
    return [hit["n"] for hit in event.data["hits"]]


def children_of(folder: Path) -> list[int]:
    """The process ids of our own log servers over this folder."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"log_bridge.local_server" in command and str(folder).encode() in command:
                found.append(int(entry.name))
    return found


async def test_a_line_just_written_is_found_by_a_lucene_query(bridges: Any, tmp_path: Path) -> None:
    async with bridges() as bridge:
        write(tmp_path, n=1, level="ERROR", event="tier.failed", lane="INTERNAL", tokens={"input": 5})
        write(tmp_path, n=2, event="tier.used")
        event = await bridge.search("level:error AND event:tier.*")
        assert event.data["hits"] == [
            {
                "time": "2026-11-20T10:00:01+00:00",
                "level": "ERROR",
                "tenant": "acme",
                "n": 1,
                "event": "tier.failed",
                "lane": "INTERNAL",
                "tokens": {"input": 5},
            }
        ]
        write(tmp_path, n=3, level="ERROR", event="tier.failed")
        assert numbers(await bridge.search("level:error")) == [3, 1]
        (tmp_path / "gateway.jsonl").rename(tmp_path / "gateway.1.jsonl")
        write(tmp_path, n=4, level="ERROR")
        assert numbers(await bridge.search("level:error", order="oldest")) == [1, 3, 4]


OTHERS_QUERIES = [
    "",
    "*:*",
    "tenant:other",
    "tenant:*",
    "secret OR tenant:other",
    "NOT tenant:acme",
    "NOT nothing",
    'x OR tenant:"other"',
    r"x\) OR \(tenant\:other",
    "_exists_:n OR *",
    "time:[* TO *]",
    "tenant.keyword:other OR *",
]


async def test_the_logs_of_another_tenant_are_never_found(bridges: Any, tmp_path: Path) -> None:
    """Nor does any count tell that they are there; what names no tenant is nobody's."""
    write(tmp_path, n=1, text="mine")
    for number, tenant in enumerate(["other", "acme-eu", "Acme", "acme eu", None, ["acme", "x"]], start=2):
        write(tmp_path, n=number, tenant=tenant, text="secret")
    async with bridges() as bridge:
        for query in OTHERS_QUERIES:
            event = await bridge.search(query, interval_seconds=3600)
            assert set(numbers(event)) <= {1}, query
            assert event.data["total"] <= 1, query
            assert sum(bar["count"] for bar in event.data["histogram"] or []) <= 1, query


async def test_a_query_that_does_not_parse_ends_in_an_error_of_its_field(bridges: Any) -> None:
    async with bridges() as bridge:
        for query in ("*) OR (tenant:other", 'tenant:other OR "', "a\nb", "a\0b", "(" * 1000, "f:/x.*/"):
            event = await bridge.search(query)
            assert event.name == "error", query
            assert event.data["status"] == 422
            assert event.data["type"] == "urn:sluice:problem:invalid-query"
            assert event.data["errors"][0]["field"] == "query"


async def test_shell_characters_are_only_characters(bridges: Any, tmp_path: Path) -> None:
    """case 40: the query reaches the child as a JSON value only."""
    write(tmp_path, n=1, text="$(touch pwned) `id` ; rm -rf / | cat && echo 'x' > y")
    async with bridges() as bridge:
        assert numbers(await bridge.search('text:"$(touch pwned) `id` ; rm"')) == [1]


async def test_without_the_right_or_clearance_it_ends_in_an_error(bridges: Any) -> None:
    async with bridges() as bridge:
        for changes in ({"passport_rights": frozenset({Right.READ, Right.ADMIN})}, {"clearance": Level.EXTERNAL}):
            event = await bridge.search("*", **changes)
            assert (event.name, event.data["status"]) == ("error", 403)


async def test_pages_follow_each_other_by_the_cursor(bridges: Any, tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path, n=number)
    async with bridges() as bridge:
        first = await bridge.search(limit=6)
        write(tmp_path, n=11)
        second = await bridge.search(limit=6, cursor=first.data["next_cursor"])
    assert (numbers(first), numbers(second)) == ([9, 8, 7, 6, 5, 4], [3, 2, 1, 0])
    assert (first.data["truncated"], second.data["truncated"], second.data["next_cursor"]) == (True, False, None)


async def test_counts_by_time_and_level_come_when_asked_for(bridges: Any, tmp_path: Path) -> None:
    for number in (0, 1, 70):
        write(tmp_path, n=number, level="ERROR" if number else "INFO")
    async with bridges() as bridge:
        event = await bridge.search(interval_seconds=60, limit=1)
    assert event.data["histogram"] == [
        {"time": "2026-11-20T10:00:00Z", "count": 2, "levels": {"ERROR": 1, "INFO": 1}},
        {"time": "2026-11-20T10:01:00Z", "count": 1, "levels": {"ERROR": 1}},
    ]


async def test_secrets_in_the_logs_are_not_shown(bridges: Any, tmp_path: Path) -> None:
    write(tmp_path, n=1, text="login of bob@example.com with password=hunter2", api_key="k")
    async with bridges() as bridge:
        [hit] = (await bridge.search()).data["hits"]
    assert hit["text"] == "login of [redacted:email] with password=[redacted]"
    assert hit["api_key"] == "[redacted]"


async def test_after_kill_9_of_the_child_the_next_search_works(bridges: Any, tmp_path: Path) -> None:
    write(tmp_path, n=1)
    async with bridges() as bridge:
        assert numbers(await bridge.search()) == [1]
        [child] = children_of(tmp_path)
        os.kill(child, signal.SIGKILL)
        write(tmp_path, n=2)
        assert numbers(await bridge.search()) == [2, 1]
        await until(bridge.ready)
    await until(lambda: not children_of(tmp_path), what="no child left behind")


async def test_it_is_ready_when_its_child_is_and_not_while_that_cannot_start(bridges: Any) -> None:
    async with bridges() as bridge:
        await until(bridge.ready)
    async with bridges(log_search_command="/nonexistent/log-server --verbose") as bridge:

        async def refused() -> bool:
            status, body = await bridge.readiness()
            return status == 503 and "cannot be run" in body.get("reason", "")

        await until(refused)


@pytest.mark.parametrize("tool", ["query_dataprime", "query_lucene"])
async def test_a_coralogix_server_is_asked_by_its_own_tool(bridges: Any, tmp_path: Path, tool: str) -> None:
    command = f"{sys.executable} {CHILD} {tmp_path} {tool}"
    async with bridges(log_search_command=command, cora_auth_token="cxtp_secret") as bridge:
        event = await bridge.search("level:error")
        assert event.data["hits"] == [
            {
                "time": "2026-11-20T10:00:01",
                "level": "ERROR",
                "labels": {"applicationname": "shop"},
                "tenant": "acme",
                "event": "order.paid",
            }
        ]
        assert (await bridge.search(tenant="other")).data["hits"] == []
    sent = [json.loads(line) for line in (tmp_path / "received").read_text().splitlines()]
    calls = [message["params"] for message in sent if message.get("method") == "tools/call"]
    assert {call["name"] for call in calls} == {tool}
    assert 'tenant:"acme" AND level:"error"' in calls[0]["arguments"]["query"]
    assert json.loads((tmp_path / "environment").read_text())["CORA_AUTH_TOKEN"] == "cxtp_secret"


async def test_the_program_starts_and_ends_with_its_child(valkey: RedisServer, office: Office, tmp_path: Path) -> None:
    """`python -m log_bridge`, stopped by SIGTERM."""
    keys, logs, port = tmp_path / "keys", tmp_path / "logs", free_port()
    keys.mkdir()
    (keys / "passport.pub").write_bytes(office.public_key)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "CORA_AUTH_TOKEN"},
        "SLUICE_STATE_DIR": str(tmp_path),
        "SLUICE_REDIS_URL": valkey.url,
        "SLUICE_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "log_bridge", env=environment)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        try:
            await until(ready, seconds=60)
            assert len(children_of(logs)) == 1
        finally:
            process.terminate()
    async with asyncio.timeout(30):
        assert await process.wait() == 0
    assert children_of(logs) == []
