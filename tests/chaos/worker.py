"""A worker of the tests' own: it notes what it began and ended in a file of SQLite, and sends each job's result on.

A question `poison` ends its process at once. Run as `python -m tests.chaos.worker`, set up by the environment.
"""

import asyncio
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sluice.access import Level, PassportVerifier
from sluice.broker import Broker, Delivery
from sluice.messages import QuestionAsked, QuestionGrounded
from sluice.service import create_worker_app, run
from sluice.settings import CommonSettings
from tests.support.identity import shared_keyring

POISON = "poison"
_TABLES = """
CREATE TABLE IF NOT EXISTS begun (job TEXT, worker INTEGER, attempt INTEGER, at REAL);
CREATE TABLE IF NOT EXISTS ended (job TEXT, worker INTEGER, at REAL);
"""


class NewerQuestionAsked(QuestionAsked):
    """The next release's: a field more, with a default."""

    urgency: str = "normal"


class Notes:
    """What all workers did; it survives them, and the broker."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")  # a killed process loses nothing by it
        self._database.executescript(_TABLES)

    def begin(self, job: str, attempt: int) -> None:
        self._database.execute("INSERT INTO begun VALUES (?, ?, ?, ?)", (job, os.getpid(), attempt, time.time()))

    def end(self, job: str) -> None:
        self._database.execute("INSERT INTO ended VALUES (?, ?, ?)", (job, os.getpid(), time.time()))

    def begun(self, worker: int | None = None) -> list[str]:
        return self._jobs("begun", worker)

    def ended(self, worker: int | None = None) -> list[str]:
        return self._jobs("ended", worker)

    def _jobs(self, table: str, worker: int | None) -> list[str]:
        rows = self._database.execute(f"SELECT job FROM {table} WHERE ? IS NULL OR worker = ?", (worker, worker))
        return [job for (job,) in rows]


def create() -> tuple[Any, CommonSettings]:
    settings = CommonSettings()  # pyright: ignore[reportCallIssue]
    verifier = PassportVerifier(bytes.fromhex(os.environ["CHAOS_PUBLIC_KEY"]))
    notes, seconds = Notes(Path(os.environ["CHAOS_NOTES"])), float(os.environ["CHAOS_SECONDS"])
    broker = Broker(
        settings, service="retriever", verifier=verifier, keyring=shared_keyring(Path(os.environ["CHAOS_KEYS"]))
    )

    async def on_question(message: QuestionAsked, delivery: Delivery) -> None:
        notes.begin(message.request_id, delivery.attempt)
        if message.question == POISON:
            os._exit(9)
        await asyncio.sleep(seconds)
        notes.end(message.request_id)
        query = message.search_query
        await broker.publish(message.follow(QuestionGrounded, question=message.question, search_query=query))

    kind = NewerQuestionAsked if os.environ.get("CHAOS_NEWER") else QuestionAsked
    concurrency = int(os.environ["CHAOS_CONCURRENCY"])
    broker.consume(kind, on_question, lane=Level.EXTERNAL, concurrency=concurrency, prefetch=concurrency)
    return create_worker_app(broker), settings


if __name__ == "__main__":
    run(create)
