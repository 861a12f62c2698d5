"""A Lucene query as a tree: what a query is made of, how it is confined to a tenant, and its one spelling.

A tree is spelled with every value in quotes or escaped and every group in parentheses, so that it reads the same under
any precedence of AND and OR, and so that no value can end its own clause.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from sluice.errors import PermanentError

_PLAIN_BOUND = re.compile(r"-?\d+(\.\d+)?|now([+-]\d+[a-zA-Z])?")


class InvalidQueryError(PermanentError):
    """A query that does not parse; `position` counts characters from 0, and is None where no single place is wrong."""

    type = "invalid-query"

    def __init__(self, reason: str, position: int | None = None) -> None:
        place = "" if position is None else f" at character {position + 1}"
        super().__init__(f"the query is wrong{place}: {reason}", errors=[{"field": "query", "message": reason}])
        self.reason = reason
        self.position = position


class Gap(Enum):
    """What stands in a wildcard between its literal parts."""

    MANY = "*"
    ONE = "?"


@dataclass(frozen=True)
class Everything:
    """Matches each record: an empty query, `*` or `*:*`."""


@dataclass(frozen=True)
class Text:
    """A term, or a phrase whose words may lie `slop` moves apart; without a field it is looked for in all of them."""

    field: str | None
    value: str
    slop: int = 0


@dataclass(frozen=True)
class Wildcard:
    field: str | None
    parts: tuple[str | Gap, ...]


@dataclass(frozen=True)
class Exists:
    field: str


@dataclass(frozen=True)
class Range:
    """From `low` to `high`; None leaves that end open."""

    field: str
    low: str | None
    high: str | None
    include_low: bool = True
    include_high: bool = True


@dataclass(frozen=True)
class Boolean:
    """Lucene's boolean query: all that is required, or else one of the optional; and nothing that is prohibited.

    With prohibited clauses alone it matches all other records.
    """

    required: tuple["Node", ...] = ()
    optional: tuple["Node", ...] = ()
    prohibited: tuple["Node", ...] = ()


Node: TypeAlias = Everything | Text | Wildcard | Exists | Range | Boolean


def confine(query: Node, clause: Text) -> Node:
    """`query`, of which nothing matches but what `clause` matches too."""
    grounded = _ground(query, clause)
    confined = grounded == clause or (isinstance(grounded, Boolean) and clause in grounded.required)
    return grounded if confined else Boolean(required=(clause, grounded))


def _ground(node: Node, clause: Text) -> Node:
    """Gives `NOT a` alone a clause to take from: to some servers it means nothing at all, to others all but a."""
    match node:
        case Everything():
            return clause
        case Boolean():
            required, optional, prohibited = (
                tuple(_ground(child, clause) for child in children)
                for children in (node.required, node.optional, node.prohibited)
            )
            return Boolean(required if required or optional else (clause,), optional, prohibited)
        case _:
            return node


def spell(node: Node) -> str:
    """The query as text that any Lucene parser reads as this tree."""
    match node:
        case Everything():
            return "*:*"
        case Text():
            return _named(node.field, _quote(node.value) + (f"~{node.slop}" if node.slop else ""))
        case Wildcard():
            return _named(node.field, "".join(p.value if isinstance(p, Gap) else _escape(p) for p in node.parts))
        case Exists():
            return f"_exists_:{_escape(node.field)}"
        case Range():
            left, right = "[" if node.include_low else "{", "]" if node.include_high else "}"
            return f"{node.field}:{left}{_bound(node.low)} TO {_bound(node.high)}{right}"
        case Boolean():
            return _spell_boolean(node)


def _spell_boolean(node: Boolean) -> str:
    either = " OR ".join(_operand(child) for child in node.optional)
    if either and not node.prohibited:
        return either
    positive = [_operand(child) for child in node.required] or [f"({either})" if either else spell(Everything())]
    return " AND ".join([*positive, *(f"NOT {_operand(child)}" for child in node.prohibited)])


def _operand(node: Node) -> str:
    return f"({spell(node)})" if isinstance(node, Boolean) else spell(node)


def _named(field: str | None, value: str) -> str:
    return value if field is None else f"{field}:{value}"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_.@" else f"\\{c}" for c in text)


def _bound(value: str | None) -> str:
    if value is None:
        return "*"
    return value if _PLAIN_BOUND.fullmatch(value) else _quote(value)
