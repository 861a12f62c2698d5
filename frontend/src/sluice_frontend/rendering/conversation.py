"""The turns of a conversation, and the answer that is being written."""

from collections.abc import Sequence

from sluice_frontend.answering import LiveAnswer, told_by
from sluice_frontend.models import Conversation, ConversationSummary, Turn
from sluice_frontend.rendering.markdown import render_answer
from sluice_frontend.rendering.text import alert, inert

_NO_TITLE = "(withheld)"
_WELCOME = """<div class="welcome"><h2>Ask about your documents</h2>
<p>Answers cite the passages that they come from, and use only what you may read.</p></div>"""


def render_turns(conversation: Conversation | None) -> str:
    turns = conversation.turns if conversation else ()
    return "".join(_turn(number, turn) for number, turn in enumerate(turns, start=1))


def render_live(answer: LiveAnswer | None, *, turn: int) -> str:
    """The newest turn as far as it is; before the first question, a word of welcome."""
    if answer is None:
        return _WELCOME if turn == 1 else ""
    if answer.problem:
        return _article(answer.question, alert(answer.problem.lines), footer="")
    if answer.text:
        body = render_answer(answer.text, turn=turn, known=[passage.n for passage in answer.passages])
    else:
        body = '<p class="waiting" aria-hidden="true"><span></span><span></span><span></span></p>'
    return _article(answer.question, body, footer=_footer(answer.outcome, answer.text) if answer.ended else "")


def render_summaries(conversations: Sequence[ConversationSummary]) -> str:
    items = "".join(map(_summary, conversations))
    return f"<ul>{items}</ul>" if items else "<p>No conversations yet.</p>"


def _summary(summary: ConversationSummary) -> str:
    title = inert(summary.title or _NO_TITLE)
    return f'<li><button type="button" data-send="open" data-id="{inert(summary.id)}">{title}</button></li>'


def _turn(number: int, turn: Turn) -> str:
    if turn.withheld:
        return f'<article class="turn"><p class="meta">This turn is withheld: {inert(turn.withheld)}.</p></article>'
    if turn.answer is None:
        told = alert([turn.error]) if turn.error else '<p class="meta">This question was not answered.</p>'
        return _article(turn.question, told, footer="")
    body = render_answer(turn.answer, turn=number, known=[passage.n for passage in turn.sources])
    return _article(turn.question, body, footer=_footer(told_by(turn.tier) if turn.tier else "", turn.answer))


def _article(question: str, body: str, *, footer: str) -> str:
    return (
        f'<article class="turn"><h2 class="unseen">You asked</h2><div class="question">{inert(question)}</div>'
        f'<h2 class="unseen">Answer</h2><div class="answer">{body}{footer}</div></article>'
    )


def _footer(outcome: str, text: str) -> str:
    copy = f'<button type="button" class="quiet" data-copy="{inert(text)}">Copy</button>' if text else ""
    return f'<p class="outcome"><span>{inert(outcome)}</span>{copy}</p>'
