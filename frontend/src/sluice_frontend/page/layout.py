"""The page: a header, and a tab for each thing that the person may do."""

from typing import Any

import gradio as gr

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import Person
from sluice_frontend.page.access import AccessTab
from sluice_frontend.page.chat import ChatTab
from sluice_frontend.page.documents import DocumentsTab
from sluice_frontend.page.events import skip, visible
from sluice_frontend.page.logs import LogsTab
from sluice_frontend.page.visitor import TokenOf, render_refusal, token_reader
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.header import render_header
from sluice_frontend.sessions import SessionSeal, csrf_token
from sluice_frontend.settings import Settings


def create_page(settings: Settings, *, gateway: Gateway, seal: SessionSeal) -> gr.Blocks:
    token_of = token_reader(seal)
    with gr.Blocks(title="Sluice", analytics_enabled=False, fill_width=True) as page:
        header = gr.HTML(elem_id="header", apply_default_css=False)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat"):
                chat = ChatTab(gateway, token_of, examples=settings.page_examples)
            with gr.Tab("Documents", id="documents", visible=False) as documents_tab:
                documents = DocumentsTab(gateway, token_of)
            with gr.Tab("Logs", id="logs", visible=False) as logs_tab:
                LogsTab(gateway, token_of)
            with gr.Tab("Access", id="access", visible=False) as access_tab:
                AccessTab(gateway, token_of)
        page.load(
            _greeting(gateway, token_of),
            None,
            [header, documents_tab, logs_tab, access_tab, chat.correction],
            show_progress="hidden",
        )
        page.load(chat.resume, None, chat.resumed, show_progress="hidden")
        documents_tab.select(documents.list_documents, None, documents.listing, show_progress="hidden")
    _follow_many(page, settings.page_concurrency)
    return page


def _follow_many(page: gr.Blocks, concurrency: int) -> None:
    """Gradio's defaults are one event of a kind at a time and 40 in all."""
    page.max_threads = concurrency
    page.queue(default_concurrency_limit=concurrency, api_open=False)


def _greeting(gateway: Gateway, token_of: TokenOf) -> Any:
    async def greet(request: gr.Request) -> tuple[Any, ...]:
        """The header, and what the person may see. Hiding is for looks: the gateway decides about every call."""
        try:
            token = token_of(request)
            person = await gateway.person(token)
        except GatewayError as error:
            return render_refusal(error.problem), *(skip() for _ in range(4))
        return render_header(person, csrf_token(token)), *_shown(person)

    return greet


def _shown(person: Person) -> tuple[Any, ...]:
    allowed = (person.may("upload"), person.may_search_logs, person.may_explain_access, person.may("teach"))
    return tuple(visible(shown) for shown in allowed)
