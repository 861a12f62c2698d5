"""Teach mode and log search over HTTP."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import select, update

from gateway.models import audit, fixes
from sluice.access import Level
from sluice.messages import FixIndexed, FixTaught, FixWithdrawn, LogsSearched
from sluice.replies import Event
from tests.support.gateway import RunningGateway, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer
from tests.support.waiting import until

FIXES = "/api/v1/knowledge/fixes"
SEARCH = "/api/v1/logs/search"
FIX = {"question": "How long?", "answer": "Forty days."}
LOGS = {"query": "level:ERROR", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}


async def _state(client: httpx2.AsyncClient, fix_id: str) -> str:
    answer = await client.get(f"{FIXES}/{fix_id}")
    return answer.json()["state"] if answer.status_code == 200 else "gone"


async def test_a_fix_is_taught_active_and_withdrawn(any_gateway: RunningGateway, workers: Workers) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        taught = await admin.post(FIXES, json=FIX)
        assert (taught.status_code, taught.json()["state"]) == (202, "pending")
        fix_id = taught.json()["id"]
        message = await workers.take(FixTaught)
        assert (message.fix.fix_id, message.fix.access_level) == (fix_id, Level.INTERNAL)
        await workers.broker.publish(message.follow(FixIndexed, fix=message.fix, state="active"))
        await until(lambda: _is(admin, fix_id, "active"), what="the fix to be active")
        for _ in range(2):
            assert (await admin.delete(f"{FIXES}/{fix_id}")).json()["state"] == "withdrawing"
        withdrawn = await workers.take(FixWithdrawn)
        await until(lambda: _withdrawals_read(workers), what="the second call's message")
        assert workers.idle(), "it has the id of the first, so the receiver dropped it"
        await workers.broker.publish(withdrawn.follow(FixIndexed, "withdrawn", fix=withdrawn.fix, state="withdrawn"))
        await until(lambda: _is(admin, fix_id, "gone"), what="the fix to be gone")
        assert (await admin.get(FIXES)).json()["items"] == []


async def _is(client: httpx2.AsyncClient, fix_id: str, state: str) -> bool:
    return await _state(client, fix_id) == state


async def _withdrawals_read(workers: Workers) -> bool:
    return await workers.broker.redis.xlen("fixes.withdrawn.v1.internal") == 0


async def _withdrawing(workers: Workers, admin: httpx2.AsyncClient) -> FixWithdrawn:
    """A fix's withdrawal that is sent, and that the receiver has not done."""
    fix_id = (await admin.post(FIXES, json=FIX)).json()["id"]
    await workers.take(FixTaught)
    await admin.delete(f"{FIXES}/{fix_id}")
    withdrawn = await workers.take(FixWithdrawn)
    await until(lambda: _withdrawals_read(workers), what="the message's end")
    await workers.broker.redis.delete(*await workers.broker.redis.keys("*fixes.withdrawn*:done:*"))
    return withdrawn


