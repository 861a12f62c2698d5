"""Documents: what was sent in and how far it is, and what there is already."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr
from pydantic import TypeAdapter, ValidationError

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import AcceptedJob, Job
from sluice_frontend.page.events import FORWARD, detail_of, skip
from sluice_frontend.page.visitor import TokenOf, render_refusal
from sluice_frontend.ports import Gateway
from sluice_frontend.rendering.documents import UPLOAD_FORM, render_documents, render_jobs

_POLL_SECONDS = 0.5
_ACCEPTED = TypeAdapter(tuple[AcceptedJob, ...])


class DocumentsTab:
    """Built within the page's Blocks. The form posts to `/documents`; here the jobs are followed to their end."""

    def __init__(self, gateway: Gateway, token_of: TokenOf) -> None:
        self._gateway = gateway
        self._token_of = token_of
        with gr.Row(elem_id="documents"):
            with gr.Column(scale=4, min_width=300):
                form = gr.HTML(UPLOAD_FORM, elem_id="upload", apply_default_css=False, js_on_load=FORWARD)
            with gr.Column(scale=8, min_width=320):
                jobs = gr.HTML("", elem_id="jobs", apply_default_css=False, js_on_load=None)
                self.listing = gr.HTML("", elem_id="listing", apply_default_css=False, js_on_load=FORWARD)
        form.select(self.follow, None, [jobs, self.listing], trigger_mode="multiple", show_progress="hidden")
        self.listing.select(self.delete, None, self.listing, trigger_mode="multiple", show_progress="hidden")

    async def follow(self, event: gr.EventData, request: gr.Request) -> AsyncIterator[tuple[Any, Any]]:
        """A row a file, until each is done or failed; then the list anew."""
        try:
            accepted = _ACCEPTED.validate_python(detail_of(event).get("jobs"))
            async for jobs in self._progress(self._token_of(request), accepted):
                yield render_jobs(accepted, jobs), skip()
            yield skip(), await self.list_documents(request)
        except GatewayError as error:
            yield render_refusal(error.problem), skip()
        except ValidationError:
            return

    async def _progress(self, token: str, accepted: Sequence[AcceptedJob]) -> AsyncIterator[list[Job]]:
        jobs = [Job(state="queued") for _ in accepted]
        yield jobs
        while not all(job.ended for job in jobs):
            await asyncio.sleep(_POLL_SECONDS)
            jobs = [
                job if job.ended else await self._gateway.job(token, known.job_id)
                for job, known in zip(jobs, accepted, strict=True)
            ]
            yield jobs

    async def list_documents(self, request: gr.Request) -> str:
        try:
            return render_documents(await self._gateway.documents(self._token_of(request)))
        except GatewayError as error:
            return render_refusal(error.problem)

    async def delete(self, event: gr.EventData, request: gr.Request) -> str:
        """Delete one document, after the browser has asked whether that is meant."""
        try:
            await self._gateway.delete_document(self._token_of(request), str(detail_of(event).get("id", "")))
        except GatewayError as error:
            return render_refusal(error.problem) + await self.list_documents(request)
        return await self.list_documents(request)
