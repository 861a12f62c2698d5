"""Makes a follow-up stand alone by rule, for when no model does it.

"and for credit cards?" after "How long do refunds take for debit cards?" becomes
"How long do refunds take for credit cards?".
"""

import re
from collections.abc import Sequence
from itertools import takewhile

from llm_router.terms import stem, terms, words
from sluice.messages import Turn

_TURNS = 6
_LONGEST_STATEMENT = 300
_LEAD = re.compile(r"^(?:(?:and|or|but|ok|okay|so|then|also)\b[,\s]*)+", re.IGNORECASE)
_WHAT_ABOUT = re.compile(r"^(?:what|how) about\s+", re.IGNORECASE)
_WHY = re.compile(
    r"^(?:why|how come|for what reason|what for)(?: is (?:that|this|it)| so| not|"
    r" (?:does|is|do|are) (?:it|that|this|they) take (?:so|that|this) long| though| exactly)?\W*$",
    re.IGNORECASE,
)
_PREPOSITION_WORDS = """
    for with without in on at by to from of about via through using under over within after before during between
"""
_PREPOSITIONS = tuple(_PREPOSITION_WORDS.split())
_OPENING_WORDS = """
    who whom whose what which when where why how is are am was were do does did can could may might will would should
    shall must has have had please tell explain show give list describe
"""
_OPENINGS = frozenset(_OPENING_WORDS.split())
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|the same|the (?:former|latter)|there)\b|"
    r"\b(?:that|this|these|those)\b(?=\W*$| (?:is|are|was|were|work|works|apply|applies|mean|cost|costs|happen|"
    r"take|takes|include|too|also|possible|allowed|case|one|ones)\b)",
    re.IGNORECASE,
)
_THERE_IS = re.compile(r"\b(?:is|are|was|were|will) there\b|\bthere (?:is|are|was|were)\b", re.IGNORECASE)
_IS_SOMETHING = re.compile(r"^((?:what|who|where|when|how much)(?: is| are|'s| was| were) )(.+)$", re.IGNORECASE)
_CITATION = re.compile(r"\s?\[\d{1,3}(?:,\s*\d{1,3})*\]")


def stand_alone(question: str, history: Sequence[Turn]) -> str:
    """The question with what it leaves out, taken from the last turns; each of them may be a follow-up itself."""
    earlier, statement = "", ""
    for turn in history[-_TURNS:]:
        if not (earlier and _asks_why(turn.question)):  # what follows a "why?" still speaks of what came before it
            earlier = _resolved(turn.question, earlier, statement)
        statement = _statement(turn.answer)
    return _resolved(question, earlier, statement)


def _asks_why(question: str) -> bool:
    return _WHY.match(_LEAD.sub("", question.strip())) is not None


def _resolved(question: str, earlier: str, statement: str) -> str:
    question = question.strip()
    rest = _LEAD.sub("", question).strip()
    if not earlier:
        return question
    if _asks_why(question):
        return f"Why: {earlier} {statement}".strip()
    about = _WHAT_ABOUT.sub("", rest)
    if about != rest or _is_fragment(about, earlier, led=rest != question):
        return _exchanged(about.rstrip(" ?.!"), earlier)
    if rest != question or _points_back(question) or not terms(question):
        return f"{question} {earlier}"
    return question


def _is_fragment(text: str, earlier: str, *, led: bool) -> bool:
    """Whether it is no sentence but a part to put in the place of another: "for credit cards?", "credit cards?"."""
    said = words(text)
    if not said or said[0] in _OPENINGS or len(said) > 8 or not terms(text):
        return False
    return (
        led or said[0] in _PREPOSITIONS or len(said) == 1 or (stem(said[-1]) in set(terms(earlier)) and len(said) <= 3)
    )


def _points_back(question: str) -> bool:
    """A pronoun whose noun cannot stand in the question itself: few words of meaning, or none before it."""
    found = _POINTS_BACK.search(_THERE_IS.sub("", question))
    return found is not None and (len(terms(question)) <= 3 or not terms(question[: found.start()]))


def _exchanged(part: str, earlier: str) -> str:
    """The earlier question with the part in the place of the one that it corresponds to."""
    earlier = earlier.rstrip(" ?.!")
    said = part.split(" ")
    if said[0].lower() in _PREPOSITIONS:
        begins = list(re.finditer(rf"\b{re.escape(said[0])}\b", earlier, re.IGNORECASE))
        return f"{earlier[: begins[-1].start()].rstrip() if begins else earlier} {part}?"
    if span := _same_kind(part, earlier):
        return f"{earlier[: span[0]]}{part}{earlier[span[1] :]}?"
    prepositions = list(re.finditer(rf"\b(?:{'|'.join(_PREPOSITIONS)}) ", earlier, re.IGNORECASE))
    if prepositions:
        return f"{earlier[: prepositions[-1].end()]}{part}?"
    if found := _IS_SOMETHING.match(earlier):
        return f"{found[1]}{part}?"
    return f"{earlier} {part}?"


def _same_kind(part: str, earlier: str) -> tuple[int, int] | None:
    """Where the earlier question names a thing of the same kind: "debit cards" for "credit cards"."""
    head = stem(words(part)[-1])
    found = list(re.finditer(r"[^\W_]+(?:['’-][^\W_]+)*", earlier))
    for index in range(len(found) - 1, -1, -1):
        if stem(found[index][0].lower()) == head:
            length = len(part.split()) - 1
            before = list(
                takewhile(lambda word: terms(word[0]) and word[0].lower() not in _PREPOSITIONS, found[:index][::-1])
            )
            start = found[index - min(length, len(before))].start()
            article = re.search(r"\b(?:the|an?) $", earlier[:start], re.IGNORECASE)
            has_one = re.match(r"(?:the|an?) ", part, re.IGNORECASE)
            return article.start() if article and has_one else start, found[index].end()
    return None


def _statement(answer: str) -> str:
    """What the answer said first, without its citations and its quotation marks."""
    lines = (re.sub(r"^[>\s*_-]+", "", line) for line in _CITATION.sub("", answer).splitlines())
    first = next((line for line in lines if terms(line) and not line.startswith("I don't know")), "")
    return re.split(r"(?<=[.!?])\s", first)[0][:_LONGEST_STATEMENT]
