"""How a log record becomes terms.

A term is its field's path, a NUL, and a token; the path is empty for a token looked for in all fields. One index field
then holds the terms of every path, where tantivy's JSON fields know neither wildcards nor ranges.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

Leaf: TypeAlias = str | int | float | bool

TENANT_FIELD = "tenant"
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?([eE][+-]?\d{1,2})?")
_EDGES = "\"'`.,;:!?()[]{}<>"
_MAX_TEXT = 8_192
_MAX_VALUE = 256
_MAX_DEPTH = 8
_GAP = " \2 "
"""A token between two values, so that no phrase reaches from one into the next."""


@dataclass(frozen=True)
class Terms:
    """What one value, or a whole record, is found by.

    `words`: the words in order, parted by blanks. `values`: the whole value and its parts, in lower case;
    after `.keyword` at a path's end the value as it is; and the path. `ordered`: sortable forms of the value.
    """

    words: str
    values: frozenset[str]
    ordered: frozenset[str]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def term(path: str, token: str) -> str:
    return f"{path}\0{token}"


def presence(path: str) -> str:
    return f"\1{path}"


def folded(text: str) -> str:
    """The text as one line in lower case."""
    return " ".join(text.lower().split())


def ordered_number(path: str, number: float) -> str:
    """A term whose order is the number's; hexadecimal, since tantivy's range syntax takes no other characters."""
    bits = struct.unpack(">Q", struct.pack(">d", number + 0.0))[0]
    bits = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    return f"{number_prefix(path)}{bits:016x}"


def ordered_text(path: str, text: str) -> str:
    return f"{text_prefix(path)}{folded(text)[:_MAX_VALUE].encode(errors='replace').hex()}"


def number_prefix(path: str) -> str:
    return f"{path.encode(errors='replace').hex()}n"


def text_prefix(path: str) -> str:
    return f"{path.encode(errors='replace').hex()}s"


def as_number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def terms_of(record: dict[str, Any]) -> Terms:
    """The terms of all leaves, nested objects by their dotted paths."""
    terms = [_terms_of_leaf(path, _text(leaf)) for path, leaf in leaves(record)]
    return Terms(
        _GAP.join(each.words for each in terms),
        frozenset[str]().union(*(each.values for each in terms)),
        frozenset[str]().union(*(each.ordered for each in terms)),
    )


def leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Leaf]]:
    """Each value that is neither an object nor a list nor null, with its path; below eight levels none."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for key, child in value.items():  # pyright: ignore[reportUnknownVariableType]
            name = re.sub(r"[\s\0\1]", "_", str(key))  # pyright: ignore[reportUnknownArgumentType]
            yield from leaves(child, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for child in value:  # pyright: ignore[reportUnknownVariableType]
            yield from leaves(child, path, depth + 1)
    elif isinstance(value, str | int | float):
        yield path, value


def _text(leaf: Leaf) -> str:
    return str(leaf).lower() if isinstance(leaf, bool) else str(leaf)[:_MAX_TEXT]


@lru_cache(maxsize=8192)  # levels, services and events come again and again
def _terms_of_leaf(path: str, text: str) -> Terms:
    tokens = [token[:_MAX_VALUE] for token in words(text)]
    whole = folded(text)
    found = {stripped for chunk in whole.split(" ") if (stripped := chunk.strip(_EDGES))} - set(tokens) | {whole}
    short = [value for value in found if len(value) <= _MAX_VALUE]
    values = {presence(path[: match.start()]) for match in re.finditer(r"\.|$", path)}
    ordered: set[str] = set()
    for prefix in (path, ""):
        values.update(term(prefix, value) for value in short)
    if len(text) <= _MAX_VALUE:
        values.add(term(f"{path}.keyword", text))
        ordered.add(ordered_text(path, text))
    if (number := as_number(text)) is not None:
        ordered.add(ordered_number(path, number))
    in_order = _GAP.join(" ".join(term(prefix, token) for token in tokens) for prefix in (path, ""))
    return Terms(in_order, frozenset(values), frozenset(ordered))
