"""A thousand open streams on one gateway: exact sequences, the delay of tokens, Redis connections.

Tokens are written by one process as sluice.replies.ReplyWriter does, read by another as server-sent events over HTTP.
Beside it, in the same run, a blocked XREAD for each stream, at a number of streams that it can bear.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import redis

from benchmarks.children import Child, connections_to, cpu_seconds, stop
from benchmarks.figures import figure, finish, summary
from benchmarks.sse_clients import post
from sluice.cli.keys import create_keys
from tests.support.ports import free_port
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

P95_GOAL_MS = 150
CONNECTIONS_GOAL = 30
_PASSWORD = "a first admin's password"


@dataclass(frozen=True)
class Measured:
    """A server of event streams that is measured."""

    name: str
    port: int
    pid: int
    token: str = ""

    def request(self) -> str:
        if self.name == "gateway":
            return post(self.port, "/api/v1/chat", self.token, {"question": "How long do refunds take?"})
        return post(self.port, "/events", "", {"request_id": uuid4().hex})


@asynccontextmanager
async def gateway(folder: Path, valkey: RedisServer) -> AsyncIterator[Measured]:
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment = {
        **kept,
        "SLUICE_STATE_DIR": str(folder),
        "SLUICE_GATEWAY_PORT": str(port),
        "SLUICE_REDIS_URL": valkey.url,
        "SLUICE_ADMIN_PASSWORD": _PASSWORD,
        "SLUICE_LOG_LEVEL": "WARNING",
        "SLUICE_QUESTION_DEADLINE_SECONDS": "600",
        "SLUICE_MAX_OPEN_QUESTIONS": "100000",
        "SLUICE_MAX_TENANT_QUESTIONS": "100000",
        "SLUICE_PERSON_REQUESTS_PER_MINUTE": "0",
        "SLUICE_TENANT_REQUESTS_PER_MINUTE": "0",
        "SLUICE_PERSON_QUESTIONS_PER_MINUTE": "0",
        "SLUICE_PERSON_QUESTIONS_PER_DAY": "0",
        "SLUICE_TENANT_QUESTIONS_PER_MINUTE": "0",
    }
    command = [sys.executable, "-m", "gateway"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: ASYNC220  # at its start
    try:
        await until(lambda: _ready(port), seconds=40, what="the gateway")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            answer = await client.post(
                "/api/v1/auth/login", json={"email": "admin@razorpay.com", "password": _PASSWORD}
            )
        yield Measured("gateway", port, process.pid, answer.json()["access_token"])
    finally:
        stop(process)


@asynccontextmanager
async def blocked_reads(state: Path, valkey: RedisServer) -> AsyncIterator[Measured]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.blocked_reads", valkey.url, str(port), str(state)]
    process = subprocess.Popen(command)  # noqa: ASYNC220
    try:
        await until(lambda: _ready(port), seconds=40, what="the baseline")
        yield Measured("blocked-xread", port, process.pid)
    finally:
        stop(process)


async def _ready(port: int) -> bool:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        return (await client.get("/readyz")).status_code == 200


@dataclass(frozen=True)
class Bench:
    valkey: RedisServer
    clients: Child
    writer: Child
    rate: float
    seconds: float

    async def round(self, server: Measured, streams: int) -> dict[str, float]:
        opening = time.monotonic()
        requests = [server.request() for _ in range(streams)]
        request_ids = await self.clients.ask("open", {"port": server.port, "requests": requests})
        opened = time.monotonic() - opening
        pids = self._pids(server)
        await self.writer.ask("write", {"request_ids": request_ids, "rate": self.rate, "seconds": self.seconds})
        before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        await asyncio.sleep(self.seconds / 2)
        connections = len(self._clients_of_valkey() & connections_to(server.pid, self.valkey.port))
        wrote = await self.writer.answer()
        took = time.monotonic() - began
        cpu = {f"cpu_{name}": (cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}
        expected = int(self.rate * self.seconds)
        got = await self.clients.ask("finish", {"expected": expected, "began": wrote.pop("began")})
        return {"streams": streams, "opened_s": opened, **got, "connections": connections, **cpu, **wrote}

    def _pids(self, server: Measured) -> dict[str, int]:
        assert self.valkey.process is not None
        children = {"writer": self.writer.process.pid, "clients": self.clients.process.pid}
        return {"server": server.pid, "valkey": self.valkey.process.pid, **children}

    def _clients_of_valkey(self) -> set[int]:
        """Ports from which Valkey sees itself connected."""
        clients: Any = redis.Redis(port=self.valkey.port).client_list()
        return {int(client["addr"].rpartition(":")[2]) for client in clients}


async def generator(writer: Child, clients: Child) -> dict[str, float]:
    """What the load generator's two halves can do without a gateway between them, in tokens a second."""
    written = await writer.ask("capacity", {"streams": 200, "tokens": 200})
    streams, tokens = 200, 200
    replay = await Child.start("benchmarks.replay", str(tokens))
    requests = [post(replay.ready, "/", "", {})] * streams
    await clients.ask("open", {"port": replay.ready, "requests": requests})
    began = time.monotonic()
    await replay.tell("begin")
    got = await clients.ask("finish", {"expected": tokens, "began": 0})
    took = time.monotonic() - began
    await replay.stop()
    assert got["exact"] == streams, "the clients count wrongly"
    return {"writer_tokens_per_s": figure(written), "clients_tokens_per_s": figure(streams * tokens / took)}


async def measure(
    folder: Path, asked: argparse.Namespace
) -> tuple[dict[str, float], dict[str, list[dict[str, float]]]]:
    rounds: dict[str, list[dict[str, float]]] = defaultdict(list)
    state = folder / "state"
    (state / "keys").mkdir(parents=True)
    create_keys(state / "keys")
    with running(valkey_server(folder / "valkey")) as valkey:
        clients = await Child.start("benchmarks.sse_clients")
        writer = await Child.start("benchmarks.token_writer", valkey.url, str(state))
        bench = Bench(valkey, clients, writer, asked.rate, asked.seconds)
        alone = await generator(writer, clients)
        print("load generator alone", alone, flush=True)
        async with gateway(state, valkey) as ours, blocked_reads(state, valkey) as baseline:
            await bench.round(ours, 10)
            for _ in range(asked.rounds):
                for name, server, streams in (
                    ("gateway", ours, asked.streams),
                    ("gateway_at_the_baselines_number", ours, asked.baseline_streams),
                    ("blocked_xread", baseline, asked.baseline_streams),
                ):
                    one = await bench.round(server, streams)
                    rounds[name].append(one)
                    print(name, {key: figure(value) for key, value in one.items()}, flush=True)
            for child in (clients, writer):
                await child.stop()
    return alone, rounds


def told(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {key: summary([one[key] for one in rounds]) for key in rounds[0]} | {
        "all_exact": all(one["exact"] == one["streams"] for one in rounds)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--baseline-streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=10, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        alone, rounds = asyncio.run(measure(Path(folder), asked))
    figures = {name: told(each) for name, each in rounds.items()}
    ours = figures["gateway"]
    goals = {
        "all_exact": ours["all_exact"],
        "p95_under_150_ms": ours["p95_ms"]["median"] < P95_GOAL_MS,
        "connections_under_30": ours["connections"]["greatest"] < CONNECTIONS_GOAL,
    }
    finish("streams", {**figures, "load_generator_alone": alone, "goals": goals, "met": all(goals.values())})


if __name__ == "__main__":
    main()
