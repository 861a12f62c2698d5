"""A gateway in memory that speaks the API which the commands call, for tests of the commands alone.

`leaks` makes it show an INTERNAL passage to EXTERNAL people, `uncited` makes it cite nothing.
"""

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.ports import free_port

OPERATOR_TOKEN = "operator-token-of-this-test"


def problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse(
        {"status": status, "detail": detail, "errors": []}, status, media_type="application/problem+json"
    )


class GatewayInMemory:
    def __init__(self, *, leaks: str = "", uncited: bool = False, fails: str = "") -> None:
        self.leaks, self.uncited, self.fails = leaks, uncited, fails
        self.tenants: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, Any]] = []

    def app(self) -> Starlette:
        routes = [
            Route("/api/v1/tenants", self.add_tenant, methods=["POST"]),
            Route("/api/v1/tenants", self.list_tenants),
            Route("/api/v1/tenants/{slug}/people", self.add_person, methods=["POST"]),
            Route("/api/v1/auth/login", self.login, methods=["POST"]),
            Route("/api/v1/knowledge/documents", self.upload, methods=["POST"]),
            Route("/api/v1/knowledge/jobs/{id}", self.job),
            Route("/api/v1/chat", self.chat, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def add_tenant(self, request: Request) -> Response:
        body = await request.json()
        if request.headers.get("authorization") != f"Bearer {OPERATOR_TOKEN}":
            return problem(401, "this needs the operator's token")
        if body["slug"] in self.tenants:
            return problem(409, f"the tenant {body['slug']} exists")
        self.tenants[body["slug"]] = {"internal_domains": ["razorpay.com"], **body}
        return JSONResponse(self.tenants[body["slug"]], 201)

    async def list_tenants(self, request: Request) -> Response:
        return JSONResponse({"items": list(self.tenants.values()), "next_cursor": None})

    async def add_person(self, request: Request) -> Response:
        body = await request.json()
        if request.path_params["slug"] not in self.tenants:
            return problem(404, "no such tenant")
        if body["email"] in self.people:
            return problem(409, f"{body['email']} is there already")
        clearance = "INTERNAL" if body["email"].endswith("@razorpay.com") else "EXTERNAL"
        person = {"id": f"p{len(self.people)}", "clearance": clearance, **body}
        self.people[body["email"]] = {**person, "password": "one-time", "changed": False}
        return JSONResponse({**person, "one_time_password": "one-time"}, 201)

    async def login(self, request: Request) -> Response:
        body = await request.json()
        person = self.people[body["email"]]
        if body["password"] != person["password"] or ("new_password" not in body and not person["changed"]):
            return problem(401, "wrong address or password")
        if "new_password" in body:
            person |= {"password": body["new_password"], "changed": True}
        return JSONResponse({"access_token": body["email"], "token_type": "bearer", "expires_in": 60})

    async def upload(self, request: Request) -> Response:
        form = await request.form()
        jobs = []
        for file in form.getlist("files"):
            assert not isinstance(file, str)
            key = f"d-{file.filename}"
            state = "failed" if file.filename == self.fails else "done"
            self.documents[key] = {"name": str(file.filename), "level": str(form["access_level"]), "state": state}
            jobs.append({"job_id": key, "document_id": key, "name": file.filename})
        return JSONResponse({"jobs": jobs}, 202)

    async def job(self, request: Request) -> Response:
        return JSONResponse(self.documents[request.path_params["id"]])

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        email = request.headers["authorization"].removeprefix("Bearer ")
        return StreamingResponse(self._events(self.people[email]["clearance"]), media_type="text/event-stream")

    def _events(self, clearance: str) -> Iterator[str]:
        level = "INTERNAL" if clearance == "INTERNAL" or self.leaks == "source" else "EXTERNAL"
        word = "Bluefin" if clearance == "INTERNAL" or self.leaks == "words" else "public"
        passage = {"n": 1, "document_id": "d", "title": "a.md", "page": None, "access_level": level, "text": "text"}
        citations = [] if self.uncited else [1]
        for name, data in (
            ("accepted", {"request_id": "r", "conversation_id": "c"}),
            ("sources", {"passages": [passage]}),
            ("token", {"text": "thrown away", "attempt": 1}),
            ("restart", {"attempt": 2, "tier": "extractive", "reason": "test"}),
            ("token", {"text": f"the {word} answer [1]", "attempt": 2}),
            ("done", {"answer_id": "a", "tier": "extractive", "finish_reason": "stop", "citations": citations}),
        ):
            yield f"event: {name}\ndata: {json.dumps(data)}\n\n"


@contextmanager
def served(gateway: GatewayInMemory) -> Generator[str]:
    """The address at which the gateway answers."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(gateway.app(), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