async def test_a_withdrawal_that_failed_says_why_and_is_sent_again(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL."""
    async with await any_gateway.admin() as admin:
        first = await _withdrawing(workers, admin)
        failed = first.follow(FixIndexed, fix=first.fix, state="failed", error="the index is broken")
        await workers.broker.publish(failed)
        again = await workers.take(FixWithdrawn)
        assert (again.run, again.fix) == (first.run + 1, first.fix)
        assert again.message_id != first.message_id
        shown = (await admin.get(f"{FIXES}/{first.fix.fix_id}")).json()
        assert (shown["state"], shown["error"]) == ("withdrawing", "the index is broken")


async def test_withdrawing_once_more_sends_the_message_once_more(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    """By itself, without the reconciler."""
    settings = gateway_settings(tmp_path, empty_valkey.url, reconcile_seconds=600)
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        first = await _withdrawing(workers, admin)
        assert workers.idle()
        assert (await admin.delete(f"{FIXES}/{first.fix.fix_id}")).json()["state"] == "withdrawing"
        assert (await workers.take(FixWithdrawn)).message_id == first.message_id


async def test_a_fix_that_nobody_tells_of_in_time_fails_and_a_withdrawal_is_sent_again(
    gateway: RunningGateway, workers: Workers
) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=gateway.settings.job_deadline_seconds + 3600)
    async with await gateway.admin() as admin:
        first = await _withdrawing(workers, admin)
        taught = (await admin.post(FIXES, json=FIX)).json()["id"]
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(fixes).values(published_at=long_ago))
        assert (await workers.take(FixWithdrawn)).fix == first.fix
        await until(lambda: _is(admin, taught, "failed"), what="the fix to fail")
        assert "teach it again" in (await admin.get(f"{FIXES}/{taught}")).json()["error"]


async def test_a_withdrawal_goes_on_although_its_teacher_is_gone(
    gateway: RunningGateway, workers: Workers, office: Office
) -> None:
    teacher = await gateway.person("teacher@razorpay.com", "read", "teach")
    async with teacher, await gateway.admin() as admin:
        me = (await teacher.get("/api/v1/me")).json()["id"]
        first = await _withdrawing(workers, teacher)
        assert (await admin.delete(f"/api/v1/people/{me}")).status_code == 204
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(fixes).values(published_at=None, run=fixes.c.run + 1))
        again = await workers.take(FixWithdrawn)
    passport = office.verifier.verify(again.passport, stream=again.stream, job=again.request_id, asked=again.asked)
    assert again.fix == first.fix
    assert (passport.subject, passport.rights, passport.clearance) == ("system:removal", {"teach"}, Level.INTERNAL)


async def test_teaching_needs_its_right_and_a_level_within_the_clearance(
    gateway: RunningGateway, workers: Workers
) -> None:
    reader = await gateway.person("reader@razorpay.com", "read", "upload")
    partner = await gateway.person("partner@example.com", "teach")
    async with reader, partner, await gateway.admin() as admin:
        assert (await reader.post(FIXES, json=FIX)).status_code == 403
        assert (await reader.get(FIXES)).status_code == 403
        assert (await partner.post(FIXES, json=FIX)).status_code == 403
        assert workers.idle()
        own = await partner.post(FIXES, json={**FIX, "access_level": "EXTERNAL"})
        assert own.status_code == 202
        secret = (await admin.post(FIXES, json=FIX)).json()["id"]
        for method in ("GET", "DELETE"):
            assert (await partner.request(method, f"{FIXES}/{secret}")).status_code == 404
        assert [fix["id"] for fix in (await partner.get(FIXES)).json()["items"]] == [own.json()["id"]]
        assert (await admin.post(FIXES, json={**FIX, "id": "mine"})).status_code == 422


async def test_a_fix_whose_message_never_arrived_is_published_again(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        fix_id = (await admin.post(FIXES, json=FIX)).json()["id"]
        await workers.take(FixTaught)
        await workers.broker.redis.delete(*await workers.broker.redis.keys("*:done:*"))
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(fixes).values(published_at=None, run=fixes.c.run + 1))
        assert (await workers.take(FixTaught)).fix.fix_id == fix_id


async def test_a_log_search_gives_the_result_of_the_bridge(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(SEARCH, json={**LOGS, "limit": 7, "interval": 60}))
        search = await workers.take(LogsSearched)
        assert (search.query, search.limit, search.order, search.interval_seconds) == ("level:ERROR", 7, "newest", 60)
        result = {"total": 1, "took_ms": 3, "hits": [{"event": "x"}], "warnings": []}
        await workers.broker.plain_replies.finish(
            search.tenant, Level.INTERNAL, search.request_id, Event("result", result)
        )
        answer = await asking
        assert (answer.status_code, answer.json()) == (200, result)
        async with gateway.adapters.database.read() as connection:
            [row] = (await connection.execute(select(audit).where(audit.c.action == "logs.searched"))).mappings()
        assert row["detail"]["query"] == "level:ERROR"
        assert row["actor"] == (await admin.get("/api/v1/me")).json()["id"]


async def test_the_error_of_a_log_search_keeps_its_status(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        asking = asyncio.create_task(admin.post(SEARCH, json=LOGS))
        search = await workers.take(LogsSearched)
        problem: dict[str, Any] = {"type": "urn:sluice:problem:bad-query", "status": 422, "detail": "unbalanced quote"}
        await workers.broker.plain_replies.finish(
            search.tenant, Level.INTERNAL, search.request_id, Event("error", problem)
        )
        answer = await asking
    assert (answer.status_code, answer.json()["detail"]) == (422, "unbalanced quote")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_logs_are_for_internal_people_with_the_right(gateway: RunningGateway, workers: Workers) -> None:
    """case 40: refused at the gateway, and nothing is published."""
    outsider = await gateway.person("outsider@example.com", "logs", "admin")
    insider = await gateway.person("insider@razorpay.com", "read", "admin")
    for person in (outsider, insider):
        async with person:
            answer = await person.post(SEARCH, json=LOGS)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:sluice:problem:access-denied")
    assert workers.idle()


async def test_a_log_search_that_is_none_is_refused_with_its_field(gateway: RunningGateway) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"query": ""}, "query"),
        ({"limit": 501}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"end": "2025-01-01T00:00:00Z"}, "body"),
        ({"order": "random"}, "order"),
        ({"tenant": "acme"}, "tenant"),
        ({"interval": 0}, "interval"),
    ]
    async with await gateway.admin() as admin:
        for change, field in refused:
            answer = await admin.post(SEARCH, json={**LOGS, **change})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), change
