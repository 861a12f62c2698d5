"""Answers as HTML that asks nobody for anything: no image, no raw HTML, no link but to a source on the page.

The page shows what this makes as it is. No other Markdown parser reads it again, so there are no two opinions about
what is a code span.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from sluice_frontend.rendering.text import inert, plain

_CITATION = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")


class _Renderer(RendererHTML):
    """`env` holds `turn` (which answer of the conversation) and `known` (the numbers of its sources)."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cite(tokens[idx].content, turn=env["turn"], known=env["known"])

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        address = str(tokens[idx].attrs.get("src", ""))
        return f'<span class="stripped">[image not shown: {inert(tokens[idx].content)} {inert(address)}]</span>'

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        env["addresses"].append(str(tokens[idx].attrs.get("href", "")))
        return ""

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        address = env["addresses"].pop()
        told = tokens[idx].info == "auto"
        return "" if told else f' <span class="stripped">({inert(address)})</span>'


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False}, renderer_cls=_Renderer)
    # every scheme passes as text: an address that is shown and not linked cannot run
    parser.validateLink = lambda url: True
    return parser.enable(["table", "strikethrough"]).disable(["reference", "html_block", "html_inline"])


_PARSER = _parser()


def render_answer(text: str, *, turn: int, known: Collection[int]) -> str:
    """The answer as HTML; `[n]` leads to source n of this turn if that source is known, and stays text otherwise."""
    env: dict[str, Any] = {"turn": turn, "known": known, "addresses": []}
    return str(_PARSER.render(plain(text), env))


def _cite(text: str, *, turn: int, known: Collection[int]) -> str:
    pieces: list[str] = []
    end = 0
    for found in _CITATION.finditer(text):
        numbers = [int(number) for number in re.findall(r"\d+", found.group(1))]
        if all(number in known for number in numbers):
            pieces += inert(text[end : found.start()]), "".join(_link(turn, number) for number in numbers)
            end = found.end()
    return "".join([*pieces, inert(text[end:])])


def _link(turn: int, number: int) -> str:
    return f'<a class="cite" href="#s{turn}-{number}" aria-label="Source {number}">{number}</a>'
