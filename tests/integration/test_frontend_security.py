"""Each hole in Gradio's defaults, tried against the running page."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import Mount

from sluice_frontend.sessions import COOKIE
from tests.support.page import CUSTOMER, STAFF, Stage, Visitor, page_app, running_page, shown
from tests.support.ports import free_port
from tests.support.serving import serving

DONE = ("done", {"tier": "gemini-2.5-pro", "finish_reason": "stop"})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_page(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def ruth(stage: Stage) -> Visitor:
    stage.new_gateway()
    visitor = Visitor(stage.url)
    visitor.sign_in(STAFF)
    return visitor


@pytest.fixture
def eve(stage: Stage, ruth: Visitor) -> Visitor:
    """An EXTERNAL person with the right to read alone; the gateway is Ruth's."""
    visitor = Visitor(stage.url)
    visitor.sign_in(CUSTOMER)
    return visitor


def test_no_event_reads_a_file_of_the_server(ruth: Visitor, stage: Stage, tmp_path: Path) -> None:
    """A crafted FileData made a mounted Gradio read any path, because `has_launched` stays unset."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the-secret-of-the-server")
    crafted = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    for made in ruth.config()["dependencies"]:
        if made["backend_fn"]:
            visitor = Visitor(stage.url, session_hash=f"tab{made['id']}")
            visitor.http.cookies = ruth.http.cookies
            assert "the-secret" not in shown(visitor.call(made["api_name"], *[crafted for _ in made["inputs"]]))


def test_the_mounted_page_checks_paths_and_takes_no_files(ruth: Visitor, stage: Stage) -> None:
    """Should a component that reads files be added one day, Gradio's own check is on."""
    mounted: Any = [route.app for route in page_app(stage).routes if isinstance(route, Mount) and route.path == ""]  # type: ignore[attr-defined]
    assert mounted[0].get_blocks().has_launched is True
    kinds = {component["type"] for component in ruth.config()["components"]}
    assert kinds.isdisjoint({"file", "chatbot", "image", "gallery", "multimodaltextbox", "uploadbutton"})


def test_a_session_hash_of_somebody_else_opens_nothing(ruth: Visitor, eve: Visitor, stage: Stage) -> None:
    """Whoever knew a hash read its live stream: here a hash belongs to the cookie that came with it."""
    stage.gateway.events = [("token", {"text": "for staff only", "attempt": 1}), DONE]
    ruth.join("ask", "a question", "")
    stolen: list[str] = []
    with (
        suppress(httpx2.RemoteProtocolError),  # Gradio breaks off the stream of a session that it does not know
        eve.http.sse("/gradio_api/queue/data", params={"session_hash": ruth.session_hash}) as source,
    ):
        stolen += [event.data for event in source]
    assert "for staff only" not in "".join(stolen)
    with ruth.http.sse("/gradio_api/queue/data", params={"session_hash": ruth.session_hash}) as source:
        assert "for staff only" in "".join(event.data for event in source)


def test_somebody_else_cannot_cancel_by_session_hash(ruth: Visitor, eve: Visitor, stage: Stage) -> None:
    stage.gateway.events = [("token", {"text": "all of it", "attempt": 1}), DONE]
    ruth.join("ask", "a question", "")
    body = {"session_hash": ruth.session_hash, "fn_index": ruth.function("ask"), "event_id": "unknown"}
    eve.http.post("/gradio_api/cancel", json=body)
    with ruth.http.sse("/gradio_api/queue/data", params={"session_hash": ruth.session_hash}) as source:
        assert "all of it" in "".join(event.data for event in source)


@pytest.mark.parametrize("body", ["[]", "{}", '{"session_hash": 1}', "no json", '{"session_hash": null}'])
def test_an_event_without_a_session_hash_is_refused(ruth: Visitor, body: str) -> None:
    assert ruth.http.post("/gradio_api/queue/join", content=body).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=https://example.com/",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file//etc/passwd",
        "/gradio_api/proxy=https://example.com/",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/openapi.json",
        "/gradio_api/info",
        "/gradio_api/runs",
        "/gradio_api/token",
        "/gradio_api/stream/x/1/1/playlist.m3u8",
        "/config",
        "/config/",
        "/monitoring",
        "/monitoring/summary",
        "/custom_component/x/y/z/w",
        "/docs",
        "/openapi.json",
        "//gradio_api/info",
        "/assets/../config",
        "/assets/%2e%2e/%2e%2e/config",
        "/page/../config",
    ],
)
def test_what_the_page_does_not_use_is_not_there(ruth: Visitor, path: str) -> None:
    """`file=` made the server fetch an address, `config` and `info` describe every function."""
    assert ruth.http.request("GET", path, follow_redirects=False).status_code == 404


@pytest.mark.parametrize("path", ["run/search", "api/search", "call/search", "upload", "component_server", "vibe-edit"])
def test_functions_are_reached_through_the_queue_alone(ruth: Visitor, path: str) -> None:
    assert ruth.http.post(f"/gradio_api/{path}", json={"data": []}).status_code == 404


