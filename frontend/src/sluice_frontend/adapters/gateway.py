"""The gateway over HTTP: the only thing outside that the page knows."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import httpx2
from pydantic import ValidationError

from sluice_frontend.errors import GatewayError
from sluice_frontend.models import (
    Answered,
    BegunSignIn,
    ChatEvent,
    Conversation,
    ConversationSummary,
    Document,
    Fix,
    FoundLink,
    Job,
    Listing,
    LogPage,
    Person,
    Problem,
    SignedIn,
    Ways,
    Why,
)
from sluice_frontend.ports import Credentials, LogSearch, Reply

M = TypeVar("M", bound=Answered)
_PAGE_SIZE = 100
_LOG_LINES = 200
_SILENCE_SECONDS = 120  # the longest wait for the next byte of an answer
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class HttpGateway:
    """One connection pool for everybody; the person's token goes along with each call."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.AsyncClient(
            base_url=url.rstrip("/"),
            timeout=httpx2.Timeout(30, connect=5),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def ready(self) -> bool:
        try:
            return (await self._client.get("/healthz")).is_success
        except httpx2.HTTPError:
            return False

    async def sign_in(self, credentials: Credentials) -> SignedIn:
        body = {name: value for name, value in vars(credentials).items() if value is not None}
        return _parsed(SignedIn, await self._call("POST", "/api/v1/auth/login", None, json=body))

    async def ways_in(self, tenant: str | None) -> Ways:
        query = {"tenant": tenant} if tenant else {}
        return _parsed(Ways, await self._call("GET", "/api/v1/auth/ways", None, params=query))

    async def begin_at_issuer(
        self, issuer: str, binding_sha256: str, *, tenant: str | None, link: str | None
    ) -> BegunSignIn:
        body = {"tenant": tenant, "link": link, "binding_sha256": binding_sha256}
        path = f"/api/v1/auth/oidc/{_segment(issuer)}/begin"
        return _parsed(BegunSignIn, await self._call("POST", path, None, json=body))

    async def finish_at_issuer(self, issuer: str, answer: dict[str, str]) -> SignedIn:
        path = f"/api/v1/auth/oidc/{_segment(issuer)}/finish"
        return _parsed(SignedIn, await self._call("POST", path, None, json=answer))

    async def look_at_link(self, link: str) -> FoundLink:
        return _parsed(FoundLink, await self._call("POST", "/api/v1/auth/links/look", None, json={"token": link}))

    async def use_link(self, link: str, new_password: str) -> SignedIn:
        body = {"token": link, "new_password": new_password}
        return _parsed(SignedIn, await self._call("POST", "/api/v1/auth/links/use", None, json=body))

    async def forgotten(self, email: str, tenant: str | None) -> None:
        await self._call("POST", "/api/v1/auth/forgotten", None, json={"email": email, "tenant": tenant})

    async def sign_up(self, email: str, tenant: str) -> None:
        await self._call("POST", "/api/v1/auth/sign-up", None, json={"email": email, "tenant": tenant})

    async def sign_out(self, token: str) -> None:
        await self._call("POST", "/api/v1/auth/logout", token)

    async def person(self, token: str) -> Person:
        return _parsed(Person, await self._call("GET", "/api/v1/me", token))

    def ask(
        self, token: str, question: str, conversation_id: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
        body = {"question": question} | ({"conversation_id": conversation_id} if conversation_id else {})
        return self._stream("/api/v1/chat", token, json=body)

    @asynccontextmanager
    async def _stream(self, path: str, token: str, **content: Any) -> AsyncGenerator[AsyncIterator[ChatEvent]]:
        timeout = httpx2.Timeout(30, connect=5, read=_SILENCE_SECONDS)
        try:
            async with self._client.sse(
                path, method="POST", headers=_bearer(token), timeout=timeout, **content
            ) as source:
                await _raise_for_problem(source.response)
                yield _events(source)
        except httpx2.HTTPError as error:
            raise _unreachable() from error

    async def cancel(self, token: str, request_id: str) -> None:
        await self._call("DELETE", f"/api/v1/chat/requests/{_segment(request_id)}", token)

    async def conversations(self, token: str) -> list[ConversationSummary]:
        found = await self._call("GET", "/api/v1/chat/conversations", token, params={"limit": _PAGE_SIZE})
        return _parsed(Listing[ConversationSummary], found).items

    async def conversation(self, token: str, conversation_id: str) -> Conversation:
        path = f"/api/v1/chat/conversations/{_segment(conversation_id)}"
        return _parsed(Conversation, await self._call("GET", path, token))

    async def submit(self, token: str, content_type: str, body: AsyncIterator[bytes]) -> Reply:
        headers = _bearer(token) | {"Content-Type": content_type}
        try:
            response = await self._client.post(
                "/api/v1/knowledge/documents", content=body, headers=headers, timeout=_SILENCE_SECONDS
            )
        except httpx2.HTTPError as error:
            raise _unreachable() from error
        return Reply(response.status_code, response.headers.get("content-type", ""), response.content)

    async def job(self, token: str, job_id: str) -> Job:
        return _parsed(Job, await self._call("GET", f"/api/v1/knowledge/jobs/{_segment(job_id)}", token))

    async def documents(self, token: str, name: str = "") -> list[Document]:
        query = {"limit": _PAGE_SIZE} | ({"name": name} if name else {})
        found = await self._call("GET", "/api/v1/knowledge/documents", token, params=query)
        return _parsed(Listing[Document], found).items

    async def delete_document(self, token: str, document_id: str) -> None:
        await self._call("DELETE", f"/api/v1/knowledge/documents/{_segment(document_id)}", token)

    async def teach(self, token: str, question: str, answer: str, access_level: str) -> Fix:
        body = {"question": question, "answer": answer, "access_level": access_level}
        return _parsed(Fix, await self._call("POST", "/api/v1/knowledge/fixes", token, json=body))

    async def fix(self, token: str, fix_id: str) -> Fix:
        return _parsed(Fix, await self._call("GET", f"/api/v1/knowledge/fixes/{_segment(fix_id)}", token))

    async def people(self, token: str, email: str) -> list[Person]:
        return _parsed(Listing[Person], await self._call("GET", "/api/v1/people", token, params={"email": email})).items

    async def explain(self, token: str, person_id: str, *, document: str = "", passage: str = "") -> Why:
        query = {"person": person_id} | ({"passage": passage} if passage else {"document": document})
        return _parsed(Why, await self._call("GET", "/api/v1/audit/explain", token, params=query))

    def find_leaks(self, operator_token: str) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
        return self._stream("/api/v1/selftest/leaks", operator_token)

    async def search_logs(self, token: str, search: LogSearch) -> LogPage:
        body = {
            "query": search.query,
            "start": search.start.isoformat(),
            "end": search.end.isoformat(),
            "limit": _LOG_LINES,
            "interval": search.interval_seconds,
        }
        return _parsed(LogPage, await self._call("POST", "/api/v1/logs/search", token, json=body))

    async def _call(self, method: str, path: str, token: str | None, **how: Any) -> Any:
        try:
            response = await self._client.request(method, path, headers=_bearer(token), **how)
        except httpx2.HTTPError as error:
            raise _unreachable() from error
        await _raise_for_problem(response)
        return response.json() if response.content else None


def _parsed(kind: type[M], answer: Any) -> M:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        detail = "The gateway answered in a shape that this page does not know."
        raise GatewayError(Problem(title="Not understood", status=502, detail=detail)) from error


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _segment(identifier: str) -> str:
    """The id, if it can be one part of a path and nothing else."""
    if not _ID.fullmatch(identifier):
        raise GatewayError(Problem(title="Not found", status=404, detail="There is no such thing."))
    return identifier


async def _events(source: httpx2.EventSource) -> AsyncIterator[ChatEvent]:
    try:
        async for event in source:
            yield ChatEvent.model_validate({"name": event.event, "data": event.json()})
    except httpx2.HTTPError as error:
        raise _unreachable() from error


async def _raise_for_problem(response: httpx2.Response) -> None:
    if response.is_success:
        return
    try:
        problem = Problem.model_validate_json(await response.aread())
    except ValidationError:
        problem = Problem(status=response.status_code, detail=f"The gateway answered {response.status_code}.")
    raise GatewayError(problem)


def _unreachable() -> GatewayError:
    detail = "The gateway cannot be reached. Try again in a moment."
    return GatewayError(Problem(title="Gateway unreachable", status=503, detail=detail))
