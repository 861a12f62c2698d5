"""Citations in a streamed answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_router.citations import CitationFilter

GIVEN = (1, 2, 3)


def filtered(*pieces: str) -> tuple[str, list[int]]:
    citations = CitationFilter(GIVEN)
    text = "".join(citations.feed(piece) for piece in pieces) + citations.finish()
    return text, citations.cited


@pytest.mark.parametrize(
    ("said", "shown", "cited"),
    [
        ("Five days [1].", "Five days [1].", [1]),
        ("Five days [9].", "Five days.", []),
        ("Five days [1, 2].", "Five days [1][2].", [1, 2]),
        ("Five days [1;9].", "Five days [1].", [1]),
        ("Five days [2][7][1].", "Five days [2][1].", [2, 1]),
        ("Five days [7][1].", "Five days [1].", [1]),
        ("Five days [7][8].", "Five days.", []),
        ("Five days [1-3].", "Five days [1][2][3].", [1, 2, 3]),
        ("One [3] and two [1] and one again [3].", "One [3] and two [1] and one again [3].", [3, 1]),
        ("Five days[1]", "Five days[1]", [1]),
        ("Five days [0].", "Five days.", []),
    ],
)
def test_a_citation_of_a_given_passage_stays_and_any_other_vanishes(said: str, shown: str, cited: list[int]) -> None:
    assert filtered(said) == (shown, cited)


@pytest.mark.parametrize(
    "said",
    [
        "Set a[0] to x.",
        "Write `list[9]` here.",
        "```\nvalue = list[9]\n```\n",
        "![9](https://example.com/9.png)",
        "[9](https://example.com)",
        "- [x] done, - [ ] open",
        "[a footnote] and [2024] and [n]",
        "an open [ and an open [12",
    ],
)
def test_what_is_no_citation_stays_as_it_is(said: str) -> None:
    assert filtered(said) == (said, [])


def test_a_stray_backtick_switches_the_filter_off_for_no_longer_than_its_line() -> None:
    assert filtered("a ` stray\nFive days [9] [1].") == ("a ` stray\nFive days [1].", [1])


def test_a_citation_split_over_tokens_is_one() -> None:
    assert filtered("Five days ", "[", "1", ", ", "9", "]", ".") == ("Five days [1].", [1])


def test_only_an_open_bracket_and_the_space_before_it_is_held_back() -> None:
    citations = CitationFilter(GIVEN)
    assert citations.feed("Five days [") == "Five days"
    assert citations.feed("1") == ""
    assert citations.feed("] or") == " [1] or"
    assert citations.feed(" more [than") == " more [than"


@given(st.text(alphabet="ab [](),;-`0129\n!", max_size=60), st.lists(st.integers(1, 7), max_size=40))
def test_how_the_text_is_cut_into_tokens_changes_nothing(text: str, lengths: list[int]) -> None:
    pieces: list[str] = []
    rest = text
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    assert filtered(*pieces, rest) == filtered(text)
