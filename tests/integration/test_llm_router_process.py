"""The llm-router as a process of its own, with the loopback provider as another."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import AnswerCompleted, Passage, QuestionGrounded
from sluice.replies import Event
from sluice.sealing import KeyFile
from sluice.settings import CommonSettings
from tests.providers import GOOD, RemoteScript, says
from tests.support.identity import Office
from tests.support.keys import EveryTenant
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import until

Outside = tuple[Broker, dict[str, AnswerCompleted]]
PRO = "gemini-2.5-pro"
_KEY = os.urandom(32)
QUESTION = "How long do refunds take?"
PASSAGE = Passage(
    chunk_id="c", document_id="d", title="Refunds", access_level=Level.EXTERNAL, text="Refunds take 5 days.", score=0.7
)


@contextmanager
def process(module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env={"PATH": os.environ["PATH"], **environment}
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def ready(port: int, path: str) -> bool:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code == 200


@pytest.fixture
async def providers() -> AsyncIterator[RemoteScript]:
    port = free_port()
    with process("tests.providers", "--port", str(port)), RemoteScript(f"http://127.0.0.1:{port}") as script:
        await until(lambda: ready(port, "/healthz"), seconds=50, what="the loopback provider")
        yield script


@pytest.fixture
def environment(tmp_path: Path, valkey: RedisServer, office: Office, providers: RemoteScript) -> dict[str, str]:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "passport.pub").write_bytes(office.public_key)
    (tmp_path / "external.key").write_bytes(_KEY)
    return {
        "SLUICE_LANE": "EXTERNAL",
        "SLUICE_STATE_DIR": str(tmp_path),
        "SLUICE_EXTERNAL_KEY_FILE": str(tmp_path / "external.key"),
        "SLUICE_REDIS_URL": valkey.url,
        "SLUICE_LEASE_SECONDS": "1",
        "GEMINI_API_KEY": "g",
        "SLUICE_GEMINI_BASE_URL": providers.base_url,
        "AZURE_OPENAI_API_KEY": "a",
        "AZURE_OPENAI_ENDPOINT": providers.base_url,
    }


@contextmanager
def router(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with process("llm_router", SLUICE_PORT=str(port), **environment) as child:
        yield child, port


@pytest.fixture
async def outside(tmp_path: Path, valkey: RedisServer, office: Office) -> AsyncIterator[Outside]:
    broker = Broker(
        CommonSettings(redis_url=SecretStr(valkey.url), port=0),
        service="outside",
        verifier=office.verifier,
        keyring=EveryTenant({Level.EXTERNAL: [KeyFile(_KEY)]}, tmp_path / "data" / "keys"),
    )
    await broker.redis.flushall()
    completed: dict[str, AnswerCompleted] = {}

    async def on_completed(message: AnswerCompleted, _: Delivery) -> None:
        completed[message.request_id] = message

    broker.consume(AnswerCompleted, on_completed)
    await broker.start()
    yield broker, completed
    await broker.stop()


def question(office: Office) -> QuestionGrounded:
    return office.message(QuestionGrounded, question=QUESTION, search_query=QUESTION, passages=(PASSAGE,))


async def test_a_router_that_dies_in_the_middle_is_taken_over_and_what_it_had_shown_is_void(
    environment: dict[str, str],
    providers: RemoteScript,
    outside: tuple[Broker, dict[str, AnswerCompleted]],
    office: Office,
) -> None:
    broker, completed = outside
    providers.behave(PRO, says("Half an answer", after=1, then="stall"), GOOD)
    message = question(office)
    with router(environment) as (first, port):
        await until(lambda: ready(port, "/readyz"), seconds=50, what="the first router")
        await broker.publish(message)
        async for event in broker.replies.read(message.tenant, Level.EXTERNAL, message.request_id):
            if event.name == "token":
                break
        first.send_signal(signal.SIGKILL)
        first.wait()
    with router(environment) as (_, port):
        await until(lambda: message.request_id in completed, seconds=30, what="the answer")
    await broker.replies.finish(message.tenant, Level.EXTERNAL, message.request_id, Event("done"))
    events = [event async for event in broker.replies.read(message.tenant, Level.EXTERNAL, message.request_id)]
    names = [event.name for event in events]
    restart = names.index("restart")
    assert names[: restart + 3] == ["sources", "stage", "token", "restart", "sources", "stage"]
    assert events[restart].data["reason"] == "redelivered"
    tokens = [event.data for event in events[restart:] if event.name == "token"]
    assert {token["attempt"] for token in tokens} == {events[restart].data["attempt"]}
    assert events[2].data["attempt"] < events[restart].data["attempt"]
    assert "".join(token["text"] for token in tokens) == completed[message.request_id].text
    assert completed[message.request_id].text == "The documents say: Refunds take 5 days. [1]"


async def test_a_stop_signal_lets_a_started_answer_end(
    environment: dict[str, str],
    providers: RemoteScript,
    outside: tuple[Broker, dict[str, AnswerCompleted]],
    office: Office,
) -> None:
    broker, completed = outside
    providers.behave(PRO, says(*(f"word{n} " for n in range(10)), between=0.1))
    message = question(office)
    with router(environment) as (child, port):
        await until(lambda: ready(port, "/readyz"), seconds=50, what="the router")
        await broker.publish(message)
        await until(lambda: providers.calls_of(PRO), seconds=30, what="the request to the provider")
        child.send_signal(signal.SIGTERM)
        answer = await until(lambda: completed.get(message.request_id), seconds=30, what="the answer")
        assert await until(lambda: child.poll() is not None, seconds=30, what="the router's end")
    assert answer.text.split() == [f"word{n}" for n in range(10)]
    assert len(providers.calls_of(PRO)) == 1


def test_a_wrong_setting_ends_the_process_with_a_line_that_names_it(environment: dict[str, str]) -> None:
    given = {"PATH": os.environ["PATH"], **environment, "AZURE_OPENAI_ENDPOINT": ""}
    command = [sys.executable, "-m", "llm_router"]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "AZURE_OPENAI_ENDPOINT" in ended.stderr
    assert "Traceback" not in ended.stderr
