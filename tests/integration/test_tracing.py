"""One trace from the HTTP request to the answer, by W3C trace context."""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.passports import Holder
from sluice.access import Level, Right
from sluice.broker import Broker, Delivery
from sluice.errors import PermanentError, TransientError
from sluice.messages import DocumentSubmitted, QuestionAsked, QuestionGrounded
from sluice.settings import CommonSettings
from sluice.telemetry import JsonFormatter
from sluice.tracing import step
from tests.support.collector import Collector, Span, collecting
from tests.support.gateway import RunningGateway, all_events, completed, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
HEADER = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
ASKED = "questions.asked.v1.internal"
GROUNDED = "questions.grounded.v1.internal"
SUBMITTED = "documents.submitted.v1.internal"
ANSWERS = "answers.completed.v1"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(autouse=True)
def quick_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own setting: else each batch is waited for 5 s."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@asynccontextmanager
async def system(
    folder: Path, redis: RedisServer, office: Office, endpoint: str | None, *, failures: int = 0
) -> AsyncGenerator[RunningGateway]:
    """A gateway, and a retriever and an llm-router of few words; the retriever's index is away so many times."""
    common = CommonSettings(redis_url=redis.url, port=0, otlp_endpoint=endpoint, retry={"first_seconds": 0.05})
    retriever = Broker(common, service="retriever", verifier=office.verifier, keyring=office.keyring)
    router = Broker(common, service="llm-router", verifier=office.verifier, keyring=office.keyring)
    left = iter(range(failures))

    async def ground(message: QuestionAsked, _: Delivery) -> None:
        if next(left, None) is not None:
            raise TransientError("the index does not answer")
        with step("index.query", **{"db.system.name": "chroma"}):
            await asyncio.sleep(0)
        grounded = message.follow(QuestionGrounded, question=message.question, search_query=message.search_query)
        await retriever.publish(grounded)

    async def answer(message: QuestionGrounded, _: Delivery) -> None:
        await router.publish(completed(message, "Forty days."))

    retriever.consume(QuestionAsked, ground, lane=Level.INTERNAL)
    router.consume(QuestionGrounded, answer, lane=Level.INTERNAL)
    for broker in (retriever, router):
        await broker.start()
    settings = gateway_settings(folder, redis.url, otlp_endpoint=endpoint)
    async with running_gateway(settings, office) as running:
        yield running
    await asyncio.gather(router.stop(), retriever.stop())


async def ask(gateway: RunningGateway) -> list[tuple[str, Any, str]]:
    async with await gateway.admin() as admin:
        admin.headers.update(HEADER)
        return await all_events(admin, "Where does the zanzibar clause stand?")


def path_to(span: Span, spans: list[Span]) -> list[str]:
    """From the outermost to this one, `service: name` each."""
    parent = next((other for other in spans if other.span_id == span.parent_id), None)
    return [*(path_to(parent, spans) if parent else [span.parent_id]), f"{span.service}: {span.name}"]


async def test_one_trace_leads_from_the_request_through_every_hop_to_the_answer(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, collector: Collector
) -> None:
    async with system(tmp_path, empty_valkey, office, collector.url) as gateway:
        events = await ask(gateway)
    assert events[-1][0] == "done"
    spans = collector.trace(TRACE)
    last = next(span for span in spans if span.name == f"process {ANSWERS}")
    assert path_to(last, spans) == [
        CALLER,
        "gateway: POST /api/v1/chat",
        f"gateway: send {ASKED}",
        f"retriever: process {ASKED}",
        f"retriever: send {GROUNDED}",
        f"llm-router: process {GROUNDED}",
        f"llm-router: send {ANSWERS}",
        f"gateway: process {ANSWERS}",
    ]
    kinds = {span.name.partition(" ")[0]: span.kind for span in spans}
    assert kinds == {"POST": "SERVER", "send": "PRODUCER", "process": "CONSUMER", "index.query": "INTERNAL"}
    assert last.attributes == {
        "messaging.system": "redis",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": ANSWERS,
        "messaging.consumer.group.name": "gateway",
        "messaging.message.id": last.attributes["messaging.message.id"],
        "messaging.message.conversation_id": events[0][1]["request_id"],
        "sluice.attempt": 1,
        "sluice.outcome": "done",
    }
    query = next(span for span in spans if span.name == "index.query")
    assert path_to(query, spans)[-2] == f"retriever: process {ASKED}"


async def test_a_redelivery_is_a_second_span_beside_the_first_in_the_same_trace(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, collector: Collector
) -> None:
    async with system(tmp_path, empty_valkey, office, collector.url, failures=1) as gateway:
        assert (await ask(gateway))[-1][0] == "done"
    spans = collector.trace(TRACE)
    first, second = sorted(
        (span for span in spans if span.name == f"process {ASKED}"), key=lambda span: span.attributes["sluice.attempt"]
    )
    assert first.parent_id == second.parent_id
    assert [span.attributes["sluice.attempt"] for span in (first, second)] == [1, 2]
    assert [span.attributes["sluice.outcome"] for span in (first, second)] == ["delayed", "done"]
    assert (first.failed, first.attributes["error.type"], second.failed) == (True, "TransientError", False)
    answered = next(span for span in spans if span.name == f"process {ANSWERS}")
    assert second.span_id in {span.parent_id for span in spans if span.name == f"send {GROUNDED}"}
    assert f"retriever: process {ASKED}" in path_to(answered, spans)


