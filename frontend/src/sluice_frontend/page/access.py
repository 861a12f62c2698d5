"""Why could this person see this, or not? For those whom the gateway tells."""

import gradio as gr

from sluice_frontend.errors import GatewayError
from sluice_frontend.explaining import Explanation, explain, find_documents, find_person
from sluice_frontend.page.events import FORWARD, detail_of, when
from sluice_frontend.page.visitor import TokenOf, render_refusal
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.access import render_choice, render_records, render_verdict
from sluice_frontend.rendering.text import alert


class AccessTab:
    """Built within the page's Blocks. It keeps nothing between questions."""

    def __init__(self, gateway: Gateway, token_of: TokenOf) -> None:
        self._gateway = gateway
        self._token_of = token_of
        with gr.Row(elem_id="access-query"):
            person = gr.Textbox(label="Person", placeholder="E-mail address or id", scale=4, min_width=240)
            source = gr.Textbox(
                label="Document or passage",
                placeholder="Name or id of a document, or id of a passage",
                scale=5,
                min_width=260,
            )
            ask = gr.Button("Explain", variant="primary", scale=0, min_width=100)
        told = gr.HTML(
            "",
            html_template='<div role="status">${value}</div>',
            elem_id="explanation",
            apply_default_css=False,
            js_on_load=FORWARD,
        )
        records = gr.HTML("", elem_id="access-records", apply_default_css=False, js_on_load=None)
        when([ask.click, person.submit, source.submit], self.explain, [person, source], [told, records])
        when([told.select], self.choose, [person], [told, records])

    async def explain(self, person: str, source: str, request: gr.Request) -> tuple[str, str]:
        """The verdict and the records, or the documents to choose from when several have this name."""
        try:
            token = self._token_of(request)
            found = await find_documents(self._gateway, token, source.strip())
            if len(found) > 1:
                return render_choice(found), ""
            [document_id, title] = [found[0].id, found[0].title] if found else [source.strip(), ""]
            return await self._explained(token, person.strip(), document_id, title)
        except ValueError as error:
            return alert([str(error)]), ""
        except GatewayError as error:
            return render_refusal(error.problem), ""

    async def choose(self, person: str, event: gr.EventData, request: gr.Request) -> tuple[str, str]:
        """One of several documents."""
        try:
            chosen = str(detail_of(event).get("id", ""))
            return await self._explained(self._token_of(request), person.strip(), chosen, "")
        except ValueError as error:
            return alert([str(error)]), ""
        except GatewayError as error:
            return render_refusal(error.problem), ""

    async def _explained(self, token: str, person: str, source: str, title: str) -> tuple[str, str]:
        person_id = await find_person(self._gateway, token, person)
        why = await explain(self._gateway, token, person_id, source)
        told = Explanation(why, person, title or source)
        return render_verdict(told), render_records(told)
