"""The commands as a person types them, against a gateway in memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli_gateway import OPERATOR_TOKEN, GatewayInMemory, served
from tests.support.ports import free_port

SLUICE = Path(sys.executable).with_name("sluice")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state" / "keys").mkdir(parents=True)
    (tmp_path / "state" / "keys" / "operator.token").write_text(OPERATOR_TOKEN)
    return tmp_path / "state"


def sluice(state: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLUICE_STATE_DIR": str(state), "SLUICE_GATEWAY_URL": url}
    return subprocess.run(
        [SLUICE, *words], check=False, env=environment, cwd=state, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory()


@pytest.fixture
def run(gateway: GatewayInMemory, state: Path) -> Iterator[Run]:
    with served(gateway) as url:
        yield lambda *words: sluice(state, url, *words)


def test_a_tenant_is_made_and_listed(run: Run, gateway: GatewayInMemory) -> None:
    made = run(
        "tenant", "add", "acme", "--name", "Acme", "--internal-domain", "acme.com", "--internal-domain", "acme.in"
    )
    assert made.returncode == 0, made.stderr
    assert gateway.tenants["acme"]["internal_domains"] == ["acme.com", "acme.in"]
    listed = run("tenant", "list")
    assert "acme.com, acme.in" in listed.stdout


def test_a_refusal_is_shown_as_its_detail(run: Run) -> None:
    run("tenant", "add", "acme")
    again = run("tenant", "add", "acme")
    assert again.returncode == 1
    assert again.stderr.strip() == "sluice: the tenant acme exists"


def test_a_person_is_added_and_their_one_time_password_shown(run: Run, gateway: GatewayInMemory) -> None:
    run("tenant", "add", "acme")
    added = run("person", "add", "zoe@acme.com", "--tenant", "acme", "--rights", "read, upload")
    assert added.returncode == 0, added.stderr
    assert gateway.people["zoe@acme.com"]["rights"] == ["read", "upload"]
    assert "one-time password, shown this once: one-time" in added.stdout


def test_an_unknown_right_is_refused_before_anything_is_asked(run: Run, gateway: GatewayInMemory) -> None:
    refused = run("person", "add", "zoe@acme.com", "--tenant", "acme", "--rights", "read,fly")
    assert refused.returncode == 1
    assert "no such right: fly" in refused.stderr


def test_without_a_gateway_the_commands_say_make_up_first(state: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    silent = sluice(state, url, "tenant", "list")
    assert silent.returncode == 1
    assert silent.stderr.strip() == f"sluice: no gateway answers at {url}: run `make up` first"


def test_without_an_operator_token_the_commands_say_make_up_first(tmp_path: Path) -> None:
    unset = sluice(tmp_path, "http://127.0.0.1:1", "tenant", "list")
    assert unset.returncode == 1
    assert "run `make up` first" in unset.stderr


def verdict(finished: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(finished.stdout.strip().splitlines()[-1])


def test_the_demo_shows_both_answers_and_ends_with_its_verdict(run: Run, gateway: GatewayInMemory) -> None:
    finished = run("demo")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    last = verdict(finished)
    assert last["documents"] == len(gateway.documents) == 9
    assert last["formats"] == ["csv", "docx", "html", "md", "pdf", "txt"]
    assert (last["internal_cited"], last["external_cited"], last["external_saw_internal"]) == (5, 4, 0)
    assert "the Bluefin answer" in finished.stdout
    assert "the public answer" in finished.stdout
    assert "thrown away" not in finished.stdout
    assert {document["level"] for document in gateway.documents.values()} == {"INTERNAL", "EXTERNAL"}


def test_a_follow_up_is_asked_in_the_conversation_before(run: Run, gateway: GatewayInMemory) -> None:
    run("demo")
    assert [body.get("conversation_id") for body in gateway.asked if body["question"].startswith("And ")] == ["c", "c"]


def test_the_demo_works_twice(run: Run, state: Path) -> None:
    first, second = run("demo"), run("demo")
    assert second.returncode == 0, second.stdout + second.stderr
    assert verdict(second)["documents"] == verdict(first)["documents"]
    assert (state / "run" / "demo.json").stat().st_mode & 0o777 == 0o600


def test_a_demo_that_broke_off_before_the_first_login_goes_on(run: Run, gateway: GatewayInMemory, state: Path) -> None:
    """The people are there, and their one-time passwords were kept but not used."""
    run("demo")
    kept = json.loads((state / "run" / "demo.json").read_text())
    kept["one_time_passwords"] = dict.fromkeys(gateway.people, "one-time")
    (state / "run" / "demo.json").write_text(json.dumps(kept))
    for person in gateway.people.values():
        person |= {"password": "one-time", "changed": False}
    assert run("demo").returncode == 0


def test_a_demo_whose_passwords_are_gone_says_so(run: Run, state: Path) -> None:
    run("demo")
    (state / "run" / "demo.json").unlink()
    lost = run("demo")
    assert lost.returncode == 1
    assert "asha@razorpay.com has a password that an earlier demo did not keep" in lost.stderr


@pytest.mark.parametrize(
    ("gateway", "complaint"),
    [
        (GatewayInMemory(leaks="source"), "EXTERNAL answers show something INTERNAL"),
        (GatewayInMemory(leaks="words"), "EXTERNAL answers show something INTERNAL"),
        (GatewayInMemory(uncited=True), "answers name a source"),
        (GatewayInMemory(fails="faq.html"), "1 of 9 documents did not become ready"),
    ],
    ids=["an INTERNAL source", "INTERNAL words", "no citations", "a failed document"],
)
def test_the_demo_fails_when_the_system_is_not_as_it_must_be(run: Run, complaint: str) -> None:
    finished = run("demo")
    assert finished.returncode == 1
    assert complaint in finished.stderr
    verdict(finished)
