"""Text from outside made inert: escaped, and without characters that steer a terminal or the reading direction."""

import re
from html import escape

# C0 and C1 controls but tab and newline, marks and overrides of direction, and what is invisible
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_WORD = re.compile(r"\w{3,}")
_ENDING = re.compile(r"(ings?|ed|es|s|e)$")
_COMMON = re.compile(
    "and|are|but|can|did|does|for|from|had|has|have|her|him|his|how|its|may|not|our|out|she|should|than|that|the|their|"
    "them|then|there|they|this|was|were|what|when|where|which|who|why|will|with|would|you|your"
)


def plain(text: str) -> str:
    """The text with a visible mark in place of each steering character."""
    return _STEERING.sub("\ufffd", text)


def inert(text: str) -> str:
    """The text, to be put between tags or into a quoted attribute."""
    return escape(plain(text))


def highlight(text: str, question: str) -> str:
    """The text, inert, with the words that it shares with the question in `<mark>`."""
    wanted = {_stem(word) for word in _WORD.findall(question)} - {""}
    pieces: list[str] = []
    end = 0
    for word in _WORD.finditer(text):
        if _stem(word.group()) in wanted:
            pieces += inert(text[end : word.start()]), f"<mark>{inert(word.group())}</mark>"
            end = word.end()
    return "".join([*pieces, inert(text[end:])]).replace("</mark> <mark>", " ")


def _stem(word: str) -> str:
    word = word.casefold()
    if _COMMON.fullmatch(word):
        return ""
    stem = _ENDING.sub("", word)
    return stem if len(stem) >= 3 else word


def badge(level: str) -> str:
    """An access level as a label."""
    return f'<span class="badge badge-{inert(level.lower())}">{inert(level)}</span>'


def alert(lines: list[str]) -> str:
    """An error that is read out: the first line says what happened."""
    rest = "".join(f"<li>{inert(line)}</li>" for line in lines[1:])
    return f'<div class="alert" role="alert"><p>{inert(lines[0])}</p>{f"<ul>{rest}</ul>" if rest else ""}</div>'
