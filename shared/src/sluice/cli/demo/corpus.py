"""The sample documents, the questions, and what tells an INTERNAL answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from sluice.access import Level


@dataclass(frozen=True)
class Sample:
    """A document that ships with Sluice."""

    name: str
    level: Level
    content: bytes

    @property
    def format(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Question:
    """A question, and who finds an answer in the documents; one that follows up belongs to the conversation before."""

    text: str
    answered_for: tuple[Level, ...] = (Level.EXTERNAL, Level.INTERNAL)
    follows_up: bool = False


QUESTIONS = (
    Question("What is the refund limit a support agent may approve?"),
    Question("Who do I call when payouts are down?"),
    Question("How long do refunds take for debit cards?"),
    Question("And for credit cards?", follows_up=True),
    Question("What is the highest salary of a support engineer at level L3?", answered_for=(Level.INTERNAL,)),
)

PLANTED = (
    "Bluefin",
    "Marigold",
    "Meera Nair",
    "4402",
    "4417",
    "25,000",
    "1,00,000",
    "1750000",
    "goodwill",
)
"""What only INTERNAL documents say: none of it may stand in an EXTERNAL person's answer or sources."""


def samples() -> list[Sample]:
    """All sample documents, INTERNAL and EXTERNAL."""
    return [sample for level in Level for sample in _of_level(level)]


def _of_level(level: Level) -> Iterator[Sample]:
    folder = files("sluice.cli.demo") / "documents" / level.lower()
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        yield Sample(file.name, level, file.read_bytes())
