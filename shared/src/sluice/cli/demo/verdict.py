"""What the demo showed, in numbers, and whether it is as it must be."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from sluice.access import Level
from sluice.cli.demo.asking import Reply
from sluice.cli.demo.corpus import PLANTED, Question, Sample


@dataclass(frozen=True)
class Verdict:
    """The last line of the demo."""

    documents: int
    formats: list[str]
    internal_cited: int
    external_cited: int
    external_saw_internal: int
    first_token_ms: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    samples: Sequence[Sample], states: dict[str, str], internal: Sequence[Reply], external: Sequence[Reply]
) -> Verdict:
    done = [sample for sample in samples if states.get(sample.name) == "done"]
    times = [reply.first_token_ms for reply in (*internal, *external) if reply.first_token_ms is not None]
    return Verdict(
        documents=len(done),
        formats=sorted({sample.format for sample in done}),
        internal_cited=_cited(internal, Level.INTERNAL),
        external_cited=_cited(external, Level.EXTERNAL),
        external_saw_internal=sum(_saw_internal(reply) for reply in external),
        first_token_ms=round(median(times), 1) if times else None,
    )


def shortcomings(
    verdict: Verdict, samples: Sequence[Sample], questions: Sequence[Question], limit_ms: float
) -> list[str]:
    """What is not as it must be, in words."""
    found: list[str] = []
    if verdict.documents < len(samples):
        found.append(f"{len(samples) - verdict.documents} of {len(samples)} documents did not become ready")
    for level, cited in ((Level.INTERNAL, verdict.internal_cited), (Level.EXTERNAL, verdict.external_cited)):
        wanted = sum(level in question.answered_for for question in questions)
        if cited < wanted:
            found.append(f"{level}: {cited} of {wanted} answers name a source")
    if verdict.external_saw_internal:
        found.append(f"{verdict.external_saw_internal} EXTERNAL answers show something INTERNAL")
    if verdict.first_token_ms is None or verdict.first_token_ms > limit_ms:
        found.append(f"the first token came after {verdict.first_token_ms} ms, not within {limit_ms:g}")
    return found


def _cited(replies: Sequence[Reply], level: Level) -> int:
    return sum(bool(reply.cited) for reply in replies if level in reply.question.answered_for)


def _saw_internal(reply: Reply) -> bool:
    """By the sources' own level, and by words that only INTERNAL documents hold."""
    shown = [reply.text, *(f"{passage['title']} {passage['text']}" for passage in reply.passages)]
    return any(passage["access_level"] != Level.EXTERNAL for passage in reply.passages) or any(
        word.lower() in text.lower() for word in PLANTED for text in shown
    )
