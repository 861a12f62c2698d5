"""Tenants suspended and resumed by operators; sessions ended everywhere; addresses that failed logins lock."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.errors import LoginRefusedError
from gateway.login import begin_session
from gateway.models import audit, jobs
from sluice.access import Level
from sluice.messages import BulkDocumentSubmitted, QuestionAsked
from sluice.replies import Event
from tests.support.gateway import (
    ADMIN_PASSWORD,
    CHAT,
    OPERATOR_TOKEN,
    RunningGateway,
    Workers,
    events_of,
    gateway_settings,
    running_gateway,
)
from tests.support.identity import Office
from tests.support.producer import make_key
from tests.support.servers import RedisServer

API = "/api/v1"
LOGIN = f"{API}/auth/login"
ADMIN = {"email": "admin@razorpay.com", "password": ADMIN_PASSWORD}


async def _suspend(gateway: RunningGateway, slug: str, *, suspended: bool) -> dict[str, Any]:
    async with gateway.client(OPERATOR_TOKEN) as operator:
        answer = await operator.patch(f"{API}/tenants/{slug}", json={"suspended": suspended})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _actions(gateway: RunningGateway) -> list[str]:
    async with gateway.adapters.database.read() as connection:
        return [row[0] for row in await connection.execute(select(audit.c.action).order_by(audit.c.id))]


async def test_nobody_of_a_suspended_tenant_may_act_until_it_is_resumed(any_gateway: RunningGateway) -> None:
    """case 19: sessions and keys end at once, and nobody signs in; another tenant goes on."""
    await any_gateway.add_tenant("acme")
    async with (
        await any_gateway.admin() as admin,
        await any_gateway.person("a@razorpay.com", "read", tenant="acme") as other,
    ):
        made = await make_key(admin)
        async with any_gateway.client(made["key"]) as program, any_gateway.client() as anybody:
            for _ in range(2):
                assert (await _suspend(any_gateway, "default", suspended=True))["suspended_at"]
            for client in (admin, program):
                assert (await client.get(f"{API}/me")).status_code == 401
            assert (await anybody.post(LOGIN, json=ADMIN)).status_code == 401
            assert (await other.get(f"{API}/me")).status_code == 200
            assert (await _suspend(any_gateway, "default", suspended=False))["suspended_at"] is None
            assert (await admin.get(f"{API}/me")).status_code == 401, "the sessions ended for good"
            assert (await program.get(f"{API}/me")).status_code == 200
            assert (await anybody.post(LOGIN, json=ADMIN)).status_code == 200
    actions = await _actions(any_gateway)
    assert [action for action in actions if action in ("tenant.suspended", "tenant.resumed")] == [
        "tenant.suspended",
        "tenant.resumed",
    ]


@pytest.mark.parametrize("whole_tenant", [True, False])
async def test_a_sign_in_that_a_suspension_overtakes_opens_no_session(
    any_gateway: RunningGateway, whole_tenant: bool
) -> None:
    """case 19: else it would be good when the suspension is lifted."""
    accounts = any_gateway.services.accounts
    [found] = await accounts.credentials(any_gateway.settings.admin_email)
    person, later = found.person, datetime.now(UTC) + timedelta(hours=1)

    async def suspend(at: datetime | None) -> None:
        if whole_tenant:
            await accounts.suspend_tenant(person.tenant.id, at)
        else:
            await accounts.change(person.id, rights=None, suspended_at=at, suspend=at is not None)

    await suspend(later)
    assert not await accounts.open_session("a" * 64, person.id, later)
    with pytest.raises(LoginRefusedError):
        await begin_session(accounts, any_gateway.services.audit, person, timedelta(hours=1))
    await suspend(None)
    assert await accounts.signed_in("a" * 64) is None
    assert await accounts.open_session("b" * 64, person.id, later)
    assert "person.signed-in" not in await _actions(any_gateway)


async def test_a_stream_ends_when_its_tenant_is_suspended(gateway: RunningGateway, workers: Workers) -> None:
    """case 19."""
    async with (
        await gateway.admin() as admin,
        admin.stream("POST", CHAT, json={"question": "Why?"}) as answer,
        aclosing(events_of(answer)) as events,
    ):
        asked = await workers.take(QuestionAsked)
        assert (await anext(events))[0] == "accepted"
        await _suspend(gateway, "default", suspended=True)
        writing = asyncio.create_task(_write(workers, asked))
        told = [event async for event in events]
        writing.cancel()
    assert told[-1][1]["type"] == "urn:sluice:problem:not-signed-in"


async def _write(workers: Workers, asked: QuestionAsked) -> None:
    writer = workers.broker.replies.writer(asked.tenant, Level.INTERNAL, asked.request_id, 1)
    while True:
        await writer.append(Event("token", {"text": "more ", "attempt": 1}))
        await asyncio.sleep(0.1)


async def test_the_jobs_of_a_suspended_tenant_wait_and_go_on_when_it_is_resumed(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, interactive_documents=0, bulk_window=1)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        files: list[Any] = [("files", (f"{name}.txt", b"text")) for name in "abc"]
        assert (await admin.post(f"{API}/knowledge/documents", files=files)).status_code == 202
        await workers.take(BulkDocumentSubmitted)
        await _suspend(gateway, "default", suspended=True)
        await gateway.services.dispatch()
        async with gateway.adapters.database.read() as connection:
            states = [row[0] for row in await connection.execute(select(jobs.c.state))]
        assert states == ["queued"] * 3
        await _suspend(gateway, "default", suspended=False)
        await workers.take(BulkDocumentSubmitted)


async def test_logging_out_everywhere_ends_every_session_of_that_person_alone(gateway: RunningGateway) -> None:
    """case 19: asked by the person, and by an admin."""
    person = await gateway.person("somebody@razorpay.com", "read")
    again = await gateway.sign_in("somebody@razorpay.com", "a password of somebody@razorpay.com")
    async with person, again, await gateway.admin() as admin:
        assert (await person.post(f"{API}/auth/logout-everywhere")).status_code == 204
        for client in (person, again):
            assert (await client.get(f"{API}/me")).status_code == 401
        async with await gateway.sign_in("somebody@razorpay.com", "a password of somebody@razorpay.com") as third:
            me = (await third.get(f"{API}/me")).json()["id"]
            assert (await admin.delete(f"{API}/people/{me}/sessions")).status_code == 204
            assert (await third.get(f"{API}/me")).status_code == 401
        assert (await admin.get(f"{API}/me")).status_code == 200
    assert (await _actions(gateway)).count("person.sessions-ended") == 2


async def test_an_address_is_locked_after_many_failures_until_an_admin_lifts_it(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    """Whether somebody has the address or not is not told by it."""
    settings = gateway_settings(tmp_path, empty_valkey.url, login_lock_attempts=2)
    async with (
        running_gateway(settings, office) as gateway,
        await gateway.admin() as admin,
        gateway.client() as anybody,
    ):
        async with await gateway.person("known@razorpay.com", "read") as known:
            me = (await known.get(f"{API}/me")).json()["id"]
            told: list[list[Any]] = []
            for email in ("known@razorpay.com", "unknown@razorpay.com"):
                bodies = [{"email": email, "password": "wrong"}] * 3
                answers = [await anybody.post(LOGIN, json=body) for body in bodies]
                told.append([(answer.status_code, answer.json()["type"]) for answer in answers])
            assert told[0] == told[1]
            assert [status for status, _ in told[0]] == [401, 401, 429]
            right = {"email": "known@razorpay.com", "password": "a password of known@razorpay.com"}
            assert (await anybody.post(LOGIN, json=right)).status_code == 429
            assert (await known.get(f"{API}/me")).status_code == 200, "who is signed in stays so"
            shown = (await admin.get(f"{API}/people", params={"email": "known@razorpay.com"})).json()["items"]
            assert shown[0]["locked_until"]
            changed = await admin.patch(f"{API}/people/{me}", json={"locked": False})
            assert (changed.status_code, changed.json()["locked_until"]) == (200, None)
            assert (await anybody.post(LOGIN, json=right)).status_code == 200
        actions = await _actions(gateway)
    assert (actions.count("person.locked"), actions.count("person.unlocked")) == (1, 1)
