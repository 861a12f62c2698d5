"""A gateway served by a real uvicorn in the test's own loop, and the workers' side of its streams."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import uvicorn
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.adapters.passwords import Argon2Passwords
from gateway.app import Adapters, create_app
from gateway.database import Database
from gateway.services import Services
from gateway.settings import GatewaySettings
from sluice.access import Level
from sluice.blobs import BlobStore
from sluice.broker import Broker, Delivery
from sluice.heads import BoundedHeads
from sluice.messages import AnswerCompleted, Message, Passage, QuestionAsked, QuestionFollowedUp
from sluice.replies import Event
from sluice.sealing import KeyFile, Keyring
from sluice.settings import CommonSettings
from tests.support.identity import Office
from tests.support.ports import free_port
from tests.support.waiting import until

M = TypeVar("M", bound=Message)
CHAT = "/api/v1/chat"
ADMIN_PASSWORD = "a first admin's password"
OPERATOR_TOKEN = "operators-0123456789-abcdefghijklmnop"
_LEVEL_KEYS = {level: [KeyFile(bytes([number]) * 32)] for number, level in enumerate(Level)}


class Workers:
    """Takes what the gateway publishes, and answers as the workers do."""

    def __init__(self, settings: CommonSettings, office: Office) -> None:
        self.broker = Broker(settings, service="workers", verifier=office.verifier, keyring=office.keyring)
        self._verifier = office.verifier
        self._taken: dict[str, asyncio.Queue[Any]] = {}

    def listen(self, *kinds: type[Message]) -> None:
        for kind in kinds:
            for lane in Level if kind.laned else (None,):
                stream = kind.stream_of(lane) if lane else kind.stream
                queue = self._taken[stream] = asyncio.Queue[Any]()
                self.broker.consume(kind, _put(queue), lane=lane)

    async def take(self, kind: type[M], lane: Level = Level.INTERNAL) -> M:
        """The next message of the stream."""
        return await asyncio.wait_for(self._taken[kind.stream_of(lane)].get(), 20)

    async def next(self, kind: type[M], lane: Level = Level.INTERNAL) -> M:
        """The same, however long it takes."""
        return await self._taken[kind.stream_of(lane)].get()

    def idle(self) -> bool:
        """Nothing came that was not taken."""
        return all(queue.empty() for queue in self._taken.values())

    async def answer(
        self, asked: QuestionAsked | QuestionFollowedUp, text: str = "Forty days [1].", *, level: Level = Level.EXTERNAL
    ) -> None:
        """What retriever and llm-router do: sources and tokens on the reply log, then the completed answer."""
        passport = self._verifier.verify(
            asked.passport, stream=AnswerCompleted.stream, job=asked.request_id, asked=asked.asked
        )
        passage = Passage(
            chunk_id="chunk-1", document_id="document-1", title="Guide", access_level=level, text="Forty days.", page=3
        )
        writer = self.broker.replies.writer(passport.tenant, passport.clearance, asked.request_id, 1)
        await writer.append(Event("sources", {"passages": [passage.model_dump(mode="json")]}))
        for word in text.split(" "):
            await writer.append(Event("token", {"text": word, "attempt": 1}))
        await self.broker.publish(completed(asked, text, level=level, passages=(passage,)))


def completed(asked: Message, text: str, **fields: Any) -> AnswerCompleted:
    values: dict[str, Any] = {"tier": "extractive", "finish_reason": "stop", "citations": (1,), "level": Level.EXTERNAL}
    question: Any = asked
    return asked.follow(AnswerCompleted, question=question.question, text=text, **{**values, **fields})


def _put(queue: "asyncio.Queue[Any]") -> Any:
    async def handle(message: Any, _: Delivery) -> None:
        await queue.put(message)

    return handle


@dataclass
class RunningGateway:
    url: str
    settings: GatewaySettings
    adapters: Adapters
    office: Office
    services: Services

    def client(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """One that waits for up to 40 s, and remembers nothing but the token."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=40, trust_env=False)

    async def sign_in(self, email: str, password: str, **more: str) -> httpx2.AsyncClient:
        async with self.client() as client:
            answer = await client.post("/api/v1/auth/login", json={"email": email, "password": password, **more})
        assert answer.status_code == 200, answer.text
        return self.client(answer.json()["access_token"])

    async def admin(self) -> httpx2.AsyncClient:
        return await self.sign_in(self.settings.admin_email, ADMIN_PASSWORD)

    async def operator(self) -> httpx2.AsyncClient:
        return self.client(OPERATOR_TOKEN)

    async def add_tenant(self, slug: str) -> None:
        async with self.client(OPERATOR_TOKEN) as operator:
            answer = await operator.post("/api/v1/tenants", json={"slug": slug, "name": slug.title()})
        assert answer.status_code == 201, answer.text

    async def person(self, email: str, *rights: str, tenant: str = "default") -> httpx2.AsyncClient:
        """A new person who has chosen a password and signed in."""
        async with self.client(OPERATOR_TOKEN) as operator:
            body = {"email": email, "rights": list(rights)}
            answer = await operator.post(f"/api/v1/tenants/{tenant}/people", json=body)
        assert answer.status_code == 201, answer.text
        one_time = answer.json()["one_time_password"]
        return await self.sign_in(email, one_time, new_password=f"a password of {email}", tenant=tenant)