async def test_no_span_holds_what_people_wrote_or_who_they_are(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, collector: Collector
) -> None:
    async with system(tmp_path, empty_valkey, office, collector.url, failures=1) as gateway:
        await ask(gateway)
        async with await gateway.admin() as admin:
            token = admin.headers["authorization"].partition(" ")[2]
            await admin.get("/api/v1/people/carl@example.com")
    sent = b"".join(collector.bodies)
    assert b"process questions.asked" in sent
    for secret in ("zanzibar", "Forty days", "@example.com", gateway.settings.admin_email, token, "does not answer"):
        assert secret.encode() not in sent


async def test_without_a_collector_the_ids_still_travel_and_stand_in_the_log_lines(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter("any", None).format(record))

    logger, handler = logging.getLogger("sluice"), Lines()
    logger.addHandler(handler)
    async with system(tmp_path, empty_valkey, office, None, failures=1) as gateway:
        assert (await ask(gateway))[-1][0] == "done"
    logger.removeHandler(handler)
    [failed] = [line for line in map(json.loads, lines) if line["event"] == "message.failed"]
    assert (failed["trace_id"], failed["span_id"]) == (TRACE, CALLER)


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{CALLER}-01-extra"])
async def test_who_brings_no_valid_trace_gets_a_new_one(
    gateway: RunningGateway, workers: Any, header: str, tmp_path: Path
) -> None:
    async with await gateway.admin() as admin:
        admin.headers["traceparent"] = header
        files = {"files": ("a.txt", f"unlike others {header}".encode())}
        assert (await admin.post("/api/v1/knowledge/documents", files=files)).status_code == 202
    submitted = await workers.take(DocumentSubmitted)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", submitted.traceparent)
    assert TRACE not in submitted.traceparent


async def test_a_job_that_is_sent_again_stays_in_the_trace_of_who_asked_for_it(
    gateway: RunningGateway, empty_valkey: RedisServer
) -> None:
    client = gateway.adapters.broker.redis
    async with await gateway.admin() as admin:
        admin.headers.update(HEADER)
        files = {"files": ("a.txt", b"text")}
        assert (await admin.post("/api/v1/knowledge/documents", files=files)).status_code == 202
    [(_, first)] = await client.xrange(SUBMITTED)
    await client.flushall()
    tenant = await gateway.services.accounts.tenant("default")
    found = await gateway.services.catalog.job(tenant.id, json.loads(first[b"__data__"])["request_id"])
    job, document = found
    holder = Holder(tenant=tenant.slug, subject=job.created_by, clearance=Level.INTERNAL, rights=frozenset(Right))
    await gateway.services.submit.publish(holder, document, job)
    [(_, again)] = await client.xrange(SUBMITTED)
    assert [json.loads(fields[b"__data__"])["traceparent"] for fields in (first, again)] == [HEADER["traceparent"]] * 2


async def test_a_collector_that_is_dead_or_silent_slows_nothing(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """One that takes the connection and never answers is the worse of the two."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with system(tmp_path, empty_valkey, office, endpoint) as gateway:
            started = time.monotonic()
            assert (await ask(gateway))[-1][0] == "done"
            assert time.monotonic() - started < 10  # its own timeout is 10 s
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 20  # twice 2 s and what they take without; the SDK would wait 30 s each


async def test_what_is_buried_fails_its_span_by_the_errors_class(
    empty_valkey: RedisServer, office: Office, collector: Collector
) -> None:
    settings = CommonSettings(
        redis_url=empty_valkey.url, port=0, otlp_endpoint=f"{collector.url}/", otlp_headers="x-token=a%20secret"
    )
    broker = Broker(settings, service="retriever", verifier=office.verifier, keyring=office.keyring)

    async def handler(_: QuestionAsked, __: Delivery) -> None:
        raise PermanentError("the zanzibar clause")

    broker.consume(QuestionAsked, handler, lane=Level.EXTERNAL)
    await broker.start()
    await broker.publish(office.message(QuestionAsked, question="q", search_query="q"))
    await until(lambda: broker.redis.xlen("{questions.asked.v1.external}:dead"))
    await broker.stop()
    [span] = [span for span in collector.spans if span.kind == "CONSUMER"]
    assert (span.failed, span.attributes["error.type"], span.attributes["sluice.outcome"]) == (
        True,
        "PermanentError",
        "dead",
    )
    [sent] = [span_ for span_ in collector.spans if span_.kind == "PRODUCER"]
    assert (span.trace_id, span.parent_id) == (sent.trace_id, sent.span_id)
    assert b"zanzibar" not in b"".join(collector.bodies)
    assert set(collector.tokens) == {"a secret"}
