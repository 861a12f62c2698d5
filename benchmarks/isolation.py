"""What it costs and gains to keep EXTERNAL rows on a server of their own, beside one collection with a filter alone.

Recall against looking at every row, and the time of an answer, for askers of each clearance who all ask at once.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import figure, finish, percentile, summary
from benchmarks.indexes import Contender, OneCollection, ServerALevel, WithoutClause, answering
from benchmarks.made_up import Corpus, make
from sluice.access import Level

DIMENSIONS = 384
SHARE = 0.01
LIMIT = 10
SEED = 20261122


@dataclass
class Tally:
    """Of one contender and the askers of one clearance."""

    milliseconds: list[float] = field(default_factory=list[float])
    recalls: list[float] = field(default_factory=list[float])
    rates: list[float] = field(default_factory=list[float])
    outside: int = 0
    """Rows that the asker may not see."""

    def told(self) -> dict[str, Any]:
        ordered = sorted(self.milliseconds)
        return {
            "recall_at_10": figure(sum(self.recalls) / len(self.recalls)),
            "p50_ms": figure(percentile(ordered, 0.5)),
            "p95_ms": figure(percentile(ordered, 0.95)),
            "questions_per_s": summary(self.rates),
            "outside": self.outside,
        }


async def ask_all(contender: Contender, corpus: Corpus, clearance: Level, askers: int, tally: Tally) -> None:
    """Every question once, by so many askers, each of whom waits for an answer before the next question."""
    questions = list(enumerate(corpus.questions.tolist()))
    waiting, found = iter(questions), dict[int, list[int]]()

    async def asker() -> None:
        for number, vector in waiting:
            begun = time.perf_counter()
            found[number] = await contender.ask(vector, clearance, LIMIT)
            tally.milliseconds.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*[asker() for _ in range(askers)])
    tally.rates.append(len(questions) / (time.perf_counter() - begun))
    for number, nearest in enumerate(corpus.nearest(clearance, LIMIT)):
        tally.recalls.append(len(nearest & set(found[number])) / len(nearest))
        tally.outside += sum(corpus.level(row) not in clearance.readable for row in found[number])


async def measure(contenders: list[Contender], corpus: Corpus, rounds: int, askers: int) -> dict[str, Any]:
    for contender in contenders:
        begun = time.perf_counter()
        await contender.fill(corpus)
        print(f"filled {contender.name:<15} in {time.perf_counter() - begun:.0f} s", flush=True)
        await answering(contender, corpus.questions[0].tolist())
    tallies = {contender.name: {level: Tally() for level in Level} for contender in contenders}
    for number in range(rounds + 1):  # the first is for warming up
        for contender, clearance in _turns(contenders, number):
            tally = tallies[contender.name][clearance] if number else Tally()
            await ask_all(contender, corpus, clearance, askers, tally)
            if not number:
                contender.left_out = 0
            else:
                print(f"round {number} {contender.name:<15} {clearance:<9} {tally.rates[-1]:7.0f}/s", flush=True)
    return {
        contender.name: {
            **{f"{level.lower()}_askers": tally.told() for level, tally in tallies[contender.name].items()},
            "left_out": contender.left_out,
            "server_mb": figure(contender.megabytes()),
        }
        for contender in contenders
    }


def _turns(contenders: list[Contender], number: int) -> Iterator[tuple[Contender, Level]]:
    """Whoever was first in one round is last in the next."""
    ordered = contenders if number % 2 else contenders[::-1]
    return ((contender, clearance) for clearance in Level for contender in ordered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--askers", type=int, default=8)
    asked = parser.parse_args()
    corpus = make(asked.rows, DIMENSIONS, SHARE, asked.questions, SEED)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        apart = ServerALevel(Path(folder), stack)
        contenders: list[Contender] = [apart, WithoutClause(apart), OneCollection(Path(folder), stack)]
        figures = asyncio.run(measure(contenders, corpus, asked.rounds, asked.askers))
    for name, each in figures.items():
        for askers in ("external_askers", "internal_askers"):
            told = each[askers]
            print(
                f"{name:<15} {askers:<16} recall@10 {told['recall_at_10']:.3f}  p50 {told['p50_ms']:.1f} ms"
                f"  p95 {told['p95_ms']:.1f} ms  {told['questions_per_s']['median']:.0f}/s  outside {told['outside']}"
            )
        print(f"{name:<15} {each['server_mb']:.0f} MB of servers, {each['left_out']} answers without a level")
    sizes = {"rows": asked.rows, "external": len(corpus.external), "dimensions": DIMENSIONS, "askers": asked.askers}
    finish("isolation", {**sizes, "limit": LIMIT, "contenders": figures})


if __name__ == "__main__":
    main()
