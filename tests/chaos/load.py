"""Documents and questions that a crowd of clients sends, and the reckoning afterwards."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from tests.chaos.client import CHAT, DOCUMENTS, Client
from tests.chaos.ledger import Ledger
from tests.chaos.report import Figures
from tests.chaos.stored import Stored
from tests.providers import RemoteScript, says
from tests.support.system import RIGHTS, System

# fmt: off
WORDS = (
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "glacier",
    "harbour", "island", "juniper", "kelp", "lagoon", "meadow", "nectar",
)
# fmt: on
ANSWER = tuple(f"{word} " for word in WORDS * 3)
EVENTS_A_DOCUMENT = 3
EVENTS_A_CHAT = 12


def document(number: int) -> str:
    """A text of its own for each number, always the same: one to six paragraphs, about a chunk each."""
    made = random.Random(number)
    return "\n\n".join(
        f"Document {number}, part {part}. " + " ".join(made.choice(WORDS) for _ in range(120)) + "."
        for part in range(1 + number % 6)
    )


def slow_answers(models: RemoteScript, *, between: float = 0.02) -> None:
    """Every model streams the same long answer, a word after the other."""
    models.reset()
    for model in ("gemini-2.5-pro", "gemini-2.5-flash", "gpt-4o"):
        models.behave(model, says(*ANSWER, between=between))


async def crowd(jobs: Iterable[Callable[[], Awaitable[Any]]], size: int) -> None:
    """Does all of them, `size` at a time."""
    waiting = iter(list(jobs))

    async def one() -> None:
        for job in waiting:
            await job()

    await asyncio.gather(*(one() for _ in range(size)))


@dataclass
class Tenant:
    """Staff and a customer of a tenant, both with the right to upload, each with a client that keeps the ledger."""

    slug: str
    system: System
    ledger: Ledger
    internal: Client
    external: Client

    @classmethod
    def make(cls, system: System, *more_urls: str, patience: float = 120) -> Self:
        slug, ledger = system.tenant(), Ledger()

        def client(email: str) -> Client:
            token = system.person(slug, email, RIGHTS[:2]).http.headers["authorization"].removeprefix("Bearer ")
            return Client(token, [system.url, *more_urls], ledger, patience=patience)

        return cls(slug, system, ledger, client("asha@razorpay.com"), client("carl@example.com"))

    async def close(self) -> None:
        await self.internal.close()
        await self.external.close()

    def upload(self, number: int) -> Callable[[], Awaitable[Any]]:
        """Every other document is the customer's, and goes through the other lane."""
        client, level = (self.internal, "INTERNAL") if number % 2 else (self.external, "EXTERNAL")
        return lambda: client.upload(f"document-{number}.txt", document(number), level=level)

    def ask(self, number: int) -> Callable[[], Awaitable[Any]]:
        client = self.internal if number % 2 else self.external
        return lambda: client.ask(f"What is said in part {number} of the documents?")

    async def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """What stands in the index, by the documents' names."""
        listed = {item["id"]: item["name"] for item in await self.internal.items(DOCUMENTS)}
        chunks = await asyncio.to_thread(Stored(self.system, self.slug).chunks)
        return {listed.get(key, key): [row.content for row in rows] for key, rows in chunks.items()}

    async def reckon(self, figures: Figures, expected: dict[str, list[tuple[Any, ...]]] | None = None) -> list[str]:
        """Counts what the ledger and the stores tell; a line for each trouble, and then the ledger in the folder."""
        self.ledger.count(figures)
        troubles = self.ledger.troubles()
        if documents := self.ledger.of("document"):
            troubles += await self._reckon_documents(figures, {r.name for r in documents}, expected or {})
        for client in (self.internal, self.external):
            troubles += await self._reckon_chats(figures, client)
        if troubles:
            self.ledger.write(self.system.folder / f"{self.slug}.ledger.jsonl")
        return troubles

    async def _reckon_documents(
        self, figures: Figures, sent: set[str], expected: dict[str, list[tuple[Any, ...]]]
    ) -> list[str]:
        listed = Counter(item["name"] for item in await self.internal.items(DOCUMENTS))
        found = await self.contents()
        twice = [f"{name} is listed {n} times" for name, n in listed.items() if n > 1]
        twice += [f"{name} has chunks that stand twice" for name, rows in found.items() if _twice(rows)]
        twice += [f"chunks of {name}, which is not listed" for name in found if name not in listed]
        missing = [f"{name} is not listed" for name in sent if not listed[name]]
        missing += [
            f"{name} differs from its run without faults"
            for name in expected
            if name in sent and set(found.get(name, ())) != set(expected[name])
        ]
        missing += [f"{name} has no chunks" for name in sent if not found.get(name)]
        figures.duplicated += len(twice)
        figures.lost += len(missing)
        return twice + missing

    async def _reckon_chats(self, figures: Figures, client: Client) -> list[str]:
        """Each question was kept once, with the answer that its client was shown."""
        kept = [
            await client.get(f"{CHAT}/conversations/{c['id']}") for c in await client.items(f"{CHAT}/conversations")
        ]
        turns = [turn for conversation in kept for turn in conversation["turns"]]
        times, answers = Counter(turn["question"] for turn in turns), {turn["id"]: turn["answer"] for turn in turns}
        sent = Counter(r.name for r in self.ledger.of("chat"))
        twice = [f"{question!r} was kept {n} times" for question, n in times.items() if n > sent[question]]
        done = [r for r in self.ledger.of("chat") if r.ends == ["done"] and r.id in answers]
        wrong = [f"{r.name!r} showed {r.text!r}, kept is {answers[r.id]!r}" for r in done if r.text != answers[r.id]]
        figures.duplicated += len(twice)
        figures.lost += len(wrong)
        return twice + wrong


def _twice(rows: list[tuple[Any, ...]]) -> bool:
    return len({row[0] for row in rows}) < len(rows)