def gateway_settings(folder: Path, redis_url: str, **changes: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "state_dir": folder,
        "redis_url": SecretStr(redis_url),
        "port": free_port(),
        "admin_password": SecretStr(ADMIN_PASSWORD),
        "resume_grace_seconds": 1.0,
        "reconcile_seconds": 0.1,
        "reconcile_after_seconds": 0,
        "lost_after_seconds": 600,  # workers that a test plays tell nothing
        "shutdown_grace_seconds": 2,
        "person_requests_per_minute": 0,
        "key_requests_per_minute": 0,
        "tenant_requests_per_minute": 0,
        "person_questions_per_minute": 0,
        "person_questions_per_day": 0,
        "tenant_questions_per_minute": 0,
    }
    return GatewaySettings(**{**values, **changes})


def cheap_passwords() -> Argon2Passwords:
    """Real ones that take a millisecond."""
    return Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))


def gateway_adapters(settings: GatewaySettings, office: Office) -> Adapters:
    keyring = Keyring(_LEVEL_KEYS, settings.data_keys_dir)
    return Adapters(
        database=Database(settings.sql_url),
        broker=Broker(settings, service="gateway", verifier=office.verifier, keyring=office.keyring),
        blobs=BlobStore(settings.data_dir / "blobs", keyring),
        keyring=keyring,
        passwords=cheap_passwords(),
        signer=office.signer,
        verifier=office.verifier,
        operator_token=OPERATOR_TOKEN,
    )


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, office: Office, *, rewire: Callable[[Services], Services] | None = None, **replaced: Any
) -> AsyncGenerator[RunningGateway]:
    """`rewire` gives routes other use cases: so a test takes a check away."""
    adapters = replace(gateway_adapters(settings, office), **replaced)
    app = create_app(settings, adapters=adapters)
    if rewire:
        app.state.services = rewire(app.state.services)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedHeads,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started or serving.done(), seconds=40, what="the gateway's start")
    if serving.done():
        raise AssertionError("the gateway did not start") from serving.exception()
    try:
        yield RunningGateway(f"http://127.0.0.1:{settings.port}", settings, adapters, office, app.state.services)
    finally:
        server.should_exit = True
        await serving


async def create_database(server_url: str, name: str) -> str:
    """A new, empty PostgreSQL database's URL."""
    engine = create_async_engine(f"{server_url}postgres", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f'CREATE DATABASE "{name}"'))
    await engine.dispose()
    return f"{server_url}{name}"


async def events_of(answer: httpx2.Response) -> AsyncGenerator[tuple[str, Any, str]]:
    """Server-sent events as (name, data, id); a comment is (":", text, "")."""
    name, data, event_id = "", "", ""
    async for line in answer.aiter_lines():
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and name:
            yield name, json.loads(data), event_id
            name, data, event_id = "", "", ""
        elif line.startswith(":"):
            yield ":", value, ""
        elif key in ("event", "data", "id"):
            name, data, event_id = (
                value if key == "event" else name,
                value if key == "data" else data,
                value if key == "id" else event_id,
            )


async def all_events(client: httpx2.AsyncClient, question: str, **body: Any) -> list[tuple[str, Any, str]]:
    async with client.stream("POST", CHAT, json={"question": question, **body}) as answer:
        assert answer.status_code == 200
        return [event async for event in events_of(answer)]
