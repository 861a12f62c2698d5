"""Signing in at an issuer, in a real Chromium: page, gateway and issuer all run here."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from pydantic import AnyHttpUrl, SecretStr

from gateway.issuers import Issuer as IssuerSettings
from sluice_frontend.adapters.gateway import HttpGateway
from sluice_frontend.app import create_app
from sluice_frontend.settings import Settings, silence_gradio
from tests.browser.journey import CHROMIUM, PHONE, all_named, chromium, visit
from tests.conftest import needs
from tests.support.gateway import RunningGateway, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.issuer import CLIENT_ID, CLIENT_SECRET, Issuer, running_issuer
from tests.support.ports import free_port
from tests.support.post_office import SENDER, PostOffice, running_post_office
from tests.support.servers import RedisServer
from tests.support.serving import serving
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser


@asynccontextmanager
async def site(
    folder: Path, valkey: RedisServer, office: Office, issuer: Issuer, **changes: Any
) -> AsyncGenerator[tuple[str, RunningGateway]]:
    """The page's address, and the gateway behind it."""
    redis.Redis(port=valkey.port).flushall()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    known = IssuerSettings(
        name="acme-login",
        title="Acme",
        issuer=issuer.url,
        client_id=CLIENT_ID,
        client_secret=SecretStr(CLIENT_SECRET),
        tenants=("default",),
        may_join=True,
    )
    settings = gateway_settings(folder, valkey.url, oidc_issuers=(known,), public_url=url, **changes)
    async with running_gateway(settings, office) as gateway:
        silence_gradio()
        of_page = Settings(gateway_url=AnyHttpUrl(gateway.url), public_url=AnyHttpUrl(url), state_dir=folder)
        page = create_app(of_page, gateway=HttpGateway(gateway.url), closing=asyncio.Event())
        with serving(page, port):
            yield url, gateway


async def test_a_person_signs_in_at_an_issuer_and_out_again(
    tmp_path: Path, valkey: RedisServer, office: Office
) -> None:
    """No token stands in an address; the way back is good once, and for the browser that went there."""
    needs("chromium", CHROMIUM.exists())
    with running_issuer() as issuer:
        issuer.person = {"sub": "ruth-1", "email": "ruth@razorpay.com", "email_verified": True}
        async with site(tmp_path, valkey, office, issuer) as (url, _):
            await asyncio.to_thread(_sign_in_and_out, url)


def _sign_in_and_out(url: str) -> None:
    with chromium() as browser:
        context = browser.new_context()
        page = context.new_page()
        addresses: list[str] = []
        page.on("framenavigated", lambda frame: addresses.append(frame.url))
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(f"{url}/login")
        all_named(page)
        page.get_by_role("link", name="Sign in with Acme").click()
        expect(page.locator("#header .address")).to_have_text("ruth@razorpay.com")
        expect(page.locator("#header .badge")).to_have_text("INTERNAL")
        assert page.url == f"{url}/"
        [session] = [cookie for cookie in context.cookies() if cookie["name"] == "sluice_session"]
        assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
        assert session["value"] not in " ".join(addresses)
        [back] = [address for address in addresses if "/login/oidc/acme-login?" in address][:1]
        page.goto(back)
        expect(page.get_by_role("alert")).to_contain_text("not begun in this browser")
        page.goto(url)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("E-mail address")).to_be_visible()
        page.goto(url)
        expect(page.get_by_label("E-mail address")).to_be_visible()
        context.close()


async def test_an_invited_person_chooses_a_password_and_another_when_it_is_forgotten(
    tmp_path: Path, valkey: RedisServer, office: Office
) -> None:
    needs("chromium", CHROMIUM.exists())
    with running_issuer() as issuer, running_post_office() as post:
        mail = {"smtp_url": post.url, "smtp_from": SENDER}
        async with site(tmp_path, valkey, office, issuer, **mail) as (url, gateway):
            async with await gateway.admin() as admin:
                body = {"email": "carl@example.com", "rights": ["read"]}
                invitation = (await admin.post("/api/v1/invitations", json=body)).json()["url"]
                await admin.patch("/api/v1/tenant", json={"sign_up": "open"})
            await asyncio.to_thread(_choose_and_forget, url, invitation, post)


def _choose_and_forget(url: str, invitation: str, post: PostOffice) -> None:
    with chromium() as browser:
        with visit(browser, url, PHONE, forgiven="404") as page:
            page.goto(invitation)
            expect(page.get_by_text("You are invited to Default as carl@example.com.")).to_be_visible()
            expect(page.get_by_role("link", name="Sign in with Acme")).to_be_visible()
            all_named(page)
            _choose(page, "the first of my own")
            page.goto(invitation)
            expect(page.get_by_role("alert")).to_contain_text("used up")
        with visit(browser, url) as page:
            page.goto(f"{url}/login")
            page.get_by_role("link", name="Forgot your password?").click()
            _ask_for_mail(page, "carl@example.com")
            _choose(page, "the second of my own", lambda: f"{url}/link?token={_newest(post, 'carl@example.com')}")
        with visit(browser, url) as page:
            page.goto(f"{url}/login")
            page.get_by_role("link", name="Sign up").click()
            _ask_for_mail(page, "dora@example.com")
            _choose(page, "the first of my own", lambda: f"{url}/link?token={_newest(post, 'dora@example.com')}")
            expect(page.locator("#header .address")).to_have_text("dora@example.com")


def _ask_for_mail(page: Page, email: str) -> None:
    all_named(page)
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_role("status")).to_contain_text("is on its way")


def _newest(post: PostOffice, email: str) -> str:
    return wait_for(lambda: post.links_to(email), f"a mail to {email}")[-1]


def _choose(page: Page, password: str, link: Callable[[], str] | None = None) -> None:
    if link:
        page.goto(link())
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Choose this password").click()
    expect(page.locator("#header .badge")).to_have_text("EXTERNAL")
