"""What is planted, and who may be given it."""

import secrets
from dataclasses import dataclass, field

from sluice.access import Level

_SYLLABLES = 8


def _word() -> str:
    """One that no tokeniser, redaction or encoding changes."""
    return "".join(secrets.choice("bdfgklmnprstvz") + secrets.choice("aeiou") for _ in range(_SYLLABLES))


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Something of a tenant's at a level; with an `owner` it is that asker's alone."""

    tenant: str
    level: Level
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Canary(Holding):
    """A sentence with a word that nobody can guess: where the word is seen, the sentence was."""

    place: str
    topic: str
    word: str = field(default_factory=_word)

    @property
    def sentence(self) -> str:
        return f"The pass phrase of the {self.topic} is {self.word}."

    @property
    def question(self) -> str:
        return f"What is the pass phrase of the {self.topic}?"

    @property
    def name(self) -> str:
        return f"{self.level} {self.place} of {self.tenant}"


@dataclass(frozen=True, kw_only=True)
class Thing(Holding):
    """An id, by the name that it has in the paths of the API."""

    parameter: str
    id: str
