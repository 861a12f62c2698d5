"""Spells a Lucene query so that luqum reads what Lucene would read.

luqum takes `&&`, `||` and `!` for words, `/api/v1` for a regular expression and `'` for an error.
"""

import re
from dataclasses import dataclass

from log_bridge.lucene import InvalidQueryError

_OPERATORS = {"&&": "AND", "||": "OR"}
_DELIMITERS = frozenset(" ()[]{}:")
_SIGNS = frozenset("+-!<>")
_REGEX = re.compile(r"/(?:\\.|[^\\/])*/(?=[\s)]|$)")


@dataclass(frozen=True)
class Respelled:
    """The text for luqum, and for each of its characters where it stood in the query."""

    text: str
    origins: tuple[int, ...]
    length: int

    def position(self, position: int) -> int:
        return self.origins[position] if position < len(self.origins) else self.length


def respell(query: str) -> Respelled:
    """Raises:
    InvalidQueryError: a quotation mark is left open, or there is a regular expression.
    """
    return _Speller(query).run()


class _Speller:
    def __init__(self, query: str) -> None:
        self._query = query
        self._at = 0
        self._out: list[str] = []
        self._origins: list[int] = []
        self._term_begins = True

    def run(self) -> Respelled:
        while self._at < len(self._query):
            self._step(self._query[self._at])
        return Respelled("".join(self._out), tuple(self._origins), len(self._query))

    def _step(self, character: str) -> None:
        if character == "\\":
            self._emit(self._query[self._at : self._at + 2], 2)
            self._term_begins = False
        elif character == '"':
            self._phrase()
        elif character.isspace() or character in _DELIMITERS:
            self._emit(" " if character.isspace() else character, 1)
            self._term_begins = True
        elif self._term_begins:
            self._first(character)
        else:
            self._emit(character, 1)

    def _first(self, character: str) -> None:
        """The first character of a term, where signs, operators and slashes have a meaning."""
        word = re.split(r"[\s()]", self._query[self._at :], maxsplit=1)[0]
        if word in _OPERATORS:
            self._emit(_OPERATORS[word], 2)
        elif character == "!":
            self._emit(" NOT ", 1)
        elif character in _SIGNS or (character == "=" and self._out and self._out[-1] in ("<", ">")):
            self._emit(character, 1)
        else:
            if _REGEX.match(self._query, self._at):
                reason = "regular expressions are not supported: put a path into quotation marks"
                raise InvalidQueryError(reason, self._at)
            self._emit(f"\\{character}" if character in "/'" else character, 1)
            self._term_begins = False

    def _phrase(self) -> None:
        closing = re.compile(r'"(?:\\.|[^\\"])*"').match(self._query, self._at)
        if closing is None:
            raise InvalidQueryError("this quotation mark is not closed", self._at)
        if not self._term_begins:
            self._emit(" ", 0)
        self._emit(closing[0], len(closing[0]))
        self._term_begins = False

    def _emit(self, text: str, taken: int) -> None:
        self._out.append(text)
        self._origins.extend(self._at + min(offset, max(taken - 1, 0)) for offset in range(len(text)))
        self._at += taken
