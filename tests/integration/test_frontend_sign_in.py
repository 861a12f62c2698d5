"""What the page does on the way to an issuer and back, and with its cookies behind https."""

import asyncio
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx2
import pytest
from pydantic import AnyHttpUrl

from sluice_frontend.adapters.gateway import HttpGateway
from sluice_frontend.app import create_app
from sluice_frontend.settings import Settings, silence_gradio
from tests.support.page import PASSWORD, STAFF, Stage, Visitor, running_page
from tests.support.ports import free_port
from tests.support.problems import problem_of
from tests.support.serving import serving

ISSUER = "https://accounts.example/authorize?state=s"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_page(tmp_path_factory.mktemp("page")) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.new_gateway().ways.issuers = {"acme": ISSUER}
    return running


@pytest.fixture
def secure(stage: Stage, tmp_path: Path) -> Iterator[str]:
    """A page that browsers find by https."""
    silence_gradio()
    port = free_port()
    settings = Settings(
        gateway_url=AnyHttpUrl(stage.gateway_url),
        public_url=AnyHttpUrl("https://support.example.com"),
        state_dir=tmp_path,
    )
    app = create_app(settings, gateway=HttpGateway(stage.gateway_url), closing=asyncio.Event())
    with serving(app, port):
        yield f"http://127.0.0.1:{port}"


def cookies(response: httpx2.Response) -> dict[str, str]:
    return {header.partition("=")[0]: header for header in response.headers.get_list("set-cookie")}


def test_the_page_names_the_issuers_of_the_tenant(stage: Stage) -> None:
    page = Visitor(stage.url).http.get("/login", params={"tenant": "globex"}).text
    assert 'href="/login/with/acme?tenant=globex"' in page
    assert 'value="globex"' in page
    assert "Sign in with Acme" in page


def test_without_the_gateway_there_is_still_a_form(stage: Stage) -> None:
    stage.gateway.refusals["/api/v1/auth/ways"] = problem_of("unavailable", 503, "Try again.")
    page = Visitor(stage.url).http.get("/login")
    assert (page.status_code, 'name="password"' in page.text, "/login/with/" in page.text) == (200, True, False)


def test_there_and_back_with_a_secret_that_stays_in_the_browser(stage: Stage) -> None:
    visitor = Visitor(stage.url)
    gone = visitor.http.get("/login/with/acme", params={"tenant": "globex"})
    assert (gone.status_code, gone.headers["location"]) == (303, ISSUER)
    assert "HttpOnly" in cookies(gone)["sluice_sign_in"]
    assert "SameSite=lax" in cookies(gone)["sluice_sign_in"]
    binding = visitor.http.cookies["sluice_sign_in"]
    assert binding not in str(stage.gateway.ways.begun)
    back = visitor.http.get("/login/oidc/acme", params={"code": "good", "state": "s", "iss": "i", "more": "m"})
    assert stage.gateway.ways.finished == [{"code": "good", "state": "s", "iss": "i", "binding": binding}]
    assert (back.status_code, 'content="0;url=/"' in back.text) == (200, True)
    assert "SameSite=strict" in cookies(back)["sluice_session"]
    assert "sluice_sign_in" not in visitor.http.cookies
    assert visitor.http.get("/").status_code == 200


@pytest.mark.parametrize("query", [{}, {"state": "s"}, {"state": "s", "error": "access_denied"}, {"code": "good"}])
def test_a_way_back_without_what_belongs_to_it_signs_nobody_in(stage: Stage, query: dict[str, str]) -> None:
    visitor = Visitor(stage.url)
    visitor.http.get("/login/with/acme")
    refused = visitor.http.get("/login/oidc/acme", params=query)
    assert refused.status_code == 401
    assert stage.gateway.ways.finished == []
    assert "sluice_session" not in visitor.http.cookies


def test_a_way_back_that_another_browser_was_given_signs_nobody_in(stage: Stage) -> None:
    """Else whoever signs in could make others do so as them."""
    Visitor(stage.url).http.get("/login/with/acme")
    other = Visitor(stage.url)
    refused = other.http.get("/login/oidc/acme", params={"code": "good", "state": "s"})
    assert (refused.status_code, stage.gateway.ways.finished) == (401, [])


def test_a_refusal_is_told_and_the_form_is_there(stage: Stage) -> None:
    visitor = Visitor(stage.url)
    visitor.http.get("/login/with/acme")
    refused = visitor.http.get("/login/oidc/acme", params={"code": "bad", "state": "s"})
    assert refused.status_code == 401
    assert "You have no account here." in refused.text
    unknown = visitor.http.get("/login/with/nobody")
    assert (unknown.status_code, 'name="password"' in unknown.text) == (404, True)
    assert visitor.http.get("/login/with/..%2fadmin").status_code == 404


