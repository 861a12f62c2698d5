"""The chat: question, streamed answer, sources, and the correction of an answer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import gradio as gr

from sluice_frontend.answering import LiveAnswer, without_citations
from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Conversation
from sluice_frontend.page.correction import CorrectionForm
from sluice_frontend.page.events import FORWARD, detail_of, query_of, skip, visible, when
from sluice_frontend.page.frame import Frame, outputs
from sluice_frontend.page.visitor import TokenOf, render_refusal
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.conversation import render_live, render_summaries, render_turns
from sluice_frontend.rendering.sources import render_sources
from sluice_frontend.streaming import Follower

_NO_SOURCES_YET = "The passages that an answer rests on appear here."
_NOTHING_FOUND = "Nothing was found for this question."
_REMEMBER = "id => { history.replaceState(null, '', id ? '/?conversation=' + encodeURIComponent(id) : '/'); }"


class ChatTab:
    """Built within the page's Blocks. It keeps nothing: conversations lie behind the gateway, the id in the browser."""

    def __init__(self, gateway: Gateway, token_of: TokenOf, *, examples: Sequence[str]) -> None:
        self._gateway = gateway
        self._token_of = token_of
        self._follower = Follower(gateway)
        with gr.Row(elem_id="chat"):
            with gr.Column(scale=7, min_width=320, elem_id="talk"):
                self._build_talk(examples)
            with gr.Column(scale=3, min_width=280, elem_id="side"):
                self._sources = gr.HTML(elem_id="sources", apply_default_css=False, js_on_load=None)
        self.correction = self._correction.panel
        self._connect()

    def _build_talk(self, examples: Sequence[str]) -> None:
        with gr.Row(elem_id="conversations"):
            self._new = gr.Button("New conversation", size="sm", min_width=150, scale=0)
            with gr.Accordion("Past conversations", open=False) as self._past_list:
                self._summaries = gr.HTML(elem_id="summaries", apply_default_css=False, js_on_load=FORWARD)
        self._past = gr.HTML(elem_id="past", apply_default_css=False, js_on_load=None)
        self._live = gr.HTML(render_live(None, turn=1), elem_id="live", apply_default_css=False, js_on_load=None)
        with gr.Row(elem_id="examples") as self._examples:
            self._example_buttons = [gr.Button(text, elem_classes="example") for text in examples]
        self._correction = CorrectionForm(self._gateway, self._token_of)
        with gr.Column(elem_id="composer"):
            self._build_composer()
        self._conversation = gr.Textbox(visible=False, label="Conversation")

    def _build_composer(self) -> None:
        self._status = gr.HTML(
            "",
            html_template='<p role="status">${value}</p>',
            elem_id="status",
            apply_default_css=False,
            js_on_load=None,
        )
        with gr.Row(elem_id="ask"):
            self._question = gr.Textbox(
                label="Your question",
                show_label=False,
                placeholder="Ask a question",
                max_lines=6,
                scale=8,
                container=False,
            )
            self._send = gr.Button("Send", variant="primary", scale=0, min_width=90)
            self._stop = gr.Button("Stop", variant="stop", scale=0, min_width=90, visible=False)
            self._retry = gr.Button("Retry", scale=0, min_width=90, visible=False)

    @property
    def resumed(self) -> list[Any]:
        """What `resume` and `ask` fill: the outputs in the order of Frame."""
        drawn = [self._past, self._live, self._sources, self._status, self._question, self._conversation]
        drawn += [self._examples, self._send, self._stop, self._retry]
        return [*drawn, self._correction.question, self._correction.answer]

    def _connect(self) -> None:
        typed = [self._send.click, self._question.submit, self._retry.click]
        asking = [when(typed, self.ask, [self._question, self._conversation], self.resumed)]
        asking += [
            when([button.click], self.ask, [button, self._conversation], self.resumed)
            for button in self._example_buttons
        ]
        when([self._stop.click], _stop, [], [self._status, self._send, self._stop], cancels=asking)
        when([self._new.click], _begin, [], self.resumed, cancels=asking)
        when([self._summaries.select], self.open, [], self.resumed, cancels=asking)
        when([self._past_list.expand], self.list_conversations, [], [self._summaries])
        self._conversation.change(None, self._conversation, None, js=_REMEMBER)

    async def ask(self, question: str, conversation_id: str, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        """Draw the answer as it comes in; leaving early stops it at the gateway."""
        if not question.strip():
            yield tuple("Write a question first." if name == "status" else skip() for name in Frame._fields)
            return
        answer = LiveAnswer(question.strip())
        try:
            token = self._token_of(request)
            earlier = await self._earlier(token, conversation_id)
        except GatewayError as error:
            answer.fail(error.problem)
            yield outputs(_draw(answer, None))
            return
        answer.conversation_id = earlier.id if earlier else None
        yield outputs(_draw(answer, earlier)._replace(question=""))
        async with aclosing(self._follower.follow(token, answer)) as news:
            async for _ in news:
                yield outputs(_draw(answer, earlier))

    async def _earlier(self, token: str, conversation_id: str) -> Conversation | None:
        """The conversation so far; None, which begins a new one, if there is none or it was deleted."""
        if not conversation_id:
            return None
        try:
            return await self._gateway.conversation(token, conversation_id)
        except GatewayError as error:
            if error.problem.status == 404:
                return None
            raise

    async def resume(self, request: gr.Request) -> tuple[Any, ...]:
        """The conversation that the address names, or an empty page."""
        return await self._show(query_of(request).get("conversation", ""), request)

    async def open(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        return await self._show(str(detail_of(event).get("id", "")), request)

    async def _show(self, conversation_id: str, request: gr.Request) -> tuple[Any, ...]:
        if not conversation_id:
            return outputs(_blank())
        try:
            return outputs(_reopen(await self._gateway.conversation(self._token_of(request), conversation_id)))
        except GatewayError as error:
            return outputs(_blank()._replace(live=render_refusal(error.problem)))

    async def list_conversations(self, request: gr.Request) -> str:
        try:
            return render_summaries(await self._gateway.conversations(self._token_of(request)))
        except GatewayError as error:
            return render_refusal(error.problem)


def _stop() -> tuple[Any, ...]:
    return "Stopped.", visible(True), visible(False)


def _begin() -> tuple[Any, ...]:
    return outputs(_blank())


def _blank() -> Frame:
    return Frame(
        past="",
        live=render_live(None, turn=1),
        sources=render_sources([], "", [], hint=_NO_SOURCES_YET),
        status="",
        question="",
        examples=True,
    )


def _reopen(conversation: Conversation) -> Frame:
    *earlier, last = conversation.turns or (None,)
    if last is None:
        return _blank()
    return Frame(
        past=render_turns(conversation),
        live="",
        sources=render_sources(
            [turn for turn in earlier if turn],
            last.question,
            last.sources,
            hint="" if last.withheld else _NOTHING_FOUND,
        ),
        status="",
        question="",
        conversation_id=conversation.id,
        taught_question=last.question,
        taught_answer=without_citations(last.answer or ""),
    )


def _draw(answer: LiveAnswer, conversation: Conversation | None) -> Frame:
    earlier = conversation.turns if conversation else ()
    number = len(earlier) + 1
    problem = answer.problem
    done = answer.ended and not problem
    return Frame(
        past=render_turns(conversation),
        live=render_refusal(problem) if problem and problem.status == 401 else render_live(answer, turn=number),
        sources=render_sources(earlier, answer.question, answer.passages, hint=_NOTHING_FOUND if done else ""),
        status=answer.status,
        question=answer.question if problem else None,
        conversation_id=answer.conversation_id or "",
        send=answer.ended,
        stop=not answer.ended,
        retry=problem is not None,
        taught_question=answer.question if done else "",
        taught_answer=without_citations(answer.text) if done else "",
    )
