"""Lucene's query syntax, read by luqum into our own tree.

luqum keeps the operators' precedence; Lucene's classic parser has none and marks each clause as required, optional or
prohibited. The clauses are therefore read in the order of the text again, and marked as Lucene does.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# luqum is not annotated

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Any, cast

import luqum.tree as luqum
from luqum.exceptions import IllegalCharacterError, ParseSyntaxError
from luqum.thread import parse as luqum_parse

from log_bridge.adapters.lucene_spelling import Respelled, respell
from log_bridge.lucene import Boolean, Everything, Exists, Gap, InvalidQueryError, Node, Range, Text, Wildcard

MAX_LENGTH = 2_000
MAX_DEPTH = 60
MAX_SLOP = 100
_FIELD = re.compile(r"[\w@$][\w@$.-]*")
_POSITION = re.compile(r"at position (\d+)")
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def parse_query(text: str) -> Node:
    """The tree of a query; an empty one matches everything.

    Raises:
        InvalidQueryError: it does not parse, is longer than MAX_LENGTH characters or its tree deeper than MAX_DEPTH
            nodes, has control characters, or uses regular expressions or fuzzy terms.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidQueryError(f"it may have at most {MAX_LENGTH} characters")
    for position, character in enumerate(text):
        if unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise InvalidQueryError("control characters and line breaks are not allowed", position)
    if not text.strip():
        return Everything()
    respelled = respell(text)
    tree = _parse(respelled)
    _check_depth(tree)
    return _Reader(respelled).node(tree, None)


def _parse(respelled: Respelled) -> Any:
    try:
        return luqum_parse(respelled.text)
    except (ParseSyntaxError, IllegalCharacterError) as error:
        place = _POSITION.search(str(error))
        if place is None:
            reason = "it ends too early: is a bracket left open, or an operator without its right side?"
            raise InvalidQueryError(reason, respelled.length) from error
        raise InvalidQueryError(
            "this does not belong here: put what is to be found as it stands into quotation marks",
            respelled.position(int(place[1])),
        ) from error


def _check_depth(tree: Any) -> None:
    """Without recursion: what this lets pass can be walked recursively."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.children]
        if not level:
            return
    raise InvalidQueryError("it is nested too deep")


class _Mark(Enum):
    REQUIRED = 1
    OPTIONAL = 2
    PROHIBITED = 3


class _Reader:
    def __init__(self, respelled: Respelled) -> None:
        self._respelled = respelled

    def node(self, item: Any, field: str | None) -> Node:
        match item:
            case luqum.BaseOperation() | luqum.Not() | luqum.Prohibit() | luqum.Plus():
                return self._boolean(item, field)
            case luqum.BaseGroup() | luqum.Boost():
                return self.node(item.expr, field)
            case luqum.SearchField():
                return self._field(item)
            case luqum.Range() | luqum.OpenRange():
                return self._range(item, field)
            case _:
                return self._text(item, field)

    def _text(self, item: Any, field: str | None) -> Node:
        match item:
            case luqum.Word():
                return _word(item.value, field)
            case luqum.Phrase():
                return Text(field, _unescape(item.value[1:-1]))
            case luqum.Proximity():
                return Text(field, _unescape(item.term.value[1:-1]), slop=min(item.degree, MAX_SLOP))
            case _:
                raise self._refusal(item, "fuzzy terms (~) are not supported: use a wildcard, or ~N after a phrase")

    def _boolean(self, item: Any, field: str | None) -> Node:
        marks: list[_Mark] = []
        nodes: list[Node] = []
        for joined_by_and, clause in _clauses(item, joined_by_and=False):
            mark, operand = _marked(clause)
            if joined_by_and:
                mark = _Mark.REQUIRED if mark is _Mark.OPTIONAL else mark
                if marks and marks[-1] is _Mark.OPTIONAL:
                    marks[-1] = _Mark.REQUIRED
            marks.append(mark)
            nodes.append(self.node(operand, field))
        required, optional, prohibited = (
            tuple(node for node, marked in zip(nodes, marks, strict=True) if marked is mark) for mark in _Mark
        )
        if not required and len(optional) == 1:
            return Boolean(optional, (), prohibited)
        # beside a required clause an optional one only changes the score, and logs are ordered by time
        return Boolean(required, () if required else optional, prohibited)

    def _field(self, item: Any) -> Node:
        name = _unescape(item.name)
        if name == "*":
            return self.node(item.expr, None)
        if not _FIELD.fullmatch(name) or name in ("AND", "OR", "NOT", "TO"):
            raise self._refusal(item, "a field's name has letters, digits and _ . - @ $ alone")
        if isinstance(item.expr, luqum.SearchField):
            raise self._refusal(item, "a value with a colon must stand in quotation marks")
        if isinstance(item.expr, (luqum.Not, luqum.Prohibit, luqum.Plus)):
            raise self._refusal(item, "a value with a sign in front must stand in quotation marks")
        if name == "_exists_" and isinstance(item.expr, luqum.Term):
            return Exists(_unescape(cast(str, item.expr.value).strip('"')))
        return self.node(item.expr, name)

    def _range(self, item: Any, field: str | None) -> Range:
        if field is None:
            raise self._refusal(item, "a range needs a field: field:[low TO high]")
        match item:
            case luqum.From():
                return Range(field, _bound(item.a), None, include_low=item.include)
            case luqum.To():
                return Range(field, None, _bound(item.a), include_high=item.include)
            case _:
                return Range(field, _bound(item.low), _bound(item.high), item.include_low, item.include_high)

    def _refusal(self, item: Any, reason: str) -> InvalidQueryError:
        return InvalidQueryError(reason, None if item.pos is None else self._respelled.position(item.pos))


def _clauses(item: Any, *, joined_by_and: bool) -> Iterator[tuple[bool, Any]]:
    """The clauses in the order of the text, each with whether AND stands before it."""
    if not isinstance(item, luqum.BaseOperation):
        yield joined_by_and, item
        return
    for number, operand in enumerate(item.operands):
        yield from _clauses(operand, joined_by_and=isinstance(item, luqum.AndOperation) if number else joined_by_and)


def _marked(clause: Any) -> tuple[_Mark, Any]:
    match clause:
        case luqum.Not() | luqum.Prohibit():
            return _Mark.PROHIBITED, clause.a
        case luqum.Plus():
            return _Mark.REQUIRED, clause.a
        case _:
            return _Mark.OPTIONAL, clause


def _word(value: str, field: str | None) -> Node:
    if value == "*":
        return Everything() if field is None else Exists(field)
    parts = tuple(_parts(value))
    return Wildcard(field, parts) if any(isinstance(p, Gap) for p in parts) else Text(field, _unescape(value))


def _parts(value: str) -> Iterator[str | Gap]:
    for literal, gap in re.findall(r"((?:\\.|[^\\*?])+)|([*?])", value):
        yield Gap(gap) if gap else _unescape(literal)


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def _bound(item: Any) -> str | None:
    if isinstance(item, luqum.Prohibit):
        return f"-{_bound(item.a)}"
    value = cast(str, item.value)
    if isinstance(item, luqum.Phrase):
        return _unescape(value[1:-1])
    return None if value == "*" else _unescape(value)
