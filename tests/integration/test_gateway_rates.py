"""How often somebody may ask, and how much a tenant may store."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gateway.rates import Rates
from gateway.services import Services
from tests.support.gateway import CHAT, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.producer import make_key
from tests.support.servers import RedisServer, running, valkey_server

DOCUMENTS = "/api/v1/knowledge/documents"
ME = "/api/v1/me"


async def _upload(client: httpx2.AsyncClient, **files: bytes) -> httpx2.Response:
    return await client.post(DOCUMENTS, files=[("files", (f"{name}.txt", data)) for name, data in files.items()])


def _is_limited(answer: httpx2.Response, name: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json"), answer.text
    assert answer.json()["type"] == "urn:sluice:problem:rate-limited"
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert f'"{name}";r=0;t={answer.headers["retry-after"]}' in answer.headers["ratelimit"]


def _in_one_window(services: Services) -> Services:
    """No window ends while a test counts."""
    return replace(services, rates=Rates(services.rates.counts, services.settings, clock=lambda: 5.0))


async def test_a_persons_requests_are_counted_by_all_gateways_together_and_told(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    first = gateway_settings(tmp_path, empty_valkey.url, person_requests_per_minute=3, tenant_requests_per_minute=100)
    second = gateway_settings(tmp_path, empty_valkey.url, person_requests_per_minute=3, tenant_requests_per_minute=100)
    async with (
        running_gateway(first, office, rewire=_in_one_window) as one,
        running_gateway(second, office, rewire=_in_one_window) as other,
        await one.admin() as admin,
        await one.person("other@razorpay.com", "read") as somebody,
    ):
        answer = await admin.get(ME)
        assert answer.headers["ratelimit-policy"] == '"person";q=3;w=60, "tenant";q=100;w=60'
        assert re.fullmatch(r'"person";r=2;t=\d+, "tenant";r=99;t=\d+', answer.headers["ratelimit"])
        token = admin.headers["authorization"].removeprefix("Bearer ")
        async with other.client(token) as elsewhere:
            assert (await elsewhere.get(ME)).status_code == 200
            assert (await admin.get(ME)).status_code == 200
            _is_limited(await elsewhere.get(ME), "person")
        _is_limited(await admin.get(ME), "person")
        theirs = await somebody.get(ME)
        assert theirs.status_code == 200
        assert '"tenant";r=96' in theirs.headers["ratelimit"], "who is over their limit takes nothing from others"


async def test_a_key_and_a_tenant_have_limits_of_their_own(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, key_requests_per_minute=2, tenant_requests_per_minute=5)
    async with running_gateway(settings, office, rewire=_in_one_window) as gateway, await gateway.admin() as admin:
        made = await make_key(admin)
        async with gateway.client(made["key"]) as program:
            for _ in range(2):
                assert (await program.get(ME)).status_code == 200
            _is_limited(await program.get(ME), "key")
        for _ in range(2):
            assert (await admin.get(ME)).status_code == 200
        _is_limited(await admin.get(ME), "tenant")
        await gateway.add_tenant("acme")
        async with await gateway.person("a@razorpay.com", "read", tenant="acme") as neighbour:
            assert (await neighbour.get(ME)).status_code == 200


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("person_questions_per_minute", "person-questions"),
        ("person_questions_per_day", "person-questions-day"),
        ("tenant_questions_per_minute", "tenant-questions"),
    ],
)
async def test_questions_beyond_the_limit_are_refused_and_cost_nothing(
    limit: str, name: str, tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    changes: dict[str, Any] = {limit: 1}
    settings = gateway_settings(tmp_path, empty_valkey.url, **changes)
    async with running_gateway(settings, office, rewire=_in_one_window) as gateway, await gateway.admin() as admin:
        async with admin.stream("POST", CHAT, json={"question": "Why?"}) as answer:
            assert answer.status_code == 200
            assert f'"{name}";r=0' in answer.headers["ratelimit"]
        _is_limited(await admin.post(CHAT, json={"question": "And now?"}), name)
        assert len((await admin.get(f"{CHAT}/conversations")).json()["items"]) == 1
        assert (await admin.get(ME)).status_code == 200


async def test_without_redis_nobody_is_counted_and_what_needs_no_redis_goes_on(tmp_path: Path, office: Office) -> None:
    server = valkey_server(tmp_path / "valkey")
    with running(server):
        settings = gateway_settings(tmp_path, server.url, person_requests_per_minute=1)
        async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
            assert (await admin.get(ME)).status_code == 200
            server.kill()
            for _ in range(3):
                assert (await admin.get(ME)).status_code == 200


async def test_a_tenant_stores_so_much_and_a_deletion_frees_it(
    any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """On SQLite and on PostgreSQL; what is refused names limit and use, and leaves nothing behind."""
    settings = gateway_settings(
        tmp_path, empty_valkey.url, database_url=SecretStr(any_sql_url), tenant_storage_bytes=10
    )
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        job = (await _upload(admin, a=b"12345678")).json()["jobs"][0]
        refused = await _upload(admin, b=b"123")
        assert (refused.status_code, refused.json()["type"]) == (413, "urn:sluice:problem:storage-full")
        assert "8 bytes, at most 10 may be" in refused.json()["detail"]
        assert (await _upload(admin, a=b"1234567890")).status_code == 202, "it takes the place of the one before"
        assert (await _upload(admin, b=b"1", c=b"2")).status_code == 413
        assert len((await admin.get(DOCUMENTS)).json()["items"]) == 1
        await gateway.add_tenant("acme")
        async with await gateway.person("a@razorpay.com", "upload", tenant="acme") as neighbour:
            assert (await _upload(neighbour, a=b"12345678")).status_code == 202
        assert (await admin.delete(f"{DOCUMENTS}/{job['document_id']}")).status_code == 202
        assert (await _upload(admin, d=b"1234567890")).status_code == 202


async def test_uploads_at_once_do_not_go_over_the_limit_together(
    any_sql_url: str, tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(
        tmp_path, empty_valkey.url, database_url=SecretStr(any_sql_url), tenant_storage_bytes=10
    )
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        statuses: list[int] = []

        async def upload(number: int) -> None:
            statuses.append((await _upload(admin, **{f"f{number}": b"1234"})).status_code)

        await asyncio.gather(*(upload(number) for number in range(6)))
        assert sorted(statuses) == [202, 202, 413, 413, 413, 413]
