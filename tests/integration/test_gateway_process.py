"""The gateway as a process of its own, as `python -m gateway`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import redis

from sluice.access import Level
from sluice.cli.keys import create_keys
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import until

_PASSWORD = "a first admin's password"


def _environment(folder: Path, port: int, redis_url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    return {
        **kept,
        "SLUICE_STATE_DIR": str(folder),
        "SLUICE_GATEWAY_PORT": str(port),
        "SLUICE_REDIS_URL": redis_url,
        "SLUICE_ADMIN_PASSWORD": _PASSWORD,
        **more,
    }


@contextmanager
def _running(environment: dict[str, str], output: Path) -> Generator[subprocess.Popen[bytes]]:
    with output.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_it_serves_logs_json_and_a_stop_sends_its_clients_away_without_cancelling_their_work(
    tmp_path: Path, empty_valkey: RedisServer
) -> None:
    folder, port, output = tmp_path / "state", free_port(), tmp_path / "output.log"
    (folder / "keys").mkdir(parents=True)
    create_keys(folder / "keys")
    url = f"http://127.0.0.1:{port}"
    environment = _environment(folder, port, empty_valkey.url, SLUICE_RESUME_GRACE_SECONDS="0.2")
    with _running(environment, output) as process:
        async with httpx2.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            await until(lambda: _ready(client), seconds=30, what="the gateway's readiness")
            login = {"email": "admin@razorpay.com", "password": _PASSWORD}
            token = (await client.post("/api/v1/auth/login", json=login)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            async with client.stream("POST", "/api/v1/chat", json={"question": "Is anybody there?"}) as answer:
                lines = answer.aiter_lines()
                accepted = ""
                while not accepted.startswith("data: "):
                    accepted = await anext(lines)
                process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx2.RemoteProtocolError):
                    await _end_of(lines)
        await until(lambda: process.poll() is not None, seconds=30, what="the process's end")
    request_id = json.loads(accepted.removeprefix("data: "))["request_id"]
    lane = Level.INTERNAL.lower()
    assert not redis.Redis(port=empty_valkey.port).exists(f"reply:{{{lane}:{request_id}}}:cancelled")
    entries = [json.loads(line) for line in output.read_text().splitlines()]
    assert {"service.started", "http.request", "service.stopped"} <= {entry["event"] for entry in entries}
    asked = next(entry for entry in entries if entry.get("route") == "/api/v1/chat")
    assert (asked["service"], asked["tenant"], asked["status"]) == ("gateway", "default", 200)
    assert asked["request_id"]
    for secret in ("anybody", _PASSWORD, token):
        assert secret not in output.read_text()


async def _end_of(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def _ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


def _refusal(environment: dict[str, str]) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "gateway"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    return process.stderr


def test_it_does_not_start_with_a_short_admin_password(tmp_path: Path) -> None:
    """case 21: the setting is named, its value is not."""
    refusal = _refusal(_environment(tmp_path, 8000, "redis://127.0.0.1:1/0", SLUICE_ADMIN_PASSWORD="hunter2"))
    assert "SLUICE_ADMIN_PASSWORD" in refusal
    assert "hunter2" not in refusal


def test_it_does_not_start_without_its_keys_and_says_what_makes_them(tmp_path: Path) -> None:
    refusal = _refusal(_environment(tmp_path, 8000, "redis://127.0.0.1:1/0"))
    assert str(tmp_path / "keys") in refusal
    assert "`sluice up` makes it" in refusal
