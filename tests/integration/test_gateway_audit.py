"""What the gateway writes into the audit log, and what it leaves out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from sqlalchemy import insert, update

from gateway.adapters.sql import values_of
from gateway.models import documents
from gateway.records import Document, DocumentState
from sluice.access import Level
from sluice.audit import SYSTEM, AuditRecord
from sluice.messages import PassportRefused, QuestionAsked, RetrievalRecorded, Retrieved
from tests.support.gateway import CHAT, OPERATOR_TOKEN, RunningGateway, Workers
from tests.support.waiting import until

EXPLAIN = "/api/v1/audit/explain"
PASSAGES = (
    Retrieved(passage_id="chunk-1", document_id="document-1", access_level=Level.INTERNAL),
    Retrieved(passage_id="chunk-2", document_id="document-2", access_level=Level.EXTERNAL),
)


async def records(gateway: RunningGateway, action: str, slug: str | None = "default") -> list[AuditRecord]:
    """The newest first."""
    tenant = await gateway.services.accounts.tenant(slug) if slug else None
    return await gateway.services.trail.trail.page(tenant.id if tenant else SYSTEM, 100, None, action=action)


async def asked(gateway: RunningGateway, workers: Workers, client: httpx2.AsyncClient, lane: Level) -> QuestionAsked:
    async with client.stream("POST", CHAT, json={"question": "What of the harbour?"}):
        return await workers.take(QuestionAsked, lane)


async def test_a_retrieval_is_written_down_once_with_its_ids_and_the_exact_scope(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.person("in@razorpay.com", "read") as client:
        me = (await client.get("/api/v1/me")).json()["id"]
        question = await asked(gateway, workers, client, Level.INTERNAL)
    told: dict[str, Any] = {"question_digest": question.asked, "collections": ("default.internal.chunks",)}
    for step in ("a", "a", "b"):
        await workers.broker.publish(question.follow(RetrievalRecorded, step, passages=PASSAGES, **told))
    found = await until(lambda: _as_many(gateway, 2), seconds=60)
    assert {(record.actor, record.target) for record in found} == {(me, question.request_id)}
    assert found[0].detail["scope"] == {
        "tenant": "default",
        "clearance": "INTERNAL",
        "levels": ["EXTERNAL", "INTERNAL"],
        "collections": ["default.internal.chunks"],
    }
    assert [passage["passage_id"] for passage in found[0].detail["passages"]] == ["chunk-1", "chunk-2"]
    assert "harbour" not in str(found)
    assert "outside_scope" not in found[0].detail


async def _as_many(gateway: RunningGateway, count: int) -> list[AuditRecord] | None:
    found = await records(gateway, "passages.retrieved")
    return found if len(found) >= count else None


async def test_what_a_retriever_gave_above_the_passports_clearance_is_marked(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.person("out@example.com", "read") as client:
        question = await asked(gateway, workers, client, Level.EXTERNAL)
    told: dict[str, Any] = {"question_digest": question.asked, "collections": ("other.external.chunks",)}
    await workers.broker.publish(question.follow(RetrievalRecorded, passages=PASSAGES, **told))
    [found] = await until(lambda: _as_many(gateway, 1), seconds=60)
    assert found.detail["scope"]["levels"] == ["EXTERNAL"]
    assert found.detail["outside_scope"] == ["chunk-1", "other.external.chunks"]


async def test_refused_passports_are_written_down_and_a_flood_of_them_is_not(
    gateway: RunningGateway, workers: Workers
) -> None:
    """case 43: forged, replayed, swapped or for another stream: the audit log tells."""
    on = QuestionAsked.stream_of(Level.INTERNAL)
    for number in range(50):
        refused = PassportRefused.of(on, "invalid-passport", f"m{number}")
        await workers.broker.publish_unsigned(refused, f"hint-{number}")
    await workers.broker.publish_unsigned(PassportRefused.of("no.stream", "invalid-passport", "m"), "hint")
    last = PassportRefused.of(on, "passport-expired", "x" * 500)
    await workers.broker.publish_unsigned(last, "last")

    async def all_told() -> list[AuditRecord] | None:
        found = await records(gateway, "passport.refused", None)
        return found if found and found[0].detail["reason"] == "passport-expired" else None

    found = await until(all_told, seconds=60)
    assert 1 < len(found) <= 2 * 16 + 1
    assert {record.target for record in found} == {on}
    assert {record.actor for record in found} == {"retriever"}
    assert found[0].detail["message_id"] == last.message_id


async def test_each_sign_in_stands_in_the_tenants_log_and_so_does_each_that_failed(gateway: RunningGateway) -> None:
    async with gateway.client(OPERATOR_TOKEN) as operator:
        body = {"email": "new@example.com", "rights": ["read"]}
        added = (await operator.post("/api/v1/tenants/default/people", json=body)).json()
    async with gateway.client() as nobody:
        for login in (
            {"password": added["one_time_password"]},
            {"password": added["one_time_password"], "new_password": "a password of my own"},
            {"password": "a wrong password"},
            {"email": "stranger@example.com", "password": "a wrong password"},
        ):
            await nobody.post("/api/v1/auth/login", json={"email": "new@example.com", **login})
    trail, tenant = gateway.services.trail.trail, await gateway.services.accounts.tenant("default")
    assert tenant is not None
    mine = [(r.action, r.actor) for r in await trail.page(tenant.id, 9, None, target=added["id"])]
    assert mine == [
        ("sign-in.failed", "nobody"),
        ("person.signed-in", added["id"]),
        ("person.password-changed", added["id"]),
        ("sign-in.needs-password", added["id"]),
        ("person.added", "operator"),
    ]
    [stranger] = await records(gateway, "sign-in.failed", None)
    assert stranger.detail["reason"] == "unknown address"
    assert "stranger" not in str(stranger)
    assert "password of my own" not in str(await trail.page(tenant.id, 99, None))


async def test_how_long_a_failed_sign_in_takes_tells_nothing_of_its_address(gateway: RunningGateway) -> None:
    """What is written down of a known address takes longer; each is answered at the next half second."""
    async with gateway.client() as nobody:
        for email in (gateway.settings.admin_email, "stranger@example.com"):
            body = {"email": email, "password": "a wrong password"}
            answer = await nobody.post("/api/v1/auth/login", json=body)
            assert (answer.status_code, answer.elapsed >= timedelta(seconds=0.5)) == (401, True)


async def test_throttling_is_written_down_once_a_window(gateway: RunningGateway) -> None:
    tries = gateway.settings.login_attempts + 3
    async with gateway.client() as nobody:
        body = {"email": "tried@example.com", "password": "a wrong password"}
        answers = [(await nobody.post("/api/v1/auth/login", json=body)).status_code for _ in range(tries)]
    assert answers[-3:] == [429] * 3
    assert len(await records(gateway, "sign-in.throttled", None)) == 1


async def test_what_was_refused_to_somebody_is_written_down_and_guessing_fills_no_log(gateway: RunningGateway) -> None:
    """case 1: another tenant's id and one that is not there leave the same record."""
    await gateway.add_tenant("pier")
    async with await gateway.person("a@pier.example", "read", tenant="pier") as theirs:
        their_id = (await theirs.get("/api/v1/me")).json()["id"]
    async with await gateway.person("b@razorpay.com", "admin") as client:
        await client.get(CHAT + "/conversations")
        for person_id in (their_id, "nobody"):
            assert (await client.get(f"/api/v1/people/{person_id}")).status_code == 404
        for number in range(60):
            await client.get(f"/api/v1/people/guess-{number}")
        me = (await client.get("/api/v1/me")).json()["id"]
    found = [record for record in await records(gateway, "request.refused") if record.actor == me]
    assert [(r.target, r.detail["status"]) for r in found][-1] == (f"GET {CHAT}/conversations", 403)
    told = {r.target: r.detail for r in found}
    assert told[f"GET /api/v1/people/{their_id}"] == told.get("GET /api/v1/people/nobody", told[found[-2].target])
    assert len(found) <= 3 * 16
    assert not await records(gateway, "request.refused", "pier")


