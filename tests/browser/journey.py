"""What a newcomer does in a browser on a running Sluice: sign in, upload, ask, read a cited answer, open its source."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).parent / "screenshots"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = (1280, 800)
PHONE = (390, 844)


@dataclass(frozen=True)
class Site:
    """A running page and somebody who may upload, teach and search the logs there."""

    url: str
    email: str
    password: str


@contextmanager
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=45_000)  # the machine may be busy
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, forgiven: str | None = None
) -> Iterator[Page]:
    """A page of a fresh profile. At the end it must have asked no other host, and have logged no error but this."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(60_000)
    page = context.new_page()
    asked_for: list[str] = []
    errors: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "data:", "blob:")) else asked_for.append(request.url),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    elsewhere = [address for address in asked_for if not address.startswith((f"{url}/", "data:", "blob:"))]
    assert not elsewhere, f"the page asked for {elsewhere}"
    unforgiven = [error for error in errors if forgiven is None or forgiven not in error]
    assert not unforgiven, f"the page logged {unforgiven}"


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def sign_in(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_label("E-mail address").fill(site.email)
    page.get_by_label("Password", exact=True).fill(site.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#header .badge")).to_be_visible()


def upload(page: Page, *files: FilePayload, level: str = "INTERNAL") -> None:
    """Upload the files and wait until each one is done."""
    page.get_by_role("tab", name="Documents").click()
    page.get_by_label("Files").set_input_files(files)
    page.get_by_role("radio", name=level).first.check()
    page.get_by_role("button", name="Add documents").click()
    for file in files:
        row = page.locator(".job", has_text=file["name"])
        expect(row.locator(".state")).to_have_text("done", timeout=60_000)


def ask(page: Page, question: str) -> None:
    """Ask, and wait until the answer has ended."""
    page.get_by_role("tab", name="Chat").click()
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#live .question")).to_have_text(question)
    expect(page.locator("#live .outcome")).to_be_visible(timeout=60_000)


def correct(page: Page, answer: str, *, instead_of: str) -> None:
    """Correct the answer that was just given, and wait until that is in effect."""
    page.get_by_role("button", name="Correct this answer").click()
    written = page.get_by_label("The right answer")
    expect(written).to_have_value(re.compile(re.escape(instead_of)))  # else it is filled in after what is typed
    written.fill(answer)
    page.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("It takes effect with the next question.")).to_be_visible()


def open_first_citation(page: Page) -> str:
    """Click the first citation of the answer; the text of the source that it opens."""
    citation = page.locator("#live a.cite").first
    number = citation.inner_text()
    citation.click()
    source = page.locator(".source.open")
    expect(source).to_be_visible()
    expect(source.locator(".number")).to_have_text(number)
    expect(source).to_be_focused()
    return source.inner_text()


def all_named(page: Page) -> None:
    """Every control has a name, as a screen reader is told it."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "textbox", "combobox", "radio", "checkbox", "link", "tab", "listbox"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert named
    assert [role for role, name in named if not name] == [], json.dumps(named)
