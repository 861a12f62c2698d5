"""Cuts a passage into what can be quoted: sentences, list items and table rows, each knowing what it stands under."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"#{1,6}\s+(.*?)#*\s*")
_ITEM = re.compile(r"(?:[-*•‣–]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+(.*)")
_TABLE_ROW = re.compile(r"\|(.+)\|\s*")
_TABLE_RULE = re.compile(r"[|:\s-]+")
_FIELD = re.compile(r"[^\s:.?!][^:.?!]{0,39}:\s+\S.*")
_ASKED = re.compile(r"(?:q|question)\s*[:.]\s*(.*)", re.IGNORECASE)
_ANSWERED = re.compile(r"(?:a|answer)\s*:\s*(.*)", re.IGNORECASE)
_END_OF_SENTENCE = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"”’')\]]))\s+(?=[\"“‘'(\[]?[^\W_a-z])|(?<=[。！？।])\s*")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|etc|vs|approx|incl|mr|mrs|ms|dr|st|no|nos|fig|sec|art|inc|ltd|(?-i:[A-Z]))\.$", re.I
)
_LONGEST_LIST = 600


@dataclass(frozen=True)
class Sentence:
    """Something to quote; `under` is the heading, question or lead-in above it, `distance` how many sentences above.

    `whole` is the sentence as it is to be quoted: a lead-in with its list, a list item with its lead-in.
    """

    text: str
    under: str = ""
    distance: int = 0
    whole: str = ""

    @property
    def quotation(self) -> str:
        return self.whole or self.text


def cut(text: str) -> list[Sentence]:
    """The sentences of a passage, in order."""
    found: list[Sentence] = []
    heading = ""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        for under, sentences in _parts([line.strip() for line in block.split("\n") if line.strip()]):
            if under is not None:
                heading = under
            distance = 0
            for sentence in sentences:
                if sentence.text.endswith("?"):
                    heading, distance = sentence.text, 0
                    continue
                found.append(sentence if sentence.under else Sentence(sentence.text, heading, distance, sentence.whole))
                distance += 1
    return found


_Part = tuple[str | None, list[Sentence]]
"""A new heading, or None to keep the one before, and the sentences under it."""


def _parts(lines: list[str]) -> Iterator[_Part]:
    """The parts of a block: tables, rows of fields, lists, and prose, whose lines are joined."""
    if len(lines) > 1 and all(_TABLE_ROW.fullmatch(line) for line in lines):
        yield None, _table(lines)
    elif len(lines) > 1 and all(_FIELD.fullmatch(line) for line in lines) and not _ASKED.fullmatch(lines[0]):
        yield None, [Sentence("; ".join(lines))]
    else:
        yield from _prose(lines)


def _table(lines: list[str]) -> list[Sentence]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not _TABLE_RULE.fullmatch(line)]
    header, *body = rows or [[]]
    return [Sentence("; ".join(_cell(name, cell) for name, cell in zip(header, row, strict=False))) for row in body]


def _cell(name: str, cell: str) -> str:
    return f"{name}: {cell}" if name else cell


def _prose(lines: list[str]) -> Iterator[_Part]:
    prose: list[str] = []
    items: list[str] = []
    longest = max(map(len, lines), default=0)
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        heading = _heading(line, following, longest, alone=len(lines) == 1)
        if item := _ITEM.fullmatch(line):
            items.append(item[1])
        elif items and heading is None and line[0].islower():
            items[-1] += f" {line}"
        elif heading is not None:
            yield None, _joined(prose, items)
            prose, items = [], []
            yield heading, []
        else:
            if items:
                yield None, _joined(prose, items)
                prose, items = [], []
            answered = _ANSWERED.fullmatch(line)
            prose.append(answered[1] if answered else line)
    yield None, _joined(prose, items)


def _heading(line: str, following: str, longest: int, *, alone: bool) -> str | None:
    """The heading that a line is: marked as one, or short, unpunctuated and followed by a new beginning."""
    if marked := _HEADING.fullmatch(line) or _ASKED.fullmatch(line):
        return marked[1]
    if line[-1] in ".!?:;,。" or len(line.split()) > 8 or _ITEM.fullmatch(line) or _FIELD.fullmatch(line):
        return None
    stands_out = len(line) < 0.6 * longest and following[:1].isupper()
    return line if alone or stands_out else None


def _joined(prose: list[str], items: list[str]) -> list[Sentence]:
    sentences = [Sentence(text) for text in _split(re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", "\n".join(prose)))]
    if not items:
        return sentences
    lead = sentences.pop().text if sentences and sentences[-1].text.endswith(":") else ""
    if lead:
        listed = f"{lead} {'; '.join(item.rstrip('.;,') for item in items)}"
        sentences.append(Sentence(lead, whole=listed[:_LONGEST_LIST]))
    return sentences + [Sentence(item, under=lead, whole=f"{lead} {item}".strip()) for item in items]


def _split(text: str) -> list[str]:
    pieces: list[str] = []
    for piece in _END_OF_SENTENCE.split(re.sub(r"\s+", " ", text).strip()):
        if pieces and _ABBREVIATION.search(pieces[-1][-10:]):
            pieces[-1] += f" {piece}"
        elif piece:
            pieces.append(piece)
    return pieces
