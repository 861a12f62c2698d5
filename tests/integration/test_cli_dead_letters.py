"""`sluice dead` as an operator types it, against a real gateway."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from gateway.replay import AT_ONCE
from sluice.access import Level
from sluice.messages import DocumentProgress, DocumentReference, JobState, QuestionAsked
from sluice.workstream import Keys
from tests.support.gateway import OPERATOR_TOKEN, RunningGateway
from tests.support.identity import Office
from tests.support.servers import RedisServer

SLUICE = Path(sys.executable).with_name("sluice")
QUESTIONS = QuestionAsked.stream_of(Level.EXTERNAL)
PROGRESS = DocumentProgress.stream
Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def client(empty_valkey: RedisServer) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(empty_valkey.url)
    yield client
    await client.aclose()


@pytest.fixture
def run(gateway: RunningGateway, tmp_path: Path) -> Run:
    state = tmp_path / "operator"
    (state / "keys").mkdir(parents=True)
    (state / "keys" / "operator.token").write_text(OPERATOR_TOKEN)
    environment = {**os.environ, "SLUICE_STATE_DIR": str(state), "SLUICE_GATEWAY_URL": gateway.url, "COLUMNS": "250"}

    def call(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [SLUICE, "dead", *words]
        return subprocess.run(
            command, check=False, env=environment, cwd=state, capture_output=True, text=True, timeout=60
        )

    return lambda *words: asyncio.to_thread(call, words)


async def _question(client: Any, office: Office) -> str:
    message = office.message(QuestionAsked, question="secret?", search_query="secret?")
    return await _dead(client, QUESTIONS, office.body(message))


async def _progress(client: Any, office: Office) -> str:
    """Of a job that nobody knows: the gateway takes it, and nothing changes."""
    document = DocumentReference(document_id="d", generation=1, access_level=Level.EXTERNAL, title="secret")
    message = office.message(DocumentProgress, document=document, state=JobState.PARSING)
    return await _dead(client, PROGRESS, office.body(message))


async def _dead(client: Any, stream: str, body: str) -> str:
    fields = {"__data__": body, "id": "m", "attempts": 5, "error": "too-many-attempts", "detail": "no \x1b[31mindex"}
    return (await client.xadd(Keys(stream).dead, fields)).decode()


async def test_the_list_shows_what_died_and_why_and_nothing_that_steers_a_terminal(
    client: Any, office: Office, run: Run
) -> None:
    question, progress = await _question(client, office), await _progress(client, office)
    listed = await run("list")
    assert listed.returncode == 0, listed.stderr
    assert question in listed.stdout
    assert progress in listed.stdout
    assert "too-many-attempts" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "2 of 2 shown" in listed.stdout


async def test_the_list_of_a_stream_as_json_goes_on_over_many_pages(client: Any, run: Run) -> None:
    await _dead(client, QUESTIONS, "{}")
    for _ in range(103):
        await _dead(client, PROGRESS, "{}")
    listed = await run("list", "--json", "--limit", "102", "--stream", PROGRESS)
    answer = json.loads(listed.stdout)
    assert len({item["id"] for item in answer["items"]}) == 102
    assert {item["stream"] for item in answer["items"]} == {PROGRESS}
    assert answer["counts"] == {PROGRESS: 103, QUESTIONS: 1}


async def test_one_letter_is_shown_without_its_text(client: Any, office: Office, run: Run) -> None:
    letter = await _question(client, office)
    shown = await run("show", letter)
    assert shown.returncode == 0, shown.stderr
    assert f"stream: {QUESTIONS}" in shown.stdout
    assert "holder.subject: person-1" in shown.stdout
    assert "secret" not in shown.stdout
    unknown = await run("show", f"{QUESTIONS}/1-1", "--json")
    assert (unknown.returncode, unknown.stderr.strip()) == (1, f"sluice: there is no dead letter {QUESTIONS}/1-1")


async def test_an_id_that_two_streams_have_needs_its_stream(client: Any, run: Run) -> None:
    for stream in (QUESTIONS, PROGRESS):
        await client.xadd(Keys(stream).dead, {"__data__": "{}"}, id="1700000000000-0")
    unclear = await run("discard", "1700000000000-0")
    assert unclear.returncode == 1
    assert "give --stream" in unclear.stderr
    assert (await run("discard", "1700000000000-0", "--stream", QUESTIONS)).returncode == 0
    assert await client.xlen(Keys(QUESTIONS).dead) == 0
    assert await client.xlen(Keys(PROGRESS).dead) == 1


async def test_a_letter_is_replayed_and_what_is_refused_ends_with_the_reason(
    client: Any, office: Office, run: Run
) -> None:
    question, progress = await _question(client, office), await _progress(client, office)
    replayed = await run("replay", progress)
    assert (replayed.returncode, replayed.stdout.strip()) == (0, "replayed")
    assert await client.xlen(Keys(PROGRESS).dead) == 0
    refused = await run("replay", question)
    assert refused.returncode == 1
    assert "the asker was told that it failed" in refused.stderr


async def test_all_are_replayed_over_many_calls_and_refusals_end_with_1(client: Any, office: Office, run: Run) -> None:
    await _progress(client, office)
    for _ in range(AT_ONCE + 1):
        await client.xadd(Keys(QUESTIONS).dead, {"__data__": "{}"})
    replayed = await run("replay", "--all")
    assert replayed.returncode == 1
    assert f"1 replayed, {AT_ONCE + 1} refused" in replayed.stdout
    assert replayed.stdout.count("the asker was told") == AT_ONCE + 1


async def test_all_letters_of_a_stream_are_discarded(client: Any, office: Office, run: Run) -> None:
    await _question(client, office)
    await _progress(client, office)
    gone = await run("discard", "--all", "--stream", QUESTIONS)
    assert (gone.returncode, gone.stdout.strip()) == (0, "1 discarded")
    assert await client.xlen(Keys(PROGRESS).dead) == 1


async def test_one_letter_or_all_must_be_said(client: Any, office: Office, run: Run) -> None:
    letter = await _question(client, office)
    for words in [("replay",), ("discard", letter, "--all")]:
        unclear = await run(*words)
        assert unclear.returncode == 2
        assert "give either an ID or --all" in unclear.stderr
    assert await client.xlen(Keys(QUESTIONS).dead) == 1