def test_behind_https_the_cookies_are_for_this_host_and_tls_alone(secure: str) -> None:
    visitor = Visitor(secure)
    session = cookies(visitor.sign_in(STAFF, PASSWORD))["__Host-sluice_session"]
    binding = cookies(visitor.http.get("/login/with/acme"))["__Host-sluice_sign_in"]
    for header in (session, binding):
        [morsel] = SimpleCookie(header).values()
        assert (morsel["secure"], morsel["httponly"], morsel["path"], morsel["domain"]) == (True, True, "/", "")


def test_behind_https_a_cookie_that_another_host_could_set_opens_nothing(secure: str) -> None:
    value = cookies(Visitor(secure).sign_in(STAFF, PASSWORD))["__Host-sluice_session"].split("=", 1)[1].split(";")[0]
    value = value.strip('"')
    for name, status in (("sluice_session", 303), ("__Host-sluice_session", 200)):
        answer = httpx2.get(f"{secure}/", headers={"Cookie": f"{name}={value}"}, trust_env=False)
        assert answer.status_code == status, name


@pytest.mark.parametrize("token", ["", "0" * 64, "\xe9" * 64])
def test_nobody_is_signed_out_and_nothing_uploaded_without_the_pages_own_token(stage: Stage, token: str) -> None:
    visitor = Visitor(stage.url)
    visitor.sign_in()
    files, headers = {"files": ("a.txt", b"text")}, {b"X-CSRF-Token": token.encode("latin-1")}
    assert visitor.http.post("/logout", data={"csrf": token}).status_code == 403
    assert visitor.http.post("/documents", files=files, headers=headers).status_code == 403
    assert stage.gateway.uploads == []
    assert visitor.http.get("/").status_code == 200
    assert visitor.http.post("/logout", data={"csrf": visitor.csrf()}).status_code == 303
    assert visitor.http.get("/").status_code == 303


def test_a_link_is_shown_and_used_by_its_form_alone(stage: Stage) -> None:
    visitor = Visitor(stage.url)
    shown = visitor.http.get("/link", params={"token": "good-link"})
    assert (shown.status_code, shown.headers["referrer-policy"]) == (200, "same-origin")
    assert "You are invited to Globex as ruth@razorpay.com." in shown.text
    assert 'href="/login/with/acme?link=good-link"' in shown.text
    assert stage.gateway.ways.used == []
    refused = visitor.http.post("/link", data={"token": "good-link", "new_password": "short"})
    assert (refused.status_code, "new_password: too short" in refused.text) == (422, True)
    assert "short" not in refused.text.replace("too short", "")
    used = visitor.http.post("/link", data={"token": "good-link", "new_password": "long enough by far"})
    assert (used.status_code, used.headers["location"]) == (303, "/")
    assert "SameSite=strict" in cookies(used)["sluice_session"]
    gone = visitor.http.get("/link", params={"token": "'><img src=x>"})
    assert (gone.status_code, "used up" in gone.text, "<img" in gone.text) == (404, True, False)


def test_what_is_asked_for_by_mail_names_the_tenant_of_the_page(stage: Stage) -> None:
    visitor = Visitor(stage.url)
    page = visitor.http.get("/login", params={"tenant": "globex"}).text
    assert 'href="/forgotten?tenant=globex"' in page
    for path in ("/forgotten", "/sign-up"):
        assert 'value="globex"' in visitor.http.get(path, params={"tenant": "globex"}).text
        sent = visitor.http.post(path, data={"email": " ruth@razorpay.com ", "tenant": "globex"})
        assert (sent.status_code, "is on its way" in sent.text) == (200, True)
    assert stage.gateway.ways.asked_for == [{"email": "ruth@razorpay.com", "tenant": "globex"}] * 2
    stage.gateway.refusals["/api/v1/auth/sign-up"] = problem_of("not-found", 404, "Nobody can sign up here.")
    refused = visitor.http.post("/sign-up", data={"email": "eve@example.com"})
    assert (refused.status_code, "Nobody can sign up here." in refused.text) == (404, True)


@pytest.mark.parametrize("path", ["/link", "/forgotten", "/sign-up"])
def test_another_site_cannot_send_the_forms(stage: Stage, path: str) -> None:
    headers = {"Origin": "https://attacker.example"}
    assert Visitor(stage.url).http.post(path, headers=headers, data={"email": STAFF}).status_code == 403
    assert stage.gateway.ways.asked_for == []
