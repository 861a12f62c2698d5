"""A queue with worker processes of the tests' own: jobs in, results collected, workers killed and started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import redis.asyncio

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import QuestionAsked, QuestionGrounded
from sluice.settings import CommonSettings
from tests.chaos.report import Figures
from tests.chaos.worker import Notes
from tests.support.identity import Office
from tests.support.ports import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import until

STREAM = QuestionAsked.stream_of(Level.EXTERNAL)
DEAD = f"{{{STREAM}}}:dead"
Settings = dict[str, Any]


def settings(server: RedisServer, **changes: Any) -> CommonSettings:
    return CommonSettings(redis_url=server.url, port=0, **{"lease_seconds": 2, "shutdown_grace_seconds": 10, **changes})


class Workers:
    """Worker processes; what ends is started again, as a supervisor does, while `keep` is true."""

    def __init__(self, server: RedisServer, office: Office, folder: Path, **options: Any) -> None:
        self.notes = Notes(folder / "notes.db")
        self.keep = True
        self.processes: list[subprocess.Popen[bytes]] = []
        self._log = folder / "workers.log"
        self._options = {"seconds": 0.02, "concurrency": 4, **options}
        self._environment = {
            **os.environ,
            "SLUICE_REDIS_URL": server.url,
            "SLUICE_LEASE_SECONDS": "2",
            "SLUICE_SHUTDOWN_GRACE_SECONDS": "10",
            "CHAOS_PUBLIC_KEY": office.public_key.hex(),
            "CHAOS_KEYS": str(office.keys_folder),
            "CHAOS_NOTES": str(folder / "notes.db"),
            **{f"CHAOS_{name.upper()}": str(value) for name, value in self._options.items()},
        }

    def start(self, **changes: str) -> subprocess.Popen[bytes]:
        environment = {**self._environment, "SLUICE_PORT": str(free_port()), **changes}
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker"], env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self.processes if process.poll() is None]

    async def supervise(self, count: int) -> None:
        while self.keep:
            for _ in range(count - len(self.alive)):
                self.start()
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        self.keep = False
        for process in self.alive:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Queue:
    """The client's side: what it sent, and how often each result came."""

    def __init__(self, server: RedisServer, office: Office, client: Any) -> None:
        self.sent: dict[str, float] = {}
        self.results: Counter[str] = Counter()
        self.came: dict[str, float] = {}
        self.client = client
        self._office = office
        self._sender = Broker(settings(server), service="gateway", verifier=office.verifier, keyring=office.keyring)
        self._collector = Broker(
            settings(server), service="llm-router", verifier=office.verifier, keyring=office.keyring
        )
        self._collector.consume(QuestionGrounded, self._collect, lane=Level.EXTERNAL, concurrency=8, prefetch=8)

    async def start(self) -> None:
        await self._collector.start()

    async def stop(self) -> None:
        await self._collector.stop()
        await self._sender.stop()

    async def send(self, question: str = "How long?", kind: type[QuestionAsked] = QuestionAsked, **more: Any) -> str:
        message = self._office.message(kind, question=question, search_query=question, seconds=3600, **more)
        await self._sender.publish(message)
        self.sent[message.request_id] = time.monotonic()
        return message.request_id

    async def send_many(self, jobs: int, *, ahead: int = 60, **more: Any) -> None:
        """Sends so many jobs, never more than a few ahead of their results."""
        for _ in range(jobs):
            await until(lambda: len(self.sent) - len(self.results) < ahead, seconds=120, what="results")
            await self.send(**more)

    async def all_came(self, *, but: int = 0, seconds: float = 60) -> None:
        """Waits for all results; what has not come by then counts as unanswered."""
        with suppress(AssertionError):
            await until(lambda: len(self.results) >= len(self.sent) - but, seconds=seconds)

    async def recovered(self, figures: Figures) -> None:
        """Sends a job after a fault, and notes how long its result took."""
        job = await self.send()
        await until(lambda: job in self.came, seconds=60, what="a result after a fault")
        figures.recoveries.append(self.came[job] - self.sent[job])

    def count(self, figures: Figures, *, but: frozenset[str] = frozenset()) -> None:
        figures.requests += len(self.sent)
        figures.unanswered += len(set(self.sent) - set(self.results) - but)
        figures.duplicated += sum(times - 1 for times in self.results.values())

    async def _collect(self, message: QuestionGrounded, _: Delivery) -> None:
        self.results[message.request_id] += 1
        self.came.setdefault(message.request_id, time.monotonic())


@asynccontextmanager
async def queue(server: RedisServer, office: Office) -> AsyncIterator[Queue]:
    client = redis.asyncio.Redis.from_url(server.url)
    await client.flushall()
    made = Queue(server, office, client)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await client.aclose()


@asynccontextmanager
async def workers(
    server: RedisServer, office: Office, folder: Path, count: int, **options: Any
) -> AsyncIterator[Workers]:
    made = Workers(server, office, folder, **options)
    supervising = asyncio.create_task(made.supervise(count))
    try:
        yield made
    finally:
        made.keep = False
        await supervising
        await asyncio.to_thread(made.stop)
