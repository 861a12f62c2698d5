"""Correct an answer: what is taught here is found first from the next question on."""

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Fix
from sluice_frontend.page.visitor import TokenOf, render_refusal
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.text import alert

_POLL_SECONDS = 0.3
_LEVELS = [("INTERNAL: staff only", "INTERNAL"), ("EXTERNAL: customers as well", "EXTERNAL")]


class CorrectionForm:
    """Built within the chat; the chat fills in question and answer once an answer is complete."""

    def __init__(self, gateway: Gateway, token_of: TokenOf) -> None:
        self._gateway = gateway
        self._token_of = token_of
        with gr.Accordion("Correct this answer", open=False, visible=False, elem_id="correction") as self.panel:
            self.question = gr.Textbox(label="Question", lines=2)
            self.answer = gr.Textbox(label="The right answer", lines=6, max_lines=20)
            level = gr.Radio(_LEVELS, value="INTERNAL", label="Who may read this correction")
            save = gr.Button("Save correction", variant="primary")
            told = gr.HTML(
                "", html_template='<div role="status">${value}</div>', apply_default_css=False, js_on_load=None
            )
        save.click(self.save, [self.question, self.answer, level], told, show_progress="hidden")

    async def save(self, question: str, answer: str, access_level: str, request: gr.Request) -> AsyncIterator[str]:
        """Save it, then tell when it is in effect."""
        if not question.strip() or not answer.strip():
            yield alert(["A correction needs a question and an answer."])
            return
        yield "<p>Saving…</p>"
        try:
            token = self._token_of(request)
            fix = await self._gateway.teach(token, question.strip(), answer.strip(), access_level)
            yield _outcome(await self._settled(token, fix))
        except GatewayError as error:
            yield render_refusal(error.problem)

    async def _settled(self, token: str, fix: Fix) -> Fix:
        while not fix.settled:
            await asyncio.sleep(_POLL_SECONDS)
            fix = await self._gateway.fix(token, fix.id)
        return fix


def _outcome(fix: Fix) -> str:
    if fix.state == "active":
        return '<p class="good">Saved. It takes effect with the next question.</p>'
    return alert(["The correction could not be saved.", fix.error or fix.state])
