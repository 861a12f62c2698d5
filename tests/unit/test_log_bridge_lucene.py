"""A Lucene query as a tree: how it is read, spelled again, and confined to a tenant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from log_bridge.adapters.luqum_parser import MAX_DEPTH, MAX_LENGTH, parse_query
from log_bridge.lucene import Boolean, Everything, Exists, Gap, InvalidQueryError, Range, Text, Wildcard, confine, spell

A, B, C = Text(None, "a"), Text(None, "b"), Text(None, "c")
ACME = Text("tenant", "acme")


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("", Everything()),
        ("*", Everything()),
        ("*:*", Everything()),
        ("a", A),
        ("level:error", Text("level", "error")),
        ('"went fine"', Text(None, "went fine")),
        ('f:"went fine"~3', Text("f", "went fine", slop=3)),
        ("f:*", Exists("f")),
        ("_exists_:f", Exists("f")),
        ("f:ti?e*", Wildcard("f", ("ti", Gap.ONE, "e", Gap.MANY))),
        (r"f:a\*b", Text("f", "a*b")),
        (r"f:a\*b*", Wildcard("f", ("a*b", Gap.MANY))),
        ("f:[1 TO 5}", Range("f", "1", "5", include_high=False)),
        ("f:[-5 TO *]", Range("f", "-5", None)),
        ("f:>=5", Range("f", "5", None)),
        ("f:<5", Range("f", None, "5", include_high=False)),
        ("time:[now-1h TO now]", Range("time", "now-1h", "now")),
        ("f:(a b)", Boolean(optional=(Text("f", "a"), Text("f", "b")))),
        ("a^2", A),
        ("path:/api/v1/x", Text("path", "/api/v1/x")),
        ("user@example.com", Text(None, "user@example.com")),
        ("don't", Text(None, "don't")),
        ("'a'", Text(None, "'a'")),
    ],
)
def test_a_query_is_read_as_lucene_means_it(query: str, tree: object) -> None:
    assert parse_query(query) == tree


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("a b", Boolean(optional=(A, B))),
        ("a OR b", Boolean(optional=(A, B))),
        ("a AND b", Boolean(required=(A, B))),
        ("a AND b OR c", Boolean(required=(A, B))),
        ("a OR b AND c", Boolean(required=(B, C))),
        ("+a b", Boolean(required=(A,))),
        ("a -b", Boolean(required=(A,), prohibited=(B,))),
        ("a AND NOT b", Boolean(required=(A,), prohibited=(B,))),
        ("NOT a", Boolean(prohibited=(A,))),
        ("a AND (b OR c)", Boolean(required=(A, Boolean(optional=(B, C))))),
        ("a && b", Boolean(required=(A, B))),
        ("a || b", Boolean(optional=(A, B))),
        ("a && !b", Boolean(required=(A,), prohibited=(B,))),
        ("a && b || c", Boolean(required=(A, B))),
        ("a&&b", Text(None, "a&&b")),
        ("not a", Boolean(optional=(Text(None, "not"), A))),
    ],
)
def test_each_clause_is_required_optional_or_prohibited_as_in_lucenes_classic_parser(query: str, tree: object) -> None:
    """`a AND b OR c` is `+a +b c`, whatever strict precedence would make of it."""
    assert parse_query(query) == tree


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("(a", 2),
        ("a)", 1),
        ("a AND", 5),
        ("AND", 0),
        ('level:error "open', 12),
        ("a && b )", 7),
        ("a\\", 1),
        ("f:[1 TO", 7),
        ("[1 TO 5]", 0),
        ("a b~1", 2),
        ("a /x.*/", 2),
        ("id:a:b", 0),
        ("f:-5", 0),
        ("fi*ld:a", 0),
        (r"\AND:a", 0),
        ("a\nb", 1),
        ("a\0b", 1),
        ("a\u2028b", 1),
        ("a\tb", 1),
    ],
)
def test_what_does_not_parse_is_refused_with_its_position(query: str, position: int) -> None:
    """case 40: control characters and line breaks are refused as well."""
    with pytest.raises(InvalidQueryError) as refusal:
        parse_query(query)
    assert refusal.value.position == position
    assert f"at character {position + 1}:" in refusal.value.detail


@pytest.mark.parametrize(
    "query",
    [
        "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1),
        "-" * 1_900 + "a",
        "NOT " * 400 + "a",
        "a:" * 900 + "b",
        "(" * 900 + "a" + ")" * 900,
        "a " * MAX_LENGTH,
    ],
)
def test_a_query_too_long_or_nested_too_deep_is_refused(query: str) -> None:
    with pytest.raises(InvalidQueryError):
        parse_query(query)


def test_a_long_flat_query_is_taken() -> None:
    assert isinstance(parse_query(" ".join(["word"] * 390)), Boolean)


@pytest.mark.parametrize(
    "query",
    [
        "a",
        "a b -c",
        "a AND (b OR NOT c)",
        "f:[1 TO *}",
        r"f:a\*\"b?c*",
        '"a \\" b"~2',
        "NOT (a NOT b)",
        "f:(x OR NOT y)",
    ],
)
def test_a_tree_spelled_and_read_again_means_the_same(query: str) -> None:
    spelled = spell(confine(parse_query(query), ACME))
    assert spell(parse_query(spelled)) == spelled


@pytest.mark.parametrize(
    ("query", "spelled"),
    [
        ("", 'tenant:"acme"'),
        ("*:*", 'tenant:"acme"'),
        ("a OR b", 'tenant:"acme" AND ("a" OR "b")'),
        ("NOT a", 'tenant:"acme" AND NOT "a"'),
        ("a (NOT b)", 'tenant:"acme" AND ("a" OR (tenant:"acme" AND NOT "b"))'),
        ("tenant:other", 'tenant:"acme" AND tenant:"other"'),
        ("a OR tenant:*", 'tenant:"acme" AND ("a" OR _exists_:tenant)'),
        ('tenant:"acme\\" OR tenant:\\"other"', 'tenant:"acme" AND tenant:"acme\\" OR tenant:\\"other"'),
        (r"x\) OR \(tenant\:other", 'tenant:"acme" AND ("x)" OR "(tenant:other")'),
    ],
)
def test_the_tenants_clause_holds_for_all_of_the_query(query: str, spelled: str) -> None:
    assert spell(confine(parse_query(query), ACME)) == spelled


@pytest.mark.parametrize(
    "query",
    ["*) OR (tenant:other", 'x" OR tenant:"other', "x) OR tenant:other OR (x", "a) OR (*", '" OR *:* OR "x', "a OR )("],
)
def test_a_query_cannot_close_the_tenants_clause(query: str) -> None:
    """Where brackets or quotes do not balance there is no tree, and so nothing to search with."""
    try:
        confined = confine(parse_query(query), ACME)
    except InvalidQueryError:
        return
    assert isinstance(confined, Boolean)
    assert ACME in confined.required


def test_a_tenant_of_any_spelling_stays_one_value() -> None:
    clause = Text("tenant", 'a" OR tenant:"b\\')
    confined = parse_query(spell(confine(A, clause)))
    assert confined == Boolean(required=(clause, A))


@given(st.text(alphabet=st.sampled_from("ab tenant:*?\"\\()[]{}+-!&|^~<>=/'ANDORNT"), max_size=40))
def test_whatever_is_asked_the_tenants_clause_is_required(query: str) -> None:
    """The text that is sent is read by any parser as a conjunction with the clause, or there is none."""
    try:
        tree = parse_query(query)
    except InvalidQueryError:
        return
    sent = parse_query(spell(confine(tree, ACME)))
    assert sent == ACME or (isinstance(sent, Boolean) and ACME in sent.required)
