"""The HTTP API as a person's client uses it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.support.waiting import wait_for


@dataclass
class Answer:
    """What one question came to: all its events, in order, as (name, data, id)."""

    events: list[tuple[str, Any, str]] = field(default_factory=list[tuple[str, Any, str]])

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.events]

    @property
    def text(self) -> str:
        """The shown text: a restart begins anew."""
        last_restart = max((i for i, name in enumerate(self.names) if name == "restart"), default=0)
        return "".join(data["text"] for name, data, _ in self.events[last_restart:] if name == "token")

    @property
    def sources(self) -> list[Any]:
        return self.of("sources")["passages"]

    @property
    def cited(self) -> list[Any]:
        """The passages that the answer cites."""
        return [passage for passage in self.sources if passage["n"] in self.done["citations"]]

    @property
    def done(self) -> Any:
        return self.of("done")

    @property
    def request_id(self) -> str:
        return self.of("accepted")["request_id"]

    @property
    def conversation_id(self) -> str:
        return self.of("accepted")["conversation_id"]

    def of(self, name: str) -> Any:
        found = [data for event, data, _ in self.events if event == name]
        assert found, f"no {name} among {self.names}: {self.events[-1:]}"
        return found[-1]


class Person:
    """Somebody who is signed in."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )

    @classmethod
    def sign_in(cls, url: str, email: str, password: str, *, new_password: str | None = None, tenant: str = "") -> Self:
        body = {"email": email, "password": password}
        body |= {"new_password": new_password} if new_password else {}
        body |= {"tenant": tenant} if tenant else {}
        response = httpx2.post(f"{url}/api/v1/auth/login", json=body, timeout=30, trust_env=False)
        assert response.status_code == 200, response.text
        return cls(url, response.json()["access_token"])

    @contextmanager
    def asking(self, question: str, conversation_id: str | None = None) -> Iterator[Iterator[tuple[str, Any, str]]]:
        """The events of a question while they come."""
        body = {"question": question} | ({"conversation_id": conversation_id} if conversation_id else {})
        with self.http.stream("POST", "/api/v1/chat", json=body) as response:
            if response.status_code != 200:
                response.read()
                raise AssertionError(response.text)
            yield events_of(response.iter_lines())

    def ask(self, question: str, conversation_id: str | None = None) -> Answer:
        with self.asking(question, conversation_id) as events:
            return Answer(list(events))

    def upload(self, *files: Path, level: str = "INTERNAL", urls: tuple[str, ...] = ()) -> list[Any]:
        """Uploads, and waits until every job has ended; gives the jobs."""
        parts: list[Any] = [("files", (file.name, file.read_bytes())) for file in files]
        parts += [("urls", (None, url)) for url in urls]
        parts.append(("access_level", (None, level)))
        response = self.http.post("/api/v1/knowledge/documents", files=parts)
        assert response.status_code == 202, response.text
        return [{**job, **self.wait(job["job_id"])} for job in response.json()["jobs"]]

    def wait(self, job_id: str, *, seconds: float = 60) -> Any:
        """The job when it has ended."""

        def ended() -> Any:
            job = self.http.get(f"/api/v1/knowledge/jobs/{job_id}").json()
            return job if job["state"] in ("done", "failed", "deleted") else None

        return wait_for(ended, f"the end of job {job_id}", seconds=seconds)


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any, str]]:
    """Server-sent events as (name, data, id); comments are passed over."""
    name, data, event_id = "", "", ""
    for line in lines:
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and name:
            yield name, json.loads(data), event_id
            name, data, event_id = "", "", ""
        elif key == "event":
            name = value
        elif key == "data":
            data += value
        elif key == "id":
            event_id = value
