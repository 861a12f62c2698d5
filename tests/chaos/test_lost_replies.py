"""The broker took a message, and the answer to its publication was lost: the message has one effect."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import redis

from sluice.access import Level
from sluice.broker import Broker, Delivery
from sluice.messages import DocumentSubmitted, QuestionAsked
from sluice.settings import CommonSettings
from tests.chaos.conftest import Pick
from tests.chaos.queue import STREAM, settings
from tests.chaos.report import Figures
from tests.support.gateway import ADMIN_PASSWORD, RunningGateway, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.proxy import proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"


@pytest.mark.timeout(120)
async def test_a_message_whose_publication_got_no_answer_is_handled_once_though_it_is_published_again(
    valkey: RedisServer, office: Office, figures: Figures, pick: Pick
) -> None:
    handled: Counter[str] = Counter()

    async def handler(message: QuestionAsked, _: Delivery) -> None:
        handled[message.request_id] += 1

    client = redis.Redis(port=valkey.port)
    client.flushall()
    messages = [
        office.message(QuestionAsked, question=str(n), search_query=str(n), seconds=600) for n in range(pick(20, 1000))
    ]
    consumer = Broker(settings(valkey), service="retriever", verifier=office.verifier, keyring=office.keyring)
    consumer.consume(QuestionAsked, handler, lane=Level.EXTERNAL, concurrency=4, prefetch=4)
    async with proxy(valkey.port) as between:
        sender = Broker(
            CommonSettings(redis_url=between.url, port=0),
            service="gateway",
            verifier=office.verifier,
            keyring=office.keyring,
        )
        for message in messages:
            between.lose(message.message_id.encode())
            await until(lambda m=message: _published(sender, m), seconds=30, what="an answer to the publication")
        figures.faults = between.lost
        figures.duplicated = client.xlen(STREAM) - len(messages)
        await consumer.start()
        await until(lambda: len(handled) == len(messages), seconds=60, what="all handled")
        await until(lambda: client.xlen(STREAM) == 0, what="an empty stream")
        await sender.stop()
        await consumer.stop()
    figures.requests = len(messages)
    figures.duplicated += sum(times - 1 for times in handled.values())
    figures.lost = len(messages) - len(handled)
    assert figures.faults == len(messages)
    assert figures.clean


async def _published(sender: Broker, message: QuestionAsked) -> bool:
    await sender.publish(message)
    return True


@pytest.mark.timeout(120)
async def test_an_upload_whose_message_got_no_answer_is_accepted_and_becomes_one_job(
    valkey: RedisServer, office: Office, tmp_path: Path, figures: Figures, pick: Pick
) -> None:
    """The gateway's reconciler publishes it again, and nobody handles it twice."""
    handled: Counter[str] = Counter()
    client = redis.Redis(port=valkey.port)
    client.flushall()
    async with proxy(valkey.port) as between:
        workers = Workers(gateway_settings(tmp_path, valkey.url), office)
        workers.listen(DocumentSubmitted)
        changed = gateway_settings(tmp_path, between.url)
        async with running_gateway(changed, office) as gateway:
            admin = await gateway.sign_in(changed.admin_email, ADMIN_PASSWORD)
            told: list[str] = []
            for number in range(pick(5, 100)):
                between.lose(DocumentSubmitted.stream.encode())
                told.append(await _upload(admin, number))
            await until(lambda: _all_published(gateway), what="all noted as published")
            figures.duplicated = client.xlen(DocumentSubmitted.stream_of(Level.INTERNAL)) - len(told)
            await workers.broker.start()
            while len(handled) < len(told):
                handled[(await workers.take(DocumentSubmitted)).request_id] += 1
            await admin.aclose()
        while not workers.idle():
            handled[(await workers.take(DocumentSubmitted)).request_id] += 1
        await workers.broker.stop()
        figures.faults, figures.requests = between.lost, len(told)
    figures.duplicated += sum(times - 1 for times in handled.values()) + len(set(handled) - set(told))
    figures.lost = len(set(told) - set(handled))
    assert figures.faults == len(told)
    assert figures.clean


async def _upload(client: httpx2.AsyncClient, number: int) -> str:
    response = await client.post(DOCUMENTS, files=[("files", (f"{number}.txt", f"Text {number}.".encode()))])
    assert response.status_code == 202, response.text
    return response.json()["jobs"][0]["job_id"]


async def _all_published(gateway: RunningGateway) -> bool:
    return not await gateway.services.catalog.unpublished(datetime.now(UTC) + timedelta(minutes=1))
