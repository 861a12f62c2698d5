"""`sluice ingest` as a person types it, against a real gateway and a real Valkey."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from sluice.messages import DocumentOffered
from tests.support.gateway import RunningGateway, Workers
from tests.support.indexing import Indexing, indexing
from tests.support.producer import KEYS, make_key
from tests.support.servers import running, valkey_server
from tests.support.waiting import until

SLUICE = Path(sys.executable).with_name("sluice")


@dataclass
class Command:
    gateway: RunningGateway
    folder: Path
    key: str
    state: Path

    async def start(self, *words: str, **changes: str) -> Process:
        environment = {
            **os.environ,
            "SLUICE_STATE_DIR": str(self.state),
            "SLUICE_GATEWAY_URL": self.gateway.url,
            "SLUICE_REDIS_URL": self.gateway.settings.redis_url.get_secret_value(),
            "SLUICE_API_KEY": self.key,
            **changes,
        }
        words = ("ingest", str(self.folder), "--access-level", "INTERNAL", *words)
        return await asyncio.create_subprocess_exec(
            SLUICE, *words, env=environment, cwd=self.state, stdout=PIPE, stderr=PIPE
        )

    async def __call__(self, *words: str, **changes: str) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        process = await self.start(*words, **changes)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    async def result(self, *words: str, **changes: str) -> dict[str, Any]:
        _, out, err = await self("--json", *words, **changes)
        assert out, err
        return json.loads(out.splitlines()[-1])


@pytest.fixture
async def command(gateway: RunningGateway, tmp_path: Path) -> Command:
    folder, state = tmp_path / "folder", tmp_path / "cli"
    (folder / "more").mkdir(parents=True)
    state.mkdir()
    for name in ("a.txt", "b.MD", "more/a.txt", "c.png", ".hidden.txt"):
        (folder / name).write_text(f"the text of {name}")
    (folder / "link.txt").symlink_to("/etc/hostname")
    async with await gateway.admin() as admin:
        key = (await make_key(admin))["key"]
    return Command(gateway, folder, key, state)


@pytest.fixture
async def workers_at_work(workers: Workers) -> AsyncGenerator[Indexing]:
    async with indexing(workers) as playing:
        yield playing


async def test_a_folder_is_offered_once_and_a_second_run_sends_nothing(
    command: Command, workers_at_work: Indexing
) -> None:
    status, out, err = await command()
    assert (status, err) == (0, "")
    assert "3 files: 3 done, 0 were done before, 0 failed; 1 of other kinds left out" in out
    assert sorted(workers_at_work.titles) == ["a.txt", "b.MD", "more › a.txt"]
    result = await command.result()
    assert (result["done"], result["already_done"], result["failed"]) == (0, 3, [])
    (command.folder / "a.txt").write_text("another text")
    result = await command.result("--no-recursive")
    assert (result["files"], result["done"], result["already_done"]) == (2, 1, 1)
    (command.folder / "a.txt").write_text("the text of a.txt")
    result = await command.result()
    assert (result["done"], result["already_done"]) == (1, 2), "the earlier text stands no more"
    assert len(workers_at_work.titles) == 5


async def test_what_fails_is_listed_with_its_reason_and_tried_again_by_the_next_run(
    command: Command, workers_at_work: Indexing
) -> None:
    workers_at_work.fails = lambda title: title == "b.MD"
    (command.folder / "empty.txt").touch()
    status, out, _ = await command()
    assert status == 1
    assert "failed: b.MD: no text\nfailed: empty.txt: is empty\n" in out
    workers_at_work.fails = lambda _: False
    (command.folder / "empty.txt").unlink()
    result = await command.result()
    assert (result["done"], result["already_done"], result["failed"]) == (1, 2, [])


async def test_a_run_that_is_stopped_goes_on_with_the_next(command: Command, workers_at_work: Indexing) -> None:
    workers_at_work.allowed.clear()
    process = await command.start("--outstanding", "2")
    async with command.gateway.client(command.key) as http:

        async def offered() -> bool:
            return len((await http.get("/api/v1/knowledge/offers")).json()["items"]) == 2

        await until(offered, seconds=30, what="two offers, and no third")
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert process.returncode == 130
    assert "Run this again" in out.decode()
    workers_at_work.allowed.set()
    result = await command.result()
    assert (result["done"] + result["already_done"], result["failed"]) == (3, [])
    assert sorted(workers_at_work.titles) == ["a.txt", "b.MD", "more › a.txt"]


async def test_a_file_too_large_for_an_offer_goes_over_http(command: Command, workers_at_work: Indexing) -> None:
    client = redis.asyncio.Redis.from_url(command.gateway.settings.redis_url.get_secret_value())
    for _ in range(2):
        result = await command.result("--largest-offer", "0")
        assert (result["done"] + result["already_done"], result["failed"]) == (3, [])
    assert (await client.xinfo_stream(DocumentOffered.stream))["entries-added"] == 0
    await client.aclose()
    assert len(workers_at_work.titles) == 3


async def test_a_broker_that_is_away_is_waited_for(command: Command, workers_at_work: Indexing, tmp_path: Path) -> None:
    """Away here means the producer's way to it: a port where nothing listens yet."""
    server = valkey_server(tmp_path / "late")
    process = await command.start(SLUICE_REDIS_URL=server.url)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    assert line == b"Redis does not answer; waiting\n"
    with running(server):
        client = redis.asyncio.Redis.from_url(server.url)
        await until(lambda: client.xlen(DocumentOffered.stream), seconds=40, what="the first offer")
        await client.config_set("maxmemory", 1)
        (command.folder / "z.txt").write_text("one more")
        second = await command.start(SLUICE_REDIS_URL=server.url)
        assert second.stdout is not None
        assert await asyncio.wait_for(second.stdout.readline(), 30) == b"Redis is out of memory; waiting\n"
        await client.config_set("maxmemory", 0)
        assert await asyncio.wait_for(second.stdout.readline(), 40) == b"going on\n"
        await client.aclose()
        for running_process in (process, second):
            running_process.kill()
            await running_process.wait()


async def test_a_key_that_may_not_do_it_is_refused_before_anything_is_sent(command: Command, workers: Workers) -> None:
    async with await command.gateway.admin() as admin:
        reader, external = await make_key(admin, "read"), await make_key(admin, clearance="EXTERNAL")
        await admin.delete(f"{KEYS}/{command.key.split('_')[1]}")
    cases = [
        ("", "set SLUICE_API_KEY to an API key"),
        (command.key, "not, or no longer, good"),
        (reader["key"], "has not the right upload"),
        (external["key"], "may not write INTERNAL documents"),
    ]
    answers = await asyncio.gather(*(command(SLUICE_API_KEY=key) for key, _ in cases))
    for (status, out, err), (_, reason) in zip(answers, cases, strict=True):
        assert (status, reason in err) == (1, True), err
        assert command.key not in out + err
    assert workers.idle()


async def test_without_any_news_a_run_ends_and_says_what_to_look_at(command: Command, tmp_path: Path) -> None:
    with running(valkey_server(tmp_path / "another")) as another:
        status, _, err = await command("--redis-url", another.url, "--give-up-after", "1")
    assert (status, "is --redis-url its broker?" in err) == (1, True)
