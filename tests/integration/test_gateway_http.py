"""What holds for every answer: problems, headers, health, documentation; and who reaches which route."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sluice.telemetry import JsonFormatter
from tests.support.gateway import RunningGateway, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer, running, valkey_server
from tests.support.waiting import until

_SECRET = "hunter2-hunter2"


def _is_problem(answer: httpx2.Response, status: int) -> bool:
    body = answer.json()
    return (
        answer.status_code == body["status"] == status
        and answer.headers["content-type"] == "application/problem+json"
        and body["request_id"] == answer.headers["x-request-id"]
        and body["type"].startswith("urn:sluice:problem:")
        and {"title", "detail", "errors"} <= body.keys()
    )


async def test_every_error_is_a_problem_with_the_requests_id(gateway: RunningGateway) -> None:
    async with gateway.client() as client:
        assert _is_problem(await client.get("/nope"), 404)
        assert _is_problem(await client.put("/api/v1/me"), 405)
        assert _is_problem(await client.get("/api/v1/me"), 401)
        assert _is_problem(await client.post("/api/v1/auth/login", content=b"{"), 422)
        assert _is_problem(await client.post("/api/v1/auth/login", json=["x" * 300_000]), 413)
        assert _is_problem(await client.get("/api/v1/me/"), 404), "no redirect"


async def test_an_invalid_body_names_the_field_and_never_its_value(gateway: RunningGateway) -> None:
    bodies: list[Any] = [
        {"email": "a@b.co", "password": [_SECRET]},
        {"email": "a@b.co", "password": _SECRET, "new_password": _SECRET[:5]},
        {"email": "a@b.co", "password": _SECRET, "tenant": _SECRET.upper()},
        {"email": {"a": _SECRET}, "password": "x"},
        _SECRET,
    ]
    async with gateway.client() as client:
        for body in bodies:
            answer = await client.post("/api/v1/auth/login", json=body)
            assert _is_problem(answer, 422)
            assert answer.json()["errors"][0]["field"]
            assert _SECRET.lower() not in answer.text.lower()
        raw = await client.post(
            "/api/v1/auth/login",
            content=f'{{"password": "{_SECRET}", '.encode(),
            headers={"Content-Type": "application/json"},
        )
    assert _is_problem(raw, 422)
    assert _SECRET not in raw.text


class _BrokenPasswords:
    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def verify(self, password: str, password_hash: str | None) -> bool:
        raise RuntimeError(f"{password} is not {password_hash}")


async def test_an_unexpected_failure_tells_nothing_but_its_id(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url)
    async with running_gateway(settings, office, passwords=_BrokenPasswords()) as gateway, gateway.client() as client:
        answer = await client.post("/api/v1/auth/login", json={"email": "a@b.co", "password": _SECRET})
    assert _is_problem(answer, 500)
    assert _SECRET not in answer.text
    lines = [JsonFormatter("gateway", None).format(record) for record in caplog.records]
    assert any("http.failed" in line and "RuntimeError" in line for line in lines)
    assert not [line for line in lines if _SECRET in line]


async def test_answers_have_secure_headers_and_no_other_origin_is_let_in(gateway: RunningGateway) -> None:
    async with gateway.client(Origin="https://evil.com") as client:
        answers = [await client.get("/healthz"), await client.get("/nope"), await client.options("/api/v1/me")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_host_header_routes_nothing(gateway: RunningGateway) -> None:
    """case 20: neither what is answered nor where it leads depends on it."""
    async with gateway.client(Host="evil.com") as client:
        for path in ("/healthz", "/docs", "/docs/", "/api/v1/me", "/api/v1/me/", "/docs/assets", "/openapi.json"):
            answer = await client.get(path)
            assert "evil.com" not in str(answer.headers) + answer.text
            assert not answer.is_redirect


async def test_the_api_documents_itself_from_its_own_files(gateway: RunningGateway) -> None:
    async with gateway.client() as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        assert "https://" not in page.text
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
            assert asset in page.text
            assert (await client.get(f"/docs/assets/{asset}")).status_code == 200
        api = (await client.get("/openapi.json")).json()
    assert {"/api/v1/chat", "/api/v1/knowledge/documents", "/api/v1/logs/search"} <= api["paths"].keys()
    assert "HTTPBearer" in json.dumps(api["components"]["securitySchemes"])


async def test_readiness_tells_what_does_not_answer(tmp_path: Path, office: Office) -> None:
    server = valkey_server(tmp_path / "valkey")
    with running(server):
        settings = gateway_settings(tmp_path, server.url)
        async with running_gateway(settings, office) as gateway, gateway.client() as client:
            await until(lambda: _ready(client), what="readiness")
            server.kill()
            away = await client.get("/readyz")
            assert away.json() == {"status": "not ready", "reason": "Redis does not answer"}
            assert (await client.get("/healthz")).status_code == 200
            assert "sluice_http_requests_total" in (await client.get("/metrics")).text
            server.start()
            await until(lambda: _ready(client), what="readiness")


async def _ready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def test_what_cannot_be_sent_is_refused_and_what_was_accepted_is_sent_later(
    tmp_path: Path, office: Office
) -> None:
    """Redis away: a question is a 503 to try again, an upload is accepted and published once Redis is back."""
    server = valkey_server(tmp_path / "valkey")
    with running(server):
        settings = gateway_settings(tmp_path, server.url)
        async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
            server.kill()
            question = await admin.post("/api/v1/chat", json={"question": "Why?"})
            assert _is_problem(question, 503)
            assert question.headers["Retry-After"]
            upload = await admin.post("/api/v1/knowledge/documents", files=[("files", ("a.txt", b"text"))])
            assert upload.status_code == 202
            server.start()
            redis = gateway.adapters.broker.redis
            await until(lambda: redis.xlen("documents.submitted.v1.internal"), what="the message")


async def test_a_reader_writes_through_no_channel(gateway: RunningGateway, workers: Workers) -> None:
    """case 7: every route that changes something for others needs a right of its own."""
    reader = await gateway.person("reader@razorpay.com", "read")
    writes: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/people", {"email": "a@b.co"}),
        ("PATCH", f"/api/v1/people/{'0' * 32}", {"rights": ["admin"]}),
        ("DELETE", f"/api/v1/people/{'0' * 32}", None),
        ("DELETE", f"/api/v1/knowledge/documents/{'0' * 32}", None),
        ("POST", "/api/v1/knowledge/fixes", {"question": "a", "answer": "b", "access_level": "EXTERNAL"}),
        ("DELETE", f"/api/v1/knowledge/fixes/{'0' * 32}", None),
        ("POST", "/api/v1/logs/search", {"query": "x", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}),
    ]
    async with reader:
        for method, path, body in writes:
            assert _is_problem(await reader.request(method, path, json=body), 403), path
        for method, path in (("POST", "/api/v1/tenants"), ("POST", "/api/v1/tenants/default/people")):
            assert _is_problem(await reader.request(method, path, json={"slug": "x", "name": "x"}), 401)
        upload = await reader.post("/api/v1/knowledge/documents", files=[("files", ("a.txt", b"text"))])
        assert _is_problem(upload, 403)
    assert workers.idle()


_BODIES: dict[tuple[str, str], Any] = {
    ("patch", "person_id"): {"suspended": True},
    ("patch", "conversation_id"): {"title": "mine now"},
    ("patch", "document_id"): {"access_level": "INTERNAL"},
    ("post", "answer_id"): {"verdict": "up"},
    ("post", "key_id"): {"overlap_seconds": 60},
    ("post", "person_id"): {},
}


# Operators alone name them, and keys their own offers; an issuer is no tenant's.
_NOT_PEOPLES = ("slug", "stream", "task_id", "chain", "idempotency_key", "issuer")


async def test_another_tenants_ids_are_not_found_in_any_route(gateway: RunningGateway) -> None:
    """case 1: the same 404 as a missing id, in each route that takes one."""
    await gateway.add_tenant("acme")
    other = await gateway.person("admin@razorpay.com", "read", "upload", "teach", "logs", "admin", tenant="acme")
    async with other, await gateway.admin() as admin:
        theirs = await _one_of_each(other)
        paths = (await admin.get("/openapi.json")).json()["paths"]
        taking_ids = [(template, re.findall(r"{(\w+)}", template), methods) for template, methods in paths.items()]
        compared = 0
        for template, names, methods in taking_ids:
            for method in methods if names and names[0] not in _NOT_PEOPLES else ():
                body = _BODIES.get((method, names[0]))
                answers = [
                    await admin.request(method.upper(), template.format(**{names[0]: value}), json=body)
                    for value in (theirs[names[0]], "0" * 32)
                ]
                assert [answer.status_code for answer in answers] == [404, 404], (method, template)
                first, second = (answer.json() | {"request_id": ""} for answer in answers)
                assert first == second
                compared += 1
        assert compared >= 15
        assert (await other.get(f"/api/v1/knowledge/documents/{theirs['document_id']}")).json()["state"] == "pending"


async def _one_of_each(person: httpx2.AsyncClient) -> dict[str, str]:
    upload = await person.post("/api/v1/knowledge/documents", files=[("files", ("a.txt", b"text"))])
    fix = await person.post("/api/v1/knowledge/fixes", json={"question": "a", "answer": "b"})
    key = await person.post("/api/v1/keys", json={"name": "a", "rights": ["read"], "clearance": "EXTERNAL"})
    async with person.stream("POST", "/api/v1/chat", json={"question": "Why?"}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                accepted = json.loads(line.removeprefix("data: "))
                break
        else:
            raise AssertionError("no event came")
    return {
        "person_id": (await person.get("/api/v1/me")).json()["id"],
        "document_id": upload.json()["jobs"][0]["document_id"],
        "job_id": upload.json()["jobs"][0]["job_id"],
        "fix_id": fix.json()["id"],
        "key_id": key.json()["id"],
        "conversation_id": accepted["conversation_id"],
        "request_id": accepted["request_id"],
        "answer_id": accepted["request_id"],
    }
