"""The page of the running system in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.journey import (
    CHROMIUM,
    Site,
    ask,
    chromium,
    correct,
    open_first_citation,
    photograph,
    sign_in,
    upload,
    visit,
)
from tests.conftest import needs
from tests.e2e.conftest import PASSWORD, RIGHTS, System, Vendors
from tests.support import documents

pytestmark = pytest.mark.browser
PAGES = [
    "Lighthouse handbook. Keepers come and go.",
    "The lamp of the lighthouse is cleaned every Tuesday, because salt dims it. Call Edda for the ladder.",
]


@pytest.fixture
def browser() -> Iterator[Browser]:
    needs("chromium", CHROMIUM.exists())
    with chromium() as running:
        yield running


def test_a_newcomer_uploads_a_pdf_reads_a_cited_answer_corrects_it_and_searches_the_logs(
    system: System, vendors: Vendors, browser: Browser, tmp_path: Path
) -> None:
    vendors.fail_all()
    system.person(system.tenant(), "newcomer@razorpay.com", RIGHTS)
    content = documents.pdf(tmp_path / "lighthouse.pdf", PAGES).read_bytes()
    with visit(browser, system.page) as page:
        sign_in(page, Site(system.page, "newcomer@razorpay.com", PASSWORD))
        upload(page, {"name": "lighthouse.pdf", "mimeType": "application/pdf", "buffer": content})
        ask(page, "When is the lamp of the lighthouse cleaned?")
        source = open_first_citation(page)
        assert "every Tuesday" in source
        assert "page 2" in source
        assert "INTERNAL" in source
        photograph(page, "system-chat")
        correct(page, "Since the storm it is cleaned every Friday.", instead_of="every Tuesday")
        ask(page, "When is the lighthouse lamp cleaned?")
        expect(page.locator("#live")).to_contain_text("every Friday")
        page.get_by_role("tab", name="Logs").click()
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text("document.indexed").first).to_be_visible()
        photograph(page, "system-logs")
