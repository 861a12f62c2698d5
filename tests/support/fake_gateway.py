"""A stand-in for the gateway: its HTTP API as the page uses it, with answers that a test sets, and what was asked."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.fake_ways_in import FakeWaysIn
from tests.support.problems import problem

EVERY_RIGHT = ("read", "upload", "teach", "logs", "admin")
OPERATOR_TOKEN = "the-operators-token"


@dataclass
class FakePerson:
    email: str
    password: str = "correct horse"
    clearance: str = "INTERNAL"
    rights: tuple[str, ...] = EVERY_RIGHT
    one_time: bool = False
    """The password must be changed at the first sign-in."""
    tenant: str | None = None
    """Must be named at sign-in if it is set."""

    def shown(self) -> dict[str, Any]:
        return {
            "id": f"person-{self.email}",
            "email": self.email,
            "tenant": self.tenant or "acme",
            "clearance": self.clearance,
            "rights": list(self.rights),
        }


@dataclass
class FakeGateway:
    """`events` are what a chat answers with; the chat then waits at `hold` if that is set, until it is released."""

    people: list[FakePerson] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tail: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    hold: threading.Event | None = None
    conversations: dict[str, dict[str, Any]] = field(default_factory=dict)
    documents: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What a job answers, one after the other; the last one stays."""
    log_page: dict[str, Any] = field(default_factory=lambda: {"total": 0, "took_ms": 1, "hits": [], "warnings": []})
    refusals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A problem for each path that must fail."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    left: int = 0
    """How many chats a client closed before their end."""
    uploads: list[dict[str, Any]] = field(default_factory=list)
    fixes: list[dict[str, Any]] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    whys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is explained, by the document's id, or by `passage ID`."""
    explained: list[dict[str, str]] = field(default_factory=list)
    selftest: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The events of a self-test, which waits at `hold` before the last."""
    operator_headers: list[dict[str, str]] = field(default_factory=list)
    ways: FakeWaysIn = field(init=False)

    def __post_init__(self) -> None:
        self.ways = FakeWaysIn(lambda body: self._let_in(self.people[0], body), self.refusals)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/healthz", _healthy),
                Route("/api/v1/auth/login", self._login, methods=["POST"]),
                Route("/api/v1/auth/logout", self._logout, methods=["POST"]),
                *self.ways.routes(),
                Route("/api/v1/me", self._me),
                Route("/api/v1/chat", self._chat, methods=["POST"]),
                Route("/api/v1/chat/requests/{id}", self._cancel, methods=["DELETE"]),
                Route("/api/v1/chat/conversations", self._conversations),
                Route("/api/v1/chat/conversations/{id}", self._conversation),
                Route("/api/v1/knowledge/documents", self._submit, methods=["POST"]),
                Route("/api/v1/knowledge/documents", self._documents),
                Route("/api/v1/knowledge/documents/{id}", self._delete, methods=["DELETE"]),
                Route("/api/v1/knowledge/jobs/{id}", self._job),
                Route("/api/v1/knowledge/fixes", self._teach, methods=["POST"]),
                Route("/api/v1/knowledge/fixes/{id}", self._fix),
                Route("/api/v1/logs/search", self._search, methods=["POST"]),
                Route("/api/v1/people", self._people),
                Route("/api/v1/audit/explain", self._explain),
                Route("/api/v1/selftest/leaks", self._find_leaks, methods=["POST"]),
            ]
        )

    async def _login(self, request: Request) -> Response:
        body = await request.json()
        for person in self.people:
            if (person.email, person.password) == (body["email"], body["password"]):
                return self._let_in(person, body)
        return problem("invalid-credentials", 401, "The address or the password is wrong.")

    def _let_in(self, person: FakePerson, body: dict[str, Any]) -> Response:
        if person.tenant and body.get("tenant") != person.tenant:
            return problem("tenant-needed", 409, "This address is known to several tenants: name one.")
        if person.one_time and not body.get("new_password"):
            return problem("password-change-required", 403, "Choose a new password.")
        if person.one_time:
            person.password, person.one_time = body["new_password"], False
        token = f"token-{person.email}"
        self.revoked.discard(token)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": 3600, "person": person.shown()}
        return JSONResponse(answer)

    async def _logout(self, request: Request) -> Response:
        self.revoked.add(self._token(request))
        return Response(status_code=204)

    async def _me(self, request: Request) -> Response:
        person = self._person(request)
        return JSONResponse(person.shown()) if person else signed_out()

    async def _chat(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        self.asked.append(await request.json() | {"by": self._token(request)})
        return StreamingResponse(self._events(len(self.asked)), media_type="text/event-stream")

    async def _events(self, number: int) -> AsyncIterator[str]:
        asked = self.asked[number - 1]
        conversation_id = asked.get("conversation_id") or f"conversation-{number}"
        fresh = {"id": conversation_id, "title": asked["question"], "turns": []}
        self.conversations.setdefault(conversation_id, fresh)
        yield _event("accepted", {"request_id": f"request-{number}", "conversation_id": conversation_id})
        try:
            for name, data in self.events:
                yield _event(name, data)
            if self.hold:
                await asyncio.to_thread(self.hold.wait, 20)
            for name, data in self.tail:
                yield _event(name, data)
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
        self._keep(conversation_id, asked["question"])

    def _keep(self, conversation_id: str, question: str) -> None:
        told = self.events + self.tail
        done = [data for name, data in told if name == "done"]
        if not done:
            return
        sources = [data["passages"] for name, data in told if name == "sources"]
        kept = self.conversations[conversation_id]
        answer = "".join(data["text"] for name, data in told if name == "token")
        turn = {
            "question": question,
            "answer": answer,
            "tier": done[0]["tier"],
            "sources": sources[0] if sources else [],
        }
        kept["turns"].append(turn | {"id": f"turn-{len(kept['turns'])}", "level": "INTERNAL"})

    async def _cancel(self, request: Request) -> Response:
        self.cancelled.append(request.path_params["id"])
        return Response(status_code=204)

    async def _conversations(self, request: Request) -> Response:
        items = [{"id": kept["id"], "title": kept["title"]} for kept in self.conversations.values()]
        return self._refusal(request) or JSONResponse({"items": items, "next_cursor": None})

    async def _conversation(self, request: Request) -> Response:
        kept = self.conversations.get(request.path_params["id"])
        found = JSONResponse(kept) if kept else problem("not-found", 404, "There is no such conversation.")
        return self._refusal(request) or found

    async def _submit(self, request: Request) -> Response:
        if refusal := self._refusal(request, right="upload"):
            return refusal
        form = await request.form()
        files = [value for value in form.getlist("files") if not isinstance(value, str)]
        contents = {file.filename or "": await file.read() for file in files}
        names = [*contents, *(str(url) for url in form.getlist("urls"))]
        self.uploads.append({"files": contents, "urls": form.getlist("urls"), "access_level": form["access_level"]})
        jobs = [
            {"job_id": f"job-{name_number(name)}", "document_id": name_number(name), "name": name} for name in names
        ]
        return JSONResponse({"jobs": jobs}, status_code=202)

    async def _job(self, request: Request) -> Response:
        states = self.jobs.get(request.path_params["id"], [{"state": "done"}])
        state = states.pop(0) if len(states) > 1 else states[0]
        return JSONResponse({"progress": {"done": 0, "total": 0}, "attempt": 1, "error": None} | state)

    async def _documents(self, request: Request) -> Response:
        name = request.query_params.get("name", "").lower()
        items = [document for document in self.documents if name in str(document["title"]).lower()]
        return self._refusal(request) or JSONResponse({"items": items, "next_cursor": None})

    async def _delete(self, request: Request) -> Response:
        self.documents = [document for document in self.documents if document["id"] != request.path_params["id"]]
        return Response(status_code=202)

    async def _teach(self, request: Request) -> Response:
        if refusal := self._refusal(request, right="teach"):
            return refusal
        self.fixes.append(await request.json())
        return JSONResponse({"id": "fix-1", "state": "queued"}, status_code=202)

    async def _fix(self, request: Request) -> Response:
        return JSONResponse({"id": request.path_params["id"], "state": "active"})

    async def _search(self, request: Request) -> Response:
        if refusal := self._refusal(request, right="logs"):
            return refusal
        self.searches.append(await request.json())
        return JSONResponse(self.log_page)

    async def _people(self, request: Request) -> Response:
        email = request.query_params.get("email")
        items = [person.shown() for person in self.people if email in (None, person.email)]
        return self._refusal(request, right="admin") or JSONResponse({"items": items, "next_cursor": None})

    async def _explain(self, request: Request) -> Response:
        if refusal := self._refusal(request, right="admin"):
            return refusal
        query = dict(request.query_params)
        self.explained.append(query)
        why = self.whys.get(query.get("document") or f"passage {query.get('passage')}")
        return JSONResponse(why) if why else problem("not-found", 404, "there is no such document or passage")

    async def _find_leaks(self, request: Request) -> Response:
        self.operator_headers.append(dict(request.headers))
        if self._token(request) != OPERATOR_TOKEN:
            return signed_out()
        if known := self.refusals.get(request.url.path):
            return JSONResponse(known, status_code=known["status"])
        return StreamingResponse(self._selftest(), media_type="text/event-stream")

    async def _selftest(self) -> AsyncIterator[str]:
        try:
            for number, event in enumerate(self.selftest, 1):
                if self.hold and number == len(self.selftest):
                    await asyncio.to_thread(self.hold.wait, 20)
                yield _event(*event)
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

    def _refusal(self, request: Request, *, right: str = "read") -> Response | None:
        person = self._person(request)
        if person is None:
            return signed_out()
        if right not in person.rights:
            return problem("access-denied", 403, f"This needs the right {right}.")
        known = self.refusals.get(request.url.path)
        return JSONResponse(known, status_code=known["status"]) if known else None

    def _person(self, request: Request) -> FakePerson | None:
        token = self._token(request)
        known = [person for person in self.people if token == f"token-{person.email}"]
        return known[0] if known and token not in self.revoked else None

    @staticmethod
    def _token(request: Request) -> str:
        return request.headers.get("authorization", "").removeprefix("Bearer ")


def signed_out() -> Response:
    return problem("not-signed-in", 401, "Sign in again.")


def name_number(name: str) -> str:
    """A made id for a document of this name."""
    return name.encode().hex()[:40]


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
