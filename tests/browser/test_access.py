"""The operators' page and the tab Access in a real Chromium, before a stand-in for the gateway."""

import threading
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.journey import PHONE, Site, all_named, photograph, sign_in, visit
from tests.support.fake_gateway import OPERATOR_TOKEN
from tests.support.page import PASSWORD, STAFF, Stage

pytestmark = pytest.mark.browser

WAYS: list[dict[str, Any]] = [
    {"way": "chat", "requests": 45},
    {"way": "the page", "requests": 132},
    {"way": "what stands in Redis", "untried": ["no --redis-url was given"]},
    {
        "way": "documents",
        "requests": 63,
        "seen": [{"asker": "EXTERNAL reader", "call": "GET /api/v1/documents", "canary": "INTERNAL document of home"}],
    },
]
CLEAN = {"ways": 2, "canaries_seen": 0, "trespasses": 0, "untried": 0, "lost": [], "tried": WAYS[:2]}
LEAKS = {"ways": 4, "canaries_seen": 1, "trespasses": 0, "untried": 1, "lost": [], "tried": WAYS}
PROGRESS = ("progress", {"line": "1/2 chat: 45 asked as 9"})
SCOPE = {"tenant": "acme", "clearance": "EXTERNAL", "levels": ["EXTERNAL"], "collections": ["acme.external.chunks"]}
GIVEN = {"at": "2026-11-20T10:00:01Z", "actor": "p7", "action": "passages.retrieved", "target": "5f0c2d9be1"}
GIVEN |= {"detail": {"scope": SCOPE, "passages": [{"passage_id": "c1", "document_id": "d1"}]}}
CHANGE = {"at": "2026-11-21T09:30:00Z", "actor": "a1", "action": "document.classified", "target": "d1", "detail": {}}
WHY = {"person": "p7", "clearance": "EXTERNAL", "document": "d1", "access_level": "INTERNAL", "may_see": False}
WHY |= {"rule": "level: it is INTERNAL, and the person's clearance is EXTERNAL", "given": [GIVEN], "changes": [CHANGE]}


@pytest.fixture
def stage(running: Stage) -> Stage:
    gateway = running.new_gateway()
    gateway.selftest = [PROGRESS, ("report", CLEAN)]
    names = {"d1": "Refund handbook", "d2": "Refund handbook for partners"}
    gateway.documents = [
        {"id": number, "title": name, "name": f"{number}.pdf", "access_level": "INTERNAL", "state": "done"}
        for number, name in names.items()
    ]
    gateway.whys = {"d1": WHY, "d2": WHY | {"document": "d2"}}
    return running


def look_for_leaks(page: Page, stage: Stage, token: str = OPERATOR_TOKEN) -> None:
    page.goto(f"{stage.url}/operator")
    page.get_by_label("Operators' token").fill(token)
    page.get_by_label("Operators' token").press("Enter")


def test_an_operator_looks_for_leaks_and_reads_what_came_of_it(browser: Browser, stage: Stage) -> None:
    """With the keyboard alone; the token is out of the field, the address and the browser's stores at once."""
    stage.gateway.hold = threading.Event()
    with visit(browser, stage.url) as page:
        look_for_leaks(page, stage)
        expect(page.get_by_role("status")).to_contain_text("1/2 chat: 45 asked as 9")
        expect(page.get_by_label("Operators' token")).to_have_value("")
        expect(page.get_by_role("button", name="Look for leaks")).to_be_disabled()
        all_named(page)
        stage.gateway.hold.set()
        expect(page.get_by_role("heading", name="Nothing leaked.")).to_be_visible()
        expect(page.get_by_role("row", name="the page 132 held")).to_be_visible()
        expect(page.get_by_role("button", name="Look for leaks")).to_be_enabled()
        photograph(page, "operator")
        kept = page.evaluate("[location.href, document.cookie, JSON.stringify({...localStorage, ...sessionStorage})]")
        assert OPERATOR_TOKEN not in "".join(kept) + page.content()


def test_a_leak_is_told_in_words_and_first(browser: Browser, stage: Stage) -> None:
    stage.gateway.selftest = [("report", LEAKS)]
    with visit(browser, stage.url, PHONE) as page:
        look_for_leaks(page, stage)
        expect(page.get_by_role("heading", name="It leaks.")).to_be_visible()
        expect(page.locator("tbody tr").first).to_contain_text("Seen")
        expect(page.locator("tbody tr").nth(1)).to_contain_text("Not tried")
        expect(page.locator("tbody")).to_contain_text("INTERNAL document of home, by EXTERNAL reader")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        photograph(page, "operator-leak")


def test_a_wrong_token_is_told(browser: Browser, stage: Stage) -> None:
    with visit(browser, stage.url, forgiven="401") as page:
        look_for_leaks(page, stage, "a-guess")
        expect(page.get_by_role("alert")).to_contain_text("This is not the operators' token.")


def test_stop_ends_it_at_the_gateway(browser: Browser, stage: Stage) -> None:
    stage.gateway.hold = threading.Event()
    with visit(browser, stage.url) as page:
        look_for_leaks(page, stage)
        expect(page.get_by_role("status")).to_contain_text("1/2 chat")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("status")).to_have_text("Stopped.")
        page.wait_for_function("document.getElementById('stop').hidden")
        for _ in range(200):
            if stage.gateway.left:
                break
            page.wait_for_timeout(50)
        assert stage.gateway.left == 1
        stage.gateway.hold.set()


def test_an_admin_asks_why_somebody_may_not_see_a_document(browser: Browser, stage: Stage) -> None:
    """By a part of its name; of the two that have it one is chosen."""
    with visit(browser, stage.url) as page:
        sign_in(page, Site(stage.url, STAFF, PASSWORD))
        page.get_by_role("tab", name="Access").click()
        page.get_by_label("Person").fill("eve@example.com")
        page.get_by_label("Document or passage").fill("handbook")
        page.get_by_label("Document or passage").press("Enter")
        page.get_by_role("button", name="Refund handbook for partners").click()
        expect(page.get_by_text("It is INTERNAL, and the person's clearance is EXTERNAL.")).to_be_visible()
        assert stage.gateway.explained == [{"person": "person-eve@example.com", "document": "d2"}]
        page.get_by_label("Document or passage").fill("Refund handbook")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("table.records").first).to_contain_text("acme.external.chunks")
        expect(page.locator("#access-records")).to_contain_text("document classified")
        all_named(page)
        photograph(page, "access")