def test_no_other_origin_is_let_in(ruth: Visitor) -> None:
    """Gradio reflects any origin, with credentials, unless the page is called localhost."""
    evil = {"Origin": "https://attacker.example", "Host": "sluice.example"}
    preflight = ruth.http.options("/gradio_api/queue/join", headers=evil | {"Access-Control-Request-Method": "POST"})
    for response in (ruth.http.get("/", headers=evil), preflight):
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/cancel", "/login", "/logout", "/documents"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://attacker.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_site_cannot_ask_for_a_change(ruth: Visitor, stage: Stage, path: str, headers: dict[str, str]) -> None:
    assert ruth.http.post(path, headers=headers, json={}).status_code == 403
    assert stage.gateway.uploads == []


def test_the_policy_lets_nothing_load_from_elsewhere(ruth: Visitor) -> None:
    headers = ruth.http.get("/").headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["connect-src"] == "'self'"
    assert policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


def test_every_answer_carries_the_headers(ruth: Visitor) -> None:
    for path in ("/login", "/healthz", "/page/page.css", "/theme.css", "/nowhere", "/documents"):
        assert ruth.http.get(path).headers["x-content-type-options"] == "nosniff", path


def test_a_script_runs_only_with_the_nonce_of_this_answer(ruth: Visitor) -> None:
    pages = [ruth.http.get("/") for _ in range(2)]
    nonces = {page.headers["content-security-policy"].split("'nonce-")[1].split("'")[0] for page in pages}
    assert len(nonces) == 2
    assert "<script>" not in pages[0].text


def test_the_page_names_no_other_host(ruth: Visitor) -> None:
    """Gradio's page carries pictures and links of its makers for other sites to show."""
    text = ruth.http.get("/").text
    assert "githubusercontent" not in text
    assert "fonts.googleapis" not in ruth.http.get("/theme.css").text
    config = ruth.config()
    assert config["analytics_enabled"] is False


def test_no_inputs_are_kept_in_the_browser(ruth: Visitor) -> None:
    """`run_history` writes every input and output to local storage."""
    config = ruth.config()
    assert config.get("run_history") is False
    assert config["footer_links"] == []
    assert config["show_error"] is False


def test_a_hidden_function_called_by_its_index_meets_the_gateway(eve: Visitor, stage: Stage) -> None:
    """Hiding a tab is for looks: the gateway decides."""
    found = shown(eve.call("search", "*", "Last hour", "", ""))
    taught = shown(eve.call("save", "q", "a", "EXTERNAL"))
    explained = shown(eve.call("explain", "p1", "d1"))
    assert "This needs the right logs." in found
    assert "This needs the right teach." in taught
    assert "This needs the right admin." in explained
    assert (stage.gateway.searches, stage.gateway.fixes) == ([], [])


def test_an_upload_without_the_right_meets_the_gateway(eve: Visitor, stage: Stage) -> None:
    response = eve.http.post(
        "/documents",
        files={"files": ("a.txt", b"text")},
        data={"access_level": "EXTERNAL"},
        headers={"X-CSRF-Token": eve.csrf()},
    )
    assert response.status_code == 403
    assert response.json()["detail"] == "This needs the right upload."
    assert stage.gateway.uploads == []


@pytest.mark.parametrize("path", ["/gradio_api/queue/data?session_hash=x", "/gradio_api/heartbeat/x", "/theme.css"])
def test_nobody_gets_in_without_signing_in(stage: Stage, path: str) -> None:
    response = Visitor(stage.url).http.get(path)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/json"


def test_the_page_itself_leads_to_the_sign_in(stage: Stage) -> None:
    response = Visitor(stage.url).http.get("/")
    assert (response.status_code, response.headers["location"]) == (303, "/login")


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stage: Stage) -> None:
    stage.new_gateway()
    cookie = Visitor(stage.url).sign_in().headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "token-" not in cookie


def test_behind_https_the_cookie_is_secure(stage: Stage) -> None:
    stage.new_gateway()
    visitor = Visitor(stage.url)
    visitor.http.headers["X-Forwarded-Proto"] = "https"
    assert "Secure" in visitor.sign_in().headers["set-cookie"]


def test_a_restart_signs_nobody_out(ruth: Visitor, stage: Stage) -> None:
    port = free_port()
    with serving(page_app(stage), port):
        cookie = {"Cookie": f"{COOKIE}={ruth.http.cookies[COOKIE]}"}
        assert httpx2.get(f"http://127.0.0.1:{port}/", headers=cookie, trust_env=False).status_code == 200


def test_an_event_of_a_megabyte_is_refused(ruth: Visitor) -> None:
    body = {"session_hash": "x", "data": ["x" * 1_100_000]}
    assert ruth.http.post("/gradio_api/queue/join", json=body).status_code == 400


def test_an_id_that_is_a_path_never_reaches_the_gateway(ruth: Visitor, stage: Stage) -> None:
    """case 1: another address behind the gateway cannot be named by an id."""
    stage.gateway.documents = [{"id": "d1", "title": "a", "access_level": "INTERNAL", "state": "done"}]
    told = shown(ruth.call("delete", event_data={"id": "../documents/d1"}))
    assert "There is no such thing." in told
    assert len(stage.gateway.documents) == 1
