"""The answer without a model: the sentences of the passages that share most with the question, quoted and cited."""

import re
from collections.abc import Sequence

from llm_router.ports import Inquiry
from llm_router.ranking import Candidate, Query, Ranking

NO_MODEL = "Quoted from the documents; no language model wrote this answer."
UNKNOWN = (
    "I don't know: no passage that I found answers this.\n\n_Looked up in the documents without a language model._"
)
RESTORING = "Part of the knowledge is being restored: ask again in a few minutes."
_MOST_QUOTATIONS = 3
_LONGEST_QUOTATION = 700
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_NUMBER_IN_BRACKETS = re.compile(r"\[(\d[\d\s,;–-]*)\]")
_WHY = re.compile(
    r"\bwhy\b|\bhow come\b|\b(?:what|which) (?:is|was|are|were)? ?the reasons?\b|^what for\b", re.IGNORECASE
)
_REASON = re.compile(
    r"\b(?:because|since|so that|in order to|due to|owing to|as a result|reasons?|is why|therefore|caused? by|"
    r"thanks to|as (?:the|we|they|it)|to (?:avoid|prevent|ensure|protect|comply|make sure|allow|keep|guard|reduce))\b",
    re.IGNORECASE,
)


def quote(inquiry: Inquiry) -> str:
    """In Markdown: a fix as it was taught, else up to three quotations with their citations, or "I don't know"."""
    ranking = Ranking(Query.of(inquiry), inquiry.passages)
    chosen = _chosen(inquiry, ranking)
    if _fix_answers(inquiry, ranking, chosen):
        return f"{_quotable(inquiry.passages[0].text)} [1]\n\n_{NO_MODEL}_"
    if not chosen:
        return f"{UNKNOWN}\n\n_{RESTORING}_" if inquiry.restoring else UNKNOWN
    quotations = [f"> {_quotable(candidate.quotation)[:_LONGEST_QUOTATION]} [{candidate.n}]" for candidate in chosen]
    return "\n\n".join([*quotations, f"_{NO_MODEL}_"])


def _fix_answers(inquiry: Inquiry, ranking: Ranking, chosen: Sequence[Candidate]) -> bool:
    """A fix that was found first is the answer, unless a sentence elsewhere has clearly more of the asker's words."""
    if not inquiry.passages or not inquiry.passages[0].fix:
        return False
    fix = inquiry.passages[0]
    fix_share = ranking.share(ranking.found_in((f"{fix.title} {fix.text}", 1.0)), ranking.query.own)
    return max((candidate.share for candidate in chosen), default=0.0) <= fix_share + 0.15


def _chosen(inquiry: Inquiry, ranking: Ranking) -> list[Candidate]:
    """The best sentence, then those that answer what it leaves open, in the order of the passages."""
    fitting = [c for c in ranking.candidates if c.share >= _least_share(inquiry.passages[c.n - 1].score)]
    if _WHY.search(inquiry.question) or _WHY.match(inquiry.search_query):
        fitting = [c for c in fitting if _REASON.search(c.sentence.text)] or fitting
    chosen = fitting[:1]
    for candidate in ranking.candidates if chosen else ():
        if len(chosen) < _MOST_QUOTATIONS and _adds(candidate, chosen, ranking):
            chosen.append(candidate)
    return sorted(chosen, key=lambda candidate: (candidate.n != chosen[0].n, candidate.n, candidate.place))


def _least_share(similarity: float) -> float:
    """A passage that is near in meaning needs fewer of the asker's words: half of them, down to three in ten."""
    return 0.5 - 0.2 * min(1.0, max(0.0, (similarity - 0.3) / 0.3))


def _adds(candidate: Candidate, chosen: Sequence[Candidate], ranking: Ranking) -> bool:
    """Whether the sentence has a good part of the asker's words that none of the chosen ones has."""
    open_terms = frozenset(t for t in ranking.query.own if all(other.found.get(t, 0) < 0.5 for other in chosen))
    gain = ranking.share(candidate.found, ranking.query.own) - ranking.share(
        {term: part for term, part in candidate.found.items() if term not in open_terms}, ranking.query.own
    )
    return gain >= 0.2 and candidate.score >= 0.4 * chosen[0].score


def _quotable(text: str) -> str:
    """One line without links and images, in which a number in brackets cannot pass for a citation."""
    line = re.sub(r"\s+", " ", text).strip()
    return _NUMBER_IN_BRACKETS.sub(r"(\1)", _LINK.sub(r"\1", line))
