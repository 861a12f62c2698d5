"""Faults of the running system, and how long it is until it serves again."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import redis

from tests.chaos.ledger import Ledger, Request
from tests.chaos.report import Figures
from tests.support.ports import free_port
from tests.support.system import System
from tests.support.waiting import until, wait_for

Probe = Callable[[], Awaitable[Request]]


def pid_of(system: System, program: str) -> int:
    return int(json.loads((system.state / "run" / "pids" / f"{program}.json").read_text())["pid"])


async def kill(system: System, program: str) -> None:
    """kill -9; returns when the supervisor has started it again and it is ready."""
    pid = pid_of(system, program)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(system, program) != pid, seconds=60, what=f"{program} again")
    await until(lambda: ready(system, program), seconds=90, what=f"{program} ready")


async def ready(system: System, program: str) -> bool:
    port = system.environment[f"SLUICE_{program.upper().replace('-', '_')}_PORT"]
    if program == "valkey":
        return bool(broker_of(system).ping())
    path = "api/v2/heartbeat" if program.startswith("chroma") else "readyz"
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as http:
        return (await http.get(f"http://127.0.0.1:{port}/{path}")).status_code == 200


def broker_of(system: System) -> redis.Redis:
    return redis.Redis.from_url(system.redis_url, socket_timeout=5)


async def strike(figures: Figures, fault: Callable[[], Awaitable[None]], probe: Probe) -> None:
    """One fault, and what is asked for right after it: when that has ended well, the system has recovered."""
    began = time.monotonic()
    figures.faults += 1
    striking = asyncio.ensure_future(fault())
    request = await probe()
    if request.ends == ["done"] and request.ended is not None:
        figures.recoveries.append(request.ended - began)
    await striking


async def strike_during(
    ledger: Ledger, events: int, strikes: list[Callable[[], Awaitable[None]]], load: Awaitable[None]
) -> None:
    """Runs the load, and each strike after a random count of the `events` that the clients are expected to be told."""
    loading = asyncio.ensure_future(load)
    span = events // max(1, len(strikes))
    try:
        for number, next_strike in enumerate(strikes):
            at = ledger.moments + 1 if number else span // 4
            at = max(at, number * span + random.randrange(max(1, span)))
            await until(lambda at=at: ledger.moments >= at or loading.done(), seconds=600, what=f"event {at}")
            await next_strike()
        await loading
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


@contextmanager
def second_gateway(system: System) -> Iterator[str]:
    """Another gateway on the same state; its address."""
    port = str(free_port())
    environment = _environment_of(pid_of(system, "gateway")) | {"SLUICE_PORT": port, "SLUICE_GATEWAY_PORT": port}
    with (system.folder / "second-gateway.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(url), "the second gateway", seconds=60)
        yield url
    finally:
        process.terminate()
        process.wait(40)


def _environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False
