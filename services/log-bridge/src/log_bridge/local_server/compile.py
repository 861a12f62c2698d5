"""A query's tree as tantivy evaluates it over the terms of `analysis`."""

from datetime import datetime, timedelta

from tantivy import FieldType, Index, Occur, Query, Schema

from log_bridge.local_server.analysis import (
    TENANT_FIELD,
    as_number,
    folded,
    number_prefix,
    ordered_number,
    ordered_text,
    presence,
    term,
    text_prefix,
    words,
)
from log_bridge.local_server.times import microseconds, parse_bound
from log_bridge.lucene import Boolean, Everything, Exists, Gap, InvalidQueryError, Node, Range, Text, Wildcard

TIME_FIELD = "time"
WORDS, VALUES, ORDERED, KEY = "words", "values", "ordered", "key"
TIES = 4096
"""How many records of one microsecond the key tells apart."""

_LAST_KEY = 2**64 - 1


class Compiler:
    """`now` is what relative times in the query count from."""

    def __init__(self, index: Index, schema: Schema, now: datetime) -> None:
        self._index = index
        self._schema = schema
        self._now = now

    def query(self, node: Node) -> Query:
        """Raises:
        InvalidQueryError: a bound of the time is no time, or a wildcard has too many parts.
        """
        match node:
            case Everything():
                return Query.all_query()
            case Text():
                return self._text(node)
            case Wildcard():
                return self._wildcard(node)
            case Exists():
                return self._term(VALUES, presence(node.field))
            case Range():
                return self._time_range(node) if node.field == TIME_FIELD else self._range(node)
            case Boolean():
                return self._boolean(node)

    def key_range(self, low: int | None, high: int | None) -> Query:
        """Keys from `low` to below `high`."""
        last = _LAST_KEY if high is None else high
        return Query.range_query(self._schema, KEY, FieldType.Unsigned, low or 0, last, True, False)

    def _boolean(self, node: Boolean) -> Query:
        clauses = [(Occur.Must, self.query(child)) for child in node.required]
        if not clauses:
            clauses = [(Occur.Should, self.query(child)) for child in node.optional]
        positive = clauses or [(Occur.Must, Query.all_query())]
        return Query.boolean_query([*positive, *((Occur.MustNot, self.query(child)) for child in node.prohibited)])

    def _text(self, node: Text) -> Query:
        path = node.field or ""
        if _is_exact(path):
            return self._term(VALUES, term(_exact_path(path), node.value))
        tokens = [term(path, token) for token in words(node.value)]
        if not tokens:
            return self._term(VALUES, term(path, folded(node.value)))
        if len(tokens) == 1:
            return self._term(WORDS, tokens[0])
        return Query.phrase_query(self._schema, WORDS, list(tokens), slop=node.slop)

    def _wildcard(self, node: Wildcard) -> Query:
        path = node.field or ""
        exact = _is_exact(path)
        pattern = "".join(_pattern(part, exact=exact) for part in node.parts)
        anchored = _literal(term(_exact_path(path) if exact else path, "")) + pattern
        try:
            whole = Query.regex_query(self._schema, VALUES, anchored)
            either = [whole] if exact else [whole, Query.regex_query(self._schema, WORDS, anchored)]
        except ValueError as error:
            raise InvalidQueryError("a wildcard is too long or has too many * in it") from error
        return Query.boolean_query([(Occur.Should, query) for query in either])

    def _time_range(self, node: Range) -> Query:
        low = self._instant(node.low, after=not node.include_low)
        high = self._instant(node.high, after=node.include_high)
        return self.key_range(low, high)

    def _instant(self, bound: str | None, *, after: bool) -> int | None:
        """The first key at the bound, or the first one after it."""
        if bound is None:
            return None
        try:
            time, length = parse_bound(bound, self._now)
        except (ValueError, OverflowError) as error:
            reason = "a bound of time is an RFC 3339 time, a date, or now, as in now-15m, now-1h, now-7d"
            raise InvalidQueryError(reason) from error
        if after:
            time += length or timedelta(microseconds=1)
        return microseconds(time) * TIES

    def _range(self, node: Range) -> Query:
        bounds = [as_number(bound) for bound in (node.low, node.high) if bound is not None]
        numeric = all(bound is not None for bound in bounds)
        prefix = (number_prefix if numeric else text_prefix)(node.field)
        low = prefix if node.low is None else _ordered(node.field, node.low, numeric=numeric)
        high = f"{prefix}g" if node.high is None else _ordered(node.field, node.high, numeric=numeric)
        left, right = "[" if node.include_low else "{", "]" if node.include_high else "}"
        # tantivy has ranges of text in its query language alone; the bounds are hexadecimal, so nothing needs an escape
        return self._index.parse_query(f"{ORDERED}:{left}{low} TO {high}{right}", [ORDERED])

    def _term(self, field: str, value: str) -> Query:
        return Query.term_query(self._schema, field, value, "basic")


def _ordered(path: str, bound: str, *, numeric: bool) -> str:
    number = as_number(bound)
    return ordered_number(path, number) if numeric and number is not None else ordered_text(path, bound)


def _is_exact(path: str) -> bool:
    return path == TENANT_FIELD or path.endswith(".keyword")


def _exact_path(path: str) -> str:
    return path if path.endswith(".keyword") else f"{path}.keyword"


def _pattern(part: str | Gap, *, exact: bool) -> str:
    match part:
        case Gap.MANY:
            return ".*"
        case Gap.ONE:
            return "."
        case _:
            return _literal(part if exact else part.lower())


def _literal(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$#&-~/" else c for c in text)