async def test_why_somebody_could_see_a_document_is_told_with_the_records_that_say_so(
    gateway: RunningGateway, workers: Workers
) -> None:
    """case 1: of another tenant's people and documents the same 404 as of what is not there."""
    async with await gateway.admin() as admin, await gateway.person("out@example.com", "read") as client:
        me = (await client.get("/api/v1/me")).json()["id"]
        question = await asked(gateway, workers, client, Level.EXTERNAL)
        told: dict[str, Any] = {"question_digest": question.asked, "passages": PASSAGES[1:]}
        await workers.broker.publish(question.follow(RetrievalRecorded, **told))
        [record] = await until(lambda: _as_many(gateway, 1), seconds=60)
        tenant = (await gateway.services.accounts.tenant("default")) or None
        assert tenant is not None
        document = _document(tenant.id, "document-2", Level.EXTERNAL)
        async with gateway.adapters.database.write() as connection:
            await connection.execute(insert(documents).values(values_of(document)))
        by_passage = (await admin.get(EXPLAIN, params={"person": me, "passage": "chunk-2"})).json()
        assert (by_passage["document"], by_passage["may_see"]) == ("document-2", True)
        assert [given["sequence"] for given in by_passage["given"]] == [record.sequence]
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(documents).values(access_level="INTERNAL"))
        by_document = (await admin.get(EXPLAIN, params={"person": me, "document": "document-2"})).json()
        assert (by_document["may_see"], by_document["rule"].split(":")[0]) == (False, "level")
        assert by_document["given"] == by_passage["given"]
        actions = [change["action"] for change in by_document["changes"]]
        assert actions == ["person.password-changed", "person.added"], "and no sign-ins, which change nothing"
        await gateway.add_tenant("pier")
        async with await gateway.person("boss@razorpay.com", "admin", tenant="pier") as theirs:
            own = (await theirs.get("/api/v1/me")).json()["id"]
            queries = [{"person": me, "document": "document-2"}, {"person": "nobody", "document": "x"}]
            queries += [{"person": own, "passage": "chunk-2"}, {"person": own, "document": "document-2"}]
            assert [(await theirs.get(EXPLAIN, params=query)).status_code for query in queries] == [404] * 4
        assert (await client.get(EXPLAIN, params={"person": me, "document": "document-2"})).status_code == 403


def _document(tenant_id: str, document_id: str, level: Level) -> Document:
    now = datetime.now(UTC)
    return Document(
        id=document_id,
        tenant_id=tenant_id,
        access_level=level,
        name="guide.md",
        title="Guide",
        url=None,
        sha256=None,
        generation=1,
        state=DocumentState.DONE,
        chunk_count=1,
        created_by="test",
        created_at=now,
        updated_at=now,
    )
