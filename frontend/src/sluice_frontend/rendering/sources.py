"""The panel of sources: a group for each turn, of which one is shown."""

from collections.abc import Sequence

from sluice_frontend.models import Passage, Turn
from sluice_frontend.rendering.text import badge, highlight, inert

_HEAD = '<h2>Sources</h2><button type="button" class="quiet close-sources">Close</button>'


def render_sources(earlier: Sequence[Turn], question: str, passages: Sequence[Passage], *, hint: str) -> str:
    """The sources of the newest turn, shown, and of the earlier ones, hidden until a citation asks for them.

    `hint` stands where the newest turn has no sources.
    """
    hidden = [_group(number, turn.question, turn.sources) for number, turn in enumerate(earlier, start=1)]
    newest = _group(len(earlier) + 1, question, passages, hint=hint, hidden=False)
    return f'<div class="panel-head">{_HEAD}</div>{"".join(hidden)}{newest}'


def _group(turn: int, question: str, passages: Sequence[Passage], *, hint: str = "", hidden: bool = True) -> str:
    cards = "".join(_card(turn, question, passage) for passage in passages)
    return f'<div class="sources-of" {"hidden" if hidden else ""}>{cards or f"<p>{inert(hint)}</p>"}</div>'


def _card(turn: int, question: str, passage: Passage) -> str:
    return (
        f'<section class="source" id="s{turn}-{passage.n}" tabindex="-1" aria-label="Source {passage.n}">'
        f'<h3><span class="number">{passage.n}</span> {inert(passage.title)}</h3><p class="meta">{_meta(passage)}</p>'
        f"<blockquote>{highlight(passage.text, question)}</blockquote></section>"
    )


def _meta(passage: Passage) -> str:
    facts = [f"page {passage.page}"] if passage.page else []
    facts += [badge(passage.access_level)]
    facts += ["a correction by your team"] if passage.fix else [f"match {passage.score:.0%}"]
    return " · ".join(facts)
