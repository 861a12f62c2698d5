"""What the page needs from outside. Every method raises GatewayError."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sluice_frontend.models import (
    BegunSignIn,
    ChatEvent,
    Conversation,
    ConversationSummary,
    Document,
    Fix,
    FoundLink,
    Job,
    LogPage,
    Person,
    SignedIn,
    Ways,
    Why,
)


@dataclass(frozen=True)
class Credentials:
    email: str
    password: str
    tenant: str | None = None
    new_password: str | None = None


@dataclass(frozen=True)
class LogSearch:
    query: str
    start: datetime
    end: datetime
    interval_seconds: int
    """The length of a bar of the histogram."""


@dataclass(frozen=True)
class Reply:
    """An answer passed on as it came."""

    status: int
    content_type: str
    body: bytes


class Gateway(Protocol):
    async def ready(self) -> bool: ...

    async def sign_in(self, credentials: Credentials) -> SignedIn: ...

    async def ways_in(self, tenant: str | None) -> Ways: ...

    async def begin_at_issuer(
        self, issuer: str, binding_sha256: str, *, tenant: str | None, link: str | None
    ) -> BegunSignIn: ...

    async def finish_at_issuer(self, issuer: str, answer: dict[str, str]) -> SignedIn: ...

    async def look_at_link(self, link: str) -> FoundLink: ...

    async def use_link(self, link: str, new_password: str) -> SignedIn: ...

    async def forgotten(self, email: str, tenant: str | None) -> None: ...

    async def sign_up(self, email: str, tenant: str) -> None: ...

    async def sign_out(self, token: str) -> None: ...

    async def person(self, token: str) -> Person: ...

    def ask(
        self, token: str, question: str, conversation_id: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]: ...

    async def cancel(self, token: str, request_id: str) -> None: ...

    async def conversations(self, token: str) -> list[ConversationSummary]: ...

    async def conversation(self, token: str, conversation_id: str) -> Conversation: ...

    async def submit(self, token: str, content_type: str, body: AsyncIterator[bytes]) -> Reply: ...

    async def job(self, token: str, job_id: str) -> Job: ...

    async def documents(self, token: str, name: str = "") -> list[Document]:
        """All, or those with this in their names."""
        ...

    async def delete_document(self, token: str, document_id: str) -> None: ...

    async def teach(self, token: str, question: str, answer: str, access_level: str) -> Fix: ...

    async def fix(self, token: str, fix_id: str) -> Fix: ...

    async def people(self, token: str, email: str) -> list[Person]: ...

    async def explain(self, token: str, person_id: str, *, document: str = "", passage: str = "") -> Why:
        """Of a document or a passage."""
        ...

    def find_leaks(self, operator_token: str) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
        """Runs the leak self-test, as long as somebody listens."""
        ...

    async def search_logs(self, token: str, search: LogSearch) -> LogPage: ...
