"""The operators' page, without a browser: the token's way, what is shown, and what ends it."""

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.support.fake_gateway import OPERATOR_TOKEN
from tests.support.page import Stage, running_page
from tests.support.problems import problem_of
from tests.support.waiting import until

HELD: dict[str, Any] = {"way": "chat", "requests": 36, "seen": [], "trespasses": [], "untried": []}
CLEAN: dict[str, Any] = {"ways": 1, "canaries_seen": 0, "trespasses": 0, "untried": 0, "lost": [], "tried": [HELD]}
PROGRESS = ("progress", {"line": "1/1 chat: 36 asked as 9"})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_page(tmp_path_factory.mktemp("page")) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.new_gateway().selftest = [PROGRESS, ("report", CLEAN)]
    return running


def post(stage: Stage, token: str = OPERATOR_TOKEN) -> httpx2.Response:
    return httpx2.post(f"{stage.url}/operator/leaks", data={"token": token}, timeout=15, trust_env=False)


def lines(answer: httpx2.Response) -> list[dict[str, str]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_an_operator_needs_no_session_and_is_shown_how_it_goes_and_what_came_of_it(stage: Stage) -> None:
    shown = httpx2.get(f"{stage.url}/operator", trust_env=False)
    assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
    told = lines(post(stage))
    assert any("1/1 chat: 36 asked as 9" in line["status"] for line in told)
    assert told[-1]["status"] == "Done."
    assert "Nothing leaked." in told[-1]["html"]


def test_the_token_goes_to_the_gateway_alone(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """In no answer, header, cookie or log line; and never as a part of an address."""
    with caplog.at_level(logging.DEBUG):
        answer = post(stage)
    assert OPERATOR_TOKEN not in answer.text + str(answer.headers)
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert not [record for record in caplog.records if OPERATOR_TOKEN in record.getMessage()]
    [headers] = stage.gateway.operator_headers
    assert headers.pop("authorization") == f"Bearer {OPERATOR_TOKEN}"
    assert OPERATOR_TOKEN not in str(headers)
    query = httpx2.post(f"{stage.url}/operator/leaks", params={"token": OPERATOR_TOKEN}, trust_env=False)
    assert query.status_code == 401


@pytest.mark.parametrize("token", ["a guess", "", "töken", "two\nlines", "x" * 600])
def test_a_wrong_token_is_told_clearly(stage: Stage, token: str) -> None:
    answer = post(stage, token)
    assert answer.status_code == 401
    assert "not the operators&#x27; token" in lines(answer)[0]["html"]


def test_a_gateway_that_cannot_run_one_says_what_to_do(stage: Stage) -> None:
    refusal = problem_of("not-set-up", 409, "run `sluice selftest leaks`")
    stage.gateway.refusals["/api/v1/selftest/leaks"] = refusal
    answer = post(stage)
    assert answer.status_code == 409
    assert "sluice selftest leaks" in lines(answer)[0]["html"]


@pytest.mark.parametrize("end", [[], [("error", problem_of("selftest-failed", 500, "it broke"))], [("report", {})]])
def test_a_self_test_without_a_report_is_no_good_news(stage: Stage, end: list[Any]) -> None:
    stage.gateway.selftest = [PROGRESS, *end]
    last = lines(post(stage))[-1]
    assert last["status"] == "Broken off."
    assert 'role="alert"' in last["html"]


async def test_who_leaves_ends_it_at_the_gateway(stage: Stage) -> None:
    stage.gateway.hold = threading.Event()
    with (
        httpx2.Client(base_url=stage.url, trust_env=False) as client,
        client.stream("POST", "/operator/leaks", data={"token": OPERATOR_TOKEN}) as answer,
    ):
        for line in answer.iter_lines():
            if "1/1" in line:
                break
    await until(lambda: stage.gateway.left == 1, what="the end at the gateway")
    stage.gateway.hold.set()


@pytest.mark.parametrize("headers", [{"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_cannot_ask_for_it(stage: Stage, headers: dict[str, str]) -> None:
    address = f"{stage.url}/operator/leaks"
    answer = httpx2.post(address, data={"token": OPERATOR_TOKEN}, headers=headers, trust_env=False)
    assert (answer.status_code, stage.gateway.operator_headers) == (403, [])


def test_the_page_has_the_policy_and_no_script_of_its_own(stage: Stage) -> None:
    page = httpx2.get(f"{stage.url}/operator", trust_env=False)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("script-src")[1].split(";")[0]
    assert "<script>" not in page.text
    assert "https://" not in page.text
