"""What the gateway writes into the audit log, and what it leaves out."""

from typing import Any

import httpx2

from sluice.access import Level
from sluice.audit import SYSTEM, AuditRecord
from sluice.messages import PassportRefused, QuestionAsked, RetrievalRecorded, Retrieved
from tests.support.gateway import CHAT, RunningGateway, Workers
from tests.support.waiting import until

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
    found = await until(lambda: _as_many(gateway, 2))
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
    [found] = await until(lambda: _as_many(gateway, 1))
    assert found.detail["scope"]["levels"] == ["EXTERNAL"]
    assert found.detail["outside_scope"] == ["chunk-1", "other.external.chunks"]


async def test_refused_passports_are_written_down_and_a_flood_of_them_is_not(
    gateway: RunningGateway, workers: Workers
) -> None:
    """case 43: forged, replayed, swapped or for another stream: the audit log tells."""
    on = QuestionAsked.stream_of(Level.INTERNAL)
    for number in range(100):
        refused = PassportRefused.of(on, "invalid-passport", f"m{number}")
        await workers.broker.publish_unsigned(refused, f"hint-{number}")
    await workers.broker.publish_unsigned(PassportRefused.of("no.stream", "invalid-passport", "m"), "hint")
    last = PassportRefused.of(on, "passport-expired", "x" * 500)
    await workers.broker.publish_unsigned(last, "last")

    async def all_told() -> list[AuditRecord] | None:
        found = await records(gateway, "passport.refused", None)
        return found if found and found[0].detail["reason"] == "passport-expired" else None

    found = await until(all_told)
    assert 1 < len(found) <= 2 * 16 + 1
    assert {record.target for record in found} == {on}
    assert {record.actor for record in found} == {"retriever"}
    assert found[0].detail["message_id"] == last.message_id
