"""A client that gives nothing up: it asks again under the same key, and goes on where its stream broke off."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.chaos.ledger import Ledger, Request
from tests.support.gateway import events_of

DOCUMENTS = "/api/v1/knowledge/documents"
JOBS = "/api/v1/knowledge/jobs"
CHAT = "/api/v1/chat"
_AGAIN = (429, 502, 503, 504)
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


class Client:
    """One person's client of one or more gateways; `patience` is how long it tries, in seconds."""

    def __init__(self, token: str, urls: Sequence[str], ledger: Ledger, *, patience: float = 120) -> None:
        self.ledger = ledger
        self._urls = list(urls)
        self._patience = patience
        self._http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(40, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def upload(self, name: str, content: str, *, level: str = "INTERNAL") -> Request:
        """Sends a document, and follows its job to the end."""
        request = self.ledger.send("document", name)
        await self._patiently(self._upload(request, content, level))
        return request

    async def submit(self, request: Request, content: str, *, level: str = "INTERNAL") -> None:
        """Sends a document, under the request's key, until it is told that it was accepted."""
        await self._patiently(self._submit(request, content, level))

    async def follow(self, request: Request) -> None:
        """Waits for the end of a document's job."""
        await self._patiently(self._follow_job(request))

    async def ask(self, question: str) -> Request:
        """Asks a question in a conversation of its own, and follows the answer to the end."""
        request = self.ledger.send("chat", question)
        await self._patiently(self._ask(request))
        return request

    async def get(self, path: str, **parameters: Any) -> Any:
        answer: list[Any] = []

        async def get() -> None:
            response = await self._insist("GET", path, params=parameters)
            assert response.status_code == 200, response.text
            answer.append(response.json())

        await self._patiently(get())
        assert answer, f"GET {path} was not answered in {self._patience:g} s"
        return answer[0]

    async def items(self, path: str) -> list[Any]:
        """All of a list."""
        page = await self.get(path, limit=100)
        items = list(page["items"])
        while page["next_cursor"]:
            page = await self.get(path, limit=100, cursor=page["next_cursor"])
            items += page["items"]
        return items

    async def once(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Whatever is answered first."""
        return await self._http.request(method, self._urls[0] + path, **options)

    async def replay(self, request: Request) -> list[tuple[str, Any, str]]:
        """A chat's reply log from its beginning, without `accepted`."""
        path = f"{CHAT}/requests/{request.id}/events"
        response = await self._insist("GET", path, headers={"Last-Event-ID": "0-0"})
        assert response.status_code == 200, response.text
        return [event async for event in events_of(response)]

    async def _patiently(self, work: Any) -> None:
        """Whatever has not come by then is not answered: the ledger says so."""
        try:
            async with asyncio.timeout(self._patience):
                await work
        except TimeoutError:
            return

    async def _upload(self, request: Request, content: str, level: str) -> None:
        await self._submit(request, content, level)
        await self._follow_job(request)

    async def _submit(self, request: Request, content: str, level: str) -> None:
        parts: list[Any] = [("files", (request.name, content.encode())), ("access_level", (None, level))]
        response = await self._insist("POST", DOCUMENTS, headers={"Idempotency-Key": request.key}, files=parts)
        assert response.status_code == 202, response.text
        [job] = response.json()["jobs"]
        request.accept(job["job_id"])
        request.document_id = job["document_id"]
        self.ledger.moments += 1

    async def _follow_job(self, request: Request) -> None:
        await self._follow(request, lambda: self._stream("GET", f"{JOBS}/{request.id}/events"))

    async def _ask(self, request: Request) -> None:
        def open_stream() -> Any:
            if request.id is None:
                headers = {"Idempotency-Key": request.key}
                return self._stream("POST", CHAT, headers=headers, json={"question": request.name})
            headers = {"Last-Event-ID": request.last_id} if request.last_id else {}
            return self._stream("GET", f"{CHAT}/requests/{request.id}/events", headers=headers)

        await self._follow(request, open_stream)

    async def _follow(self, request: Request, open_stream: Any) -> None:
        """Opens the stream again and again until the end was told."""
        while not request.ends:
            try:
                async with open_stream() as response:
                    if response is not None:
                        await self._read(request, response)
            except httpx2.TransportError:
                await self._elsewhere()
            request.breaks += not request.ends

    async def _read(self, request: Request, response: httpx2.Response) -> None:
        async for event in events_of(response):
            if event[0] == ":":
                continue
            self.ledger.take(request, event)
            if event[0] == "accepted":
                request.accept(event[1]["request_id"])
                request.conversation_id = event[1]["conversation_id"]

    @asynccontextmanager
    async def _stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx2.Response | None]:
        """The open stream, or None after a pause when the system said to come back later."""
        async with self._http.stream(method, self._urls[0] + path, **options) as response:
            if response.status_code in _AGAIN:
                await asyncio.sleep(_pause(response))
                yield None
            else:
                if response.status_code != 200:
                    await response.aread()
                assert response.status_code == 200, f"{response.status_code} {response.text}"
                yield response

    async def _insist(self, method: str, path: str, **options: Any) -> httpx2.Response:
        while True:
            try:
                response = await self._http.request(method, self._urls[0] + path, **options)
            except httpx2.TransportError:
                await self._elsewhere()
            else:
                if response.status_code not in _AGAIN:
                    return response
                await asyncio.sleep(_pause(response))

    async def _elsewhere(self) -> None:
        self._urls.append(self._urls.pop(0))
        await asyncio.sleep(_PAUSE_SECONDS)


def _pause(response: httpx2.Response) -> float:
    after = response.headers.get("retry-after", "")
    return min(float(after) if after.isdecimal() else 0.3, _LONGEST_PAUSE_SECONDS)
