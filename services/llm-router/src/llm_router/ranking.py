"""Ranks the sentences of passages by what they share with a question."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llm_router.ports import Inquiry
from llm_router.sentences import Sentence, cut
from llm_router.terms import terms
from sluice.messages import Passage

_BACKGROUND_SENTENCES = 20
"""Counted beside those at hand, so that in a single short passage a rare word is not weighed out of proportion."""
_ADDED_WEIGHT = 0.5
_CONTEXT_WEIGHT = 0.6
_DURATION = (
    r"\b(?:\d+|one|two|three|several|few|an?) ?(?:\w+ )?(?:second|minute|hour|day|week|month|year)s?\b|\binstant"
)
_SHAPES = tuple(
    (re.compile(asked, re.IGNORECASE), re.compile(answered, re.IGNORECASE))
    for asked, answered in (
        (r"\bhow (?:long|soon|fast|quickly)\b", _DURATION),
        (r"\bhow (?:much|many)\b", r"\d|\bfree\b|\bno (?:charge|fee|limit)\b"),
    )
)
_LEANS = re.compile(
    r"(?:It|Its|This|That|They|Their|These|Those|He|She|Such|The reason|However|Otherwise|Then|Therefore|So|Because)\b"
)


@dataclass(frozen=True)
class Query:
    """What is looked for: the asker's own words, and with half the weight those added from the turns before."""

    text: str
    weights: Mapping[str, float]
    own: frozenset[str]

    @classmethod
    def of(cls, inquiry: Inquiry) -> "Query":
        own = frozenset(terms(inquiry.question))
        added = frozenset(terms(inquiry.search_query)) - own
        weights = dict.fromkeys(own, 1.0) | dict.fromkeys(added, _ADDED_WEIGHT)
        return cls(f"{inquiry.question} {inquiry.search_query}", weights, own or added)


@dataclass(frozen=True)
class Candidate:
    """A sentence of passage `n`, at its `place` there; `at_edge` tells the first and the last.

    `before` is the sentence that it leans on, `found` how much of each term it has (0 to 1), `share` the part of the
    asker's own words, weighed by rarity, that it has.
    """

    n: int
    place: int
    at_edge: bool
    sentence: Sentence
    before: Sentence | None
    found: Mapping[str, float]
    share: float
    score: float

    @property
    def text(self) -> str:
        """For comparing with other sentences."""
        return self.sentence.text.rstrip(".!").lower()

    @property
    def quotation(self) -> str:
        return f"{self.before.text} {self.sentence.quotation}" if self.before else self.sentence.quotation


class Ranking:
    """All sentences of the passages, the best first."""

    def __init__(self, query: Query, passages: Sequence[Passage]) -> None:
        self.query = query
        cuts = [cut(passage.text) for passage in passages]
        counts = Counter(term for sentences in cuts for s in sentences for term in set(terms(s.text)))
        self._shapes = [answered for asked, answered in _SHAPES if asked.search(query.text)]
        total = sum(map(len, cuts)) + _BACKGROUND_SENTENCES
        self._rarity = {t: math.log(1 + (total - counts[t] + 0.5) / (counts[t] + 0.5)) for t in query.weights}
        candidates = [
            self._candidate(n, place, sentences, passages[n - 1])
            for n, sentences in enumerate(cuts, start=1)
            for place in range(len(sentences))
        ]
        self.candidates = sorted(_without_copies(candidates), key=lambda candidate: -candidate.score)

    def share(self, found: Mapping[str, float], among: frozenset[str]) -> float:
        """The part of the terms `among` that was found, weighed by rarity: 0 to 1."""
        whole = sum(self._rarity[term] for term in among)
        return sum(self._rarity[term] * found.get(term, 0) for term in among) / whole if whole else 0.0

    def found_in(self, *texts: tuple[str, float]) -> dict[str, float]:
        """How much of each term of the query the texts have, each text with its weight."""
        found: dict[str, float] = {}
        for text, weight in texts:
            for term in set(terms(text)) & self.query.weights.keys():
                found[term] = max(found.get(term, 0), weight)
        return found

    def _candidate(self, n: int, place: int, sentences: Sequence[Sentence], passage: Passage) -> Candidate:
        sentence = sentences[place]
        before = sentences[place - 1] if place and _LEANS.match(sentence.text) else None
        under_weight = _CONTEXT_WEIGHT / (1 + 0.15 * sentence.distance)
        context = ((sentence.under, under_weight), (before.text if before else "", _CONTEXT_WEIGHT))
        found = self.found_in((sentence.text, 1.0), *context)
        matched = sum(self._rarity[term] * self.query.weights[term] * part for term, part in found.items())
        is_start = passage.offset > 0 and place == 0 and sentence.text[:1].islower()
        score = (
            matched * self._shape(sentence) / _length_norm(sentence) / (1 + 0.05 * (n - 1)) * (0.6 if is_start else 1)
        )
        return Candidate(
            n,
            place,
            place in (0, len(sentences) - 1),
            sentence,
            before,
            found,
            self.share(found, self.query.own),
            score,
        )

    def _shape(self, sentence: Sentence) -> float:
        """More for a sentence with a duration, an amount or a number, where the question asks for one."""
        return 1.2 if any(answered.search(sentence.quotation) for answered in self._shapes) else 1.0


def _length_norm(sentence: Sentence) -> float:
    return 0.8 + 0.2 * max(5, len(sentence.text.split())) / 18


def _without_copies(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Chunks overlap: what stands in two of them is kept once, and a sentence that a chunk's edge cut not at all."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.text, candidate)
    return [candidate for candidate in first.values() if not (candidate.at_edge and _is_cut(candidate, first.values()))]


def _is_cut(candidate: Candidate, others: Iterable[Candidate]) -> bool:
    return any(candidate.text in other.text and candidate.n != other.n for other in others)
