"""Log search, for those whom the gateway lets."""

from datetime import UTC, datetime
from typing import Any

import gradio as gr

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import LogPage
from sluice_frontend.page.events import FORWARD, detail_of, visible, when
from sluice_frontend.page.visitor import TokenOf, render_refusal
from sluice_frontend.ports import Gateway, LogSearch
from sluice_frontend.rendering.logs import render_histogram, render_hits, render_summary
from sluice_frontend.rendering.text import alert
from sluice_frontend.searching import CUSTOM, RANGES, count_by_time, fill_gaps, interval_seconds, time_range


class LogsTab:
    """Built within the page's Blocks. It keeps nothing between searches."""

    def __init__(self, gateway: Gateway, token_of: TokenOf) -> None:
        self._gateway = gateway
        self._token_of = token_of
        with gr.Row(elem_id="log-query"):
            self._query = gr.Textbox(
                label="Lucene query", placeholder="level:ERROR AND service:gateway", scale=6, min_width=280
            )
            self._range = gr.Dropdown([*RANGES, CUSTOM], value="Last hour", label="Time range", scale=2, min_width=150)
            self._start = gr.Textbox(label="From (UTC)", visible=False, scale=2, min_width=170)
            self._end = gr.Textbox(label="To (UTC)", visible=False, scale=2, min_width=170)
            search = gr.Button("Search", variant="primary", scale=0, min_width=100)
        self._summary = gr.HTML(
            "",
            html_template='<div role="status">${value}</div>',
            elem_id="log-summary",
            apply_default_css=False,
            js_on_load=None,
        )
        self._histogram = gr.HTML("", elem_id="histogram", apply_default_css=False, js_on_load=FORWARD)
        self._lines = gr.HTML("", elem_id="log-lines", apply_default_css=False, js_on_load=None)
        self._connect(search)

    def _connect(self, search: gr.Button) -> None:
        times = [self._range, self._start, self._end]
        found = [self._summary, self._histogram, self._lines]
        when([search.click, self._query.submit], self.search, [self._query, *times], found)
        when([self._range.input], _ask_times, [self._range], [self._start, self._end])
        narrowed = when([self._histogram.select], _narrow, [], times)
        narrowed.then(self.search, [self._query, *times], found, show_progress="hidden")

    async def search(
        self, query: str, range_name: str, start: str, end: str, request: gr.Request
    ) -> tuple[str, str, str]:
        """Summary, histogram and lines; an error leaves no older lines beneath it."""
        try:
            first, last = time_range(range_name, start, end, now=datetime.now(UTC))
            search = LogSearch(query.strip() or "*", first, last, interval_seconds(first, last))
            page = await self._gateway.search_logs(self._token_of(request), search)
        except ValueError as error:
            return alert([str(error)]), "", ""
        except GatewayError as error:
            return render_refusal(error.problem), "", ""
        return render_summary(page, len(page.hits)), _histogram(page, search), render_hits(page.hits)


def _histogram(page: LogPage, search: LogSearch) -> str:
    """As the gateway counts; if it does not, of the lines that are shown, and saying so."""
    seconds = search.interval_seconds
    all_counted = page.histogram is not None or len(page.hits) == page.total
    buckets = count_by_time(page.hits, seconds) if page.histogram is None else page.histogram
    caption = f"{page.total:,} lines" if all_counted else f"the {len(page.hits):,} lines shown"
    return render_histogram(fill_gaps(buckets, search.start, search.end, seconds), search.end, caption=caption)


def _ask_times(range_name: str) -> tuple[Any, Any]:
    return visible(range_name == CUSTOM), visible(range_name == CUSTOM)


def _narrow(event: gr.EventData) -> tuple[Any, Any, Any]:
    """From one bar of the histogram to another. The times come from the browser: the search checks them."""
    bars = detail_of(event)
    return CUSTOM, visible(True, value=str(bars.get("from", ""))), visible(True, value=str(bars.get("to", "")))
