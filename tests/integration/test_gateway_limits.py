"""More than may be open: 429, and nothing of it is accepted."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from sluice.messages import DocumentProgress, DocumentSubmitted, FixIndexed, FixTaught, JobState, QuestionAsked
from tests.support.gateway import CHAT, RunningGateway, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

DOCUMENTS = "/api/v1/knowledge/documents"
FIXES = "/api/v1/knowledge/fixes"


@pytest.fixture
async def narrow(any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office) -> Any:
    """Settings of a gateway that takes little, on SQLite and on PostgreSQL."""
    return gateway_settings(
        tmp_path,
        empty_valkey.url,
        database_url=SecretStr(any_sql_url),
        max_tenant_documents=2,
        max_tenant_questions=1,
        max_tenant_fixes=1,
    )


async def _upload(client: httpx2.AsyncClient, *names: str) -> httpx2.Response:
    return await client.post(DOCUMENTS, files=[("files", (name, name.encode())) for name in names])


def _is_refused(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json"), answer.text
    assert answer.json()["type"] == "urn:sluice:problem:backlog-full"
    assert int(answer.headers["retry-after"]) > 0


async def test_documents_beyond_the_limit_are_refused_whole_also_after_a_restart_until_one_ends(
    narrow: Any, office: Office, workers: Workers
) -> None:
    async with running_gateway(narrow, office) as gateway, await gateway.admin() as admin:
        assert (await _upload(admin, "a.txt")).status_code == 202
        _is_refused(await _upload(admin, "b.txt", "c.txt"))
        assert [item["name"] for item in (await admin.get(DOCUMENTS)).json()["items"]] == ["a.txt"]
        assert (await _upload(admin, "b.txt")).status_code == 202
        _is_refused(await _upload(admin, "c.txt"))
        await gateway.add_tenant("other")
        async with await gateway.person("somebody@example.org", "upload", tenant="other") as somebody:
            answer = await somebody.post(
                DOCUMENTS, files=[("files", ("d.txt", b"d")), ("access_level", (None, "EXTERNAL"))]
            )
            assert answer.status_code == 202, "another tenant has a limit of its own"
    async with running_gateway(narrow, office) as gateway, await gateway.admin() as admin:
        _is_refused(await _upload(admin, "c.txt"))
        assert (await admin.get("/readyz")).status_code == 200
        submitted = await workers.take(DocumentSubmitted)
        done = submitted.follow(DocumentProgress, document=submitted.document, state=JobState.DONE, chunk_count=1)
        await workers.broker.publish(done)
        await until(lambda: _accepted(admin), what="room for the next document")


async def _accepted(client: httpx2.AsyncClient) -> bool:
    return (await _upload(client, "c.txt")).status_code == 202


async def test_questions_beyond_the_limit_are_refused_until_one_is_answered(
    narrow: Any, office: Office, workers: Workers
) -> None:
    async with (
        running_gateway(narrow, office) as gateway,
        await gateway.admin() as admin,
        admin.stream("POST", CHAT, json={"question": "How long?"}) as answer,
    ):
        assert answer.status_code == 200
        _is_refused(await admin.post(CHAT, json={"question": "How long again?"}))
        assert len((await admin.get("/api/v1/chat/conversations")).json()["items"]) == 1
        await workers.answer(await workers.take(QuestionAsked))
        await answer.aread()
        async with AsyncExitStack() as stack:
            next_one = admin.stream("POST", CHAT, json={"question": "And now?"})
            assert (await stack.enter_async_context(next_one)).status_code == 200


async def test_fixes_beyond_the_limit_are_refused_until_one_is_indexed(
    narrow: Any, office: Office, workers: Workers
) -> None:
    async with running_gateway(narrow, office) as gateway, await gateway.admin() as admin:
        fix = {"question": "How long?", "answer": "Forty days."}
        assert (await admin.post(FIXES, json=fix)).status_code == 202
        _is_refused(await admin.post(FIXES, json=fix))
        taught = await workers.take(FixTaught)
        await workers.broker.publish(taught.follow(FixIndexed, fix=taught.fix, state="active"))
        await until(lambda: _taught(admin, fix), what="room for the next fix")
        assert len((await admin.get(FIXES)).json()["items"]) == 2


async def _taught(client: httpx2.AsyncClient, fix: dict[str, str]) -> bool:
    return (await client.post(FIXES, json=fix)).status_code == 202


async def test_refusals_are_counted_by_what_was_asked_and_why(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, max_open_documents=1, max_tenant_documents=5)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        before = await _refusals(gateway)
        _is_refused(await _upload(admin, "a.txt", "b.txt"))
        assert await _refusals(gateway) == before + 1


async def _refusals(gateway: RunningGateway) -> float:
    async with gateway.client() as client:
        metrics = (await client.get("/metrics")).text
    series = 'sluice_refused_total{asked="documents",reason="backlog-overall"} '
    return sum(float(line.removeprefix(series)) for line in metrics.splitlines() if line.startswith(series))
