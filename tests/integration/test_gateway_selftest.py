"""POST /api/v1/selftest/leaks with a child process that plays the self-test."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from sluice.audit import SYSTEM
from tests.support import selftest_child
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway, events_of, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.selftest_child import REPORT
from tests.support.servers import RedisServer
from tests.support.waiting import until

PATH = "/api/v1/selftest/leaks"
Starting = Callable[[str], AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture
def gateway_whose_child(tmp_path: Path, empty_valkey: RedisServer, office: Office) -> Starting:
    @asynccontextmanager
    async def starting(habit: str) -> AsyncGenerator[RunningGateway]:
        command = (sys.executable, selftest_child.__file__, str(tmp_path), habit)
        settings = gateway_settings(
            tmp_path, empty_valkey.url, selftest_command=command, selftest_environment={"GIVEN": SecretStr("here")}
        )
        async with running_gateway(settings, office) as running:
            yield running

    return starting


async def events(client: httpx2.AsyncClient) -> list[tuple[str, Any]]:
    async with client.stream("POST", PATH) as answer:
        assert answer.status_code == 200
        return [(name, data) async for name, data, _ in events_of(answer)]


async def audited(gateway: RunningGateway) -> list[tuple[str, str, dict[str, Any]]]:
    found = await gateway.services.trail.trail.page(SYSTEM, 100, None)
    return [(r.action, r.actor, r.detail) for r in reversed(found) if r.action.startswith("selftest.")]


async def test_the_childs_lines_are_told_and_its_report_comes_last(gateway_whose_child: Starting) -> None:
    async with gateway_whose_child("reports") as gateway, gateway.client(OPERATOR_TOKEN) as operator:
        told = await events(operator)
        assert told == [
            ("progress", {"line": "planting"}),
            ("progress", {"line": "1/2 chat: 3 asked as 3"}),
            ("report", REPORT),
        ]
        counts = {name: REPORT[name] for name in ("ways", "canaries_seen", "trespasses", "untried")}
        assert await audited(gateway) == [
            ("selftest.started", "operator", {}),
            ("selftest.ended", "operator", {"outcome": "reported", **counts}),
        ]
        assert (await events(operator))[-1] == ("report", REPORT), "and again"


async def test_the_child_finds_what_the_operators_settings_give_it_and_nothing_of_the_gateways(
    gateway_whose_child: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_ADMIN_PASSWORD", "a secret of the gateway's")
    async with gateway_whose_child("reports") as gateway, gateway.client(OPERATOR_TOKEN) as operator:
        await operator.post(PATH, json={"command": ["id"], "environment": {"MINE": "1"}}, params={"wait": "1"})
    environment = json.loads((tmp_path / "environment").read_text())
    assert environment.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own
    assert environment == {"GIVEN": "here"}


async def test_a_second_one_is_refused_while_one_runs(gateway_whose_child: Starting, tmp_path: Path) -> None:
    async with gateway_whose_child("waits") as gateway, gateway.client(OPERATOR_TOKEN) as operator:
        first = asyncio.create_task(events(operator))
        await until((tmp_path / "environment").exists, what="the child")
        second = await operator.post(PATH)
        assert (second.status_code, second.json()["type"]) == (409, "urn:sluice:problem:conflict")
        (tmp_path / "go").touch()
        assert (await first)[-1] == ("report", REPORT)


async def test_a_child_whose_caller_went_away_clears_up_and_ends(gateway_whose_child: Starting, tmp_path: Path) -> None:
    async with gateway_whose_child("waits") as gateway, gateway.client(OPERATOR_TOKEN) as operator:
        async with operator.stream("POST", PATH) as answer:
            async for _ in events_of(answer):
                break
        await until((tmp_path / "ended").exists, what="the child's end")

        async def noted() -> bool:
            return ("selftest.ended", "operator", {"outcome": "stopped"}) in await audited(gateway)

        await until(noted, what="the record")
        (tmp_path / "go").touch()

        async def free() -> bool:
            return (await operator.post(PATH)).status_code == 200

        await until(free, what="a free place")


async def test_a_gateway_that_stops_leaves_no_child(gateway_whose_child: Starting, tmp_path: Path) -> None:
    async with gateway_whose_child("waits") as gateway:
        client = gateway.client(OPERATOR_TOKEN)
        running = asyncio.create_task(events(client))
        await until((tmp_path / "environment").exists, what="the child")
    assert (tmp_path / "ended").exists()
    await asyncio.gather(running, return_exceptions=True)
    await client.aclose()


@pytest.mark.parametrize(("habit", "reason"), [("breaks", "the gateway said no"), ("babbles", "no report")])
async def test_a_child_without_a_report_is_an_error_that_says_why(
    gateway_whose_child: Starting, habit: str, reason: str
) -> None:
    async with gateway_whose_child(habit) as gateway, gateway.client(OPERATOR_TOKEN) as operator:
        name, problem = (await events(operator))[-1]
        assert (name, problem["type"]) == ("error", "urn:sluice:problem:selftest-failed")
        assert reason in problem["detail"]
        assert (await audited(gateway))[-1][2] == {"outcome": "failed"}


async def test_who_is_no_operator_starts_nothing(gateway_whose_child: Starting, tmp_path: Path) -> None:
    async with gateway_whose_child("reports") as gateway, await gateway.admin() as admin, gateway.client() as nobody:
        assert [(await client.post(PATH)).status_code for client in (admin, nobody)] == [401, 401]
    assert not (tmp_path / "environment").exists()


async def test_without_a_command_it_says_what_to_run(gateway: RunningGateway) -> None:
    async with gateway.client(OPERATOR_TOKEN) as operator:
        refused = await operator.post(PATH)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:sluice:problem:not-set-up")
    assert "sluice selftest leaks" in refused.json()["detail"]
