"""Offers of bulk producers: proved, accepted once, refused with a reason that their producer reads."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from gateway.models import api_keys, audit, documents, idempotency_keys, jobs
from sluice.access import Level
from sluice.deadletters import DeadLetters
from sluice.messages import BulkDocumentSubmitted, DocumentOffered, DocumentProgress, JobState
from sluice.offers import sign
from sluice.workstream import Keys
from tests.support.gateway import RunningGateway, Workers, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.producer import KEYS, OFFERS, STREAM, Producer, make_key, producing
from tests.support.servers import RedisServer
from tests.support.waiting import until

TEXT = {"name": "guide.txt", "access_level": "INTERNAL", "text": "Forty days."}


async def _count(gateway: RunningGateway, table: Any) -> int:
    async with gateway.adapters.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_an_offer_becomes_a_job_whose_fate_its_producer_reads(
    any_gateway: RunningGateway, workers: Workers
) -> None:
    """On SQLite and on PostgreSQL."""
    async with producing(any_gateway) as producer:
        name = await producer.offer(TEXT)
        submitted = await workers.take(BulkDocumentSubmitted)
        fate = await producer.fate(name, "queued")
        assert (fate["job_id"], fate["document_id"]) == (submitted.request_id, submitted.document.document_id)
        assert (fate["idempotency_key"], fate["error"]) == (name, None)
        await workers.broker.publish(
            submitted.follow(DocumentProgress, document=submitted.document, state=JobState.DONE, chunk_count=1)
        )
        await producer.fate(name, "done")
        job = (await producer.http.get(f"/api/v1/knowledge/jobs/{fate['job_id']}")).json()
        assert (job["state"], job["name"]) == ("done", "guide.txt")
        assert await producer.settled()
    async with any_gateway.adapters.database.read() as connection:
        actors = (await connection.execute(select(audit.c.actor).where(audit.c.action == "document.submitted"))).all()
    assert [actor for (actor,) in actors] == [producer.key.split("_")[1]]


async def test_content_comes_as_text_as_base64_or_as_a_url(gateway: RunningGateway, workers: Workers) -> None:
    data = b"\x00\xff binary"
    async with producing(gateway) as producer:
        await producer.offer({**TEXT, "name": "a/b/näme.txt"})
        first = (await workers.take(BulkDocumentSubmitted)).document
        assert (first.title, first.url) == ("näme.txt", None)
        encoded = base64.b64encode(data).decode()
        await producer.offer({"name": "data.bin", "access_level": "INTERNAL", "content_base64": encoded})
        second = (await workers.take(BulkDocumentSubmitted)).document
        await producer.offer({"access_level": "INTERNAL", "url": "https://example.com/help"})
        third = (await workers.take(BulkDocumentSubmitted)).document
        assert (third.title, third.url) == ("https://example.com/help", "https://example.com/help")
        await producer.offer({"name": "Help", "access_level": "INTERNAL", "url": "https://example.com/other"})
        fourth = (await workers.take(BulkDocumentSubmitted)).document
        assert (fourth.title, fourth.url) == ("Help", "https://example.com/other")
    files = {path.parent.parent.name for path in gateway.settings.data_dir.rglob("original")}
    assert files == {first.document_id, second.document_id}


async def test_one_offer_however_often_it_comes_is_one_document(gateway: RunningGateway, workers: Workers) -> None:
    """case 43: replayed as it was, offered again under its idempotency key, and all at once."""
    body = json.dumps({**TEXT, "idempotency_key": "folder/guide.txt"})
    async with producing(gateway) as producer:
        offered = sign(producer.key, body)
        await asyncio.gather(*(producer.send(offered) for _ in range(5)))
        await asyncio.gather(*(producer.offer(body) for _ in range(5)))
        await workers.take(BulkDocumentSubmitted)
        await until(producer.settled, what="the end of all offers")
        assert workers.idle()
        assert (await _count(gateway, documents), await _count(gateway, jobs)) == (1, 1)
        fate = await producer.fate("folder/guide.txt", "queued")
        assert (await producer.http.get(f"{OFFERS}/{fate['idempotency_key']}")).json() == fate


async def test_a_replay_does_not_bring_a_deleted_document_back(gateway: RunningGateway, workers: Workers) -> None:
    """case 45."""
    async with producing(gateway) as producer:
        offered = sign(producer.key, json.dumps(TEXT))
        await producer.send(offered)
        await workers.take(BulkDocumentSubmitted)
        async with gateway.adapters.database.write() as connection:
            await connection.execute(documents.delete())
        await producer.send(offered)
        await until(producer.settled, what="the replay's end")
        assert await _count(gateway, documents) == 0
        await producer.fate(offered.grant.nonce, "deleted")


async def test_the_same_key_with_another_body_is_refused_and_its_nonce_tells(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with producing(gateway) as producer:
        await producer.offer({**TEXT, "idempotency_key": "one"})
        await workers.take(BulkDocumentSubmitted)
        nonce = await producer.offer({**TEXT, "text": "Fifty days.", "idempotency_key": "one"})
        assert "was used for another" in (await producer.fate(nonce, "refused"))["error"]
        assert (await producer.fate("one", "queued"))["error"] is None
        assert await producer.offer({**TEXT, "text": "A third."}, nonce=nonce) == nonce
        await producer.fate(nonce, "queued")
        assert (await producer.letter())[b"error"] == b"idempotency-key-reused"


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "body: Invalid JSON"),
    "an unknown field": ({**TEXT, "tenant": "acme"}, "tenant: Extra inputs are not permitted"),
    "two contents": ({**TEXT, "url": "https://example.com"}, "exactly one of text, content_base64, url"),
    "no content": ({"name": "a", "access_level": "INTERNAL"}, "exactly one of text, content_base64, url"),
    "an empty document": ({**TEXT, "text": ""}, "the document is empty"),
    "no name": ({**TEXT, "name": ".."}, "name: the file needs a name"),
    "no level": ({"name": "a", "text": "a"}, "access_level: Field required"),
    "another level": ({**TEXT, "access_level": "SECRET"}, "access_level: Input should be"),
    "no base64": ({"name": "a", "access_level": "INTERNAL", "content_base64": "?"}, "content_base64: is not base64"),
    "credentials": ({"access_level": "INTERNAL", "url": "https://u:p@example.com"}, "url: must not have credentials"),
    "a local file": ({"access_level": "INTERNAL", "url": "file:///etc/passwd"}, "url: must be an http or https URL"),
    "a large document": ({**TEXT, "text": "x" * 3000}, "the document has 3000 bytes, at most 2000 may be"),
    "a wrong key": ({**TEXT, "idempotency_key": "a b"}, "idempotency_key: String should match"),
}


async def test_what_is_no_offer_is_refused_with_its_field_and_never_with_its_value(
    tmp_path: Any, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, max_file_bytes=2000)
    async with running_gateway(settings, office) as gateway, producing(gateway) as producer:
        names = {case: await producer.offer(body) for case, (body, _) in REFUSED.items()}
        for case, (_, reason) in REFUSED.items():
            fate = await producer.fate(names[case], "refused")
            assert reason in fate["error"], case
            assert "SECRET" not in fate["error"]
            assert "u:p@" not in fate["error"]
        assert await producer.redis.xlen(Keys(STREAM).dead) == len(REFUSED)
        listed = (await producer.http.get(OFFERS, params={"limit": 100})).json()["items"]
        assert {item["idempotency_key"] for item in listed} == set(names.values())
        assert await _count(gateway, documents) == 0


async def test_who_cannot_prove_an_offer_only_fills_the_dead_letters(gateway: RunningGateway) -> None:
    """case 43: no key, another's key id, a changed body, name, time or nonce."""
    async with producing(gateway) as producer, await gateway.admin() as admin:
        other = (await make_key(admin))["key"]
        body = json.dumps(TEXT)
        good = sign(producer.key, body).model_dump()
        forged = sign(f"sluice_{producer.key.split('_')[1]}_{'0' * 64}", body).model_dump()
        unknown = sign(f"sluice_key-{'0' * 24}_{'0' * 64}", body).model_dump()
        swapped = {**good, "grant": {**good["grant"], "key_id": other.split("_")[1]}}
        moved = {**good, "grant": {**good["grant"], "nonce": "another-nonce"}}
        later = {**good, "grant": {**good["grant"], "time": datetime.now(UTC).isoformat()}}
        changed = {**good, "body": body.replace("INTERNAL", "EXTERNAL")}
        hostile = [forged, unknown, swapped, moved, later, changed]
        for offered in hostile:
            await producer.send(DocumentOffered.model_validate(offered))
        for raw in ("", "[]", '{"body": "", "grant": null}', b"\xff\xfe", '{"body": ' * 10_000):
            await producer.redis.xadd(STREAM, {"__data__": raw, "id": "a", "crashes": "9" * 5000})
        await producer.redis.xadd(STREAM, {"data": "nothing that is ours"})
        dead = Keys(STREAM).dead
        await until(lambda: _has(producer, dead, len(hostile) + 6), seconds=20, what="all dead")
        errors = {fields[b"error"] for _, fields in await producer.redis.xrange(dead)}
        assert errors == {b"unproved-offer", b"invalid-message"}
        assert await producer.settled()
        assert (await _count(gateway, documents), await _count(gateway, idempotency_keys)) == (0, 0)
        await producer.offer(body)
        await until(lambda: _count(gateway, documents), what="an honest offer's document")


async def _has(producer: Producer, stream: str, number: int) -> bool:
    return await producer.redis.xlen(stream) == number


async def test_an_entry_that_is_too_large_is_a_dead_letter_unread(
    tmp_path: Any, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, max_offer_bytes=1000)
    async with running_gateway(settings, office) as gateway, producing(gateway) as producer:
        await producer.offer({**TEXT, "text": "x" * 1000})
        assert (await producer.letter())[b"detail"] == b"larger than the 1000 bytes that it may have"
        assert await _count(gateway, idempotency_keys) == 0


async def test_a_key_writes_its_own_tenant_and_levels_alone(gateway: RunningGateway, workers: Workers) -> None:
    """cases 5 and 8."""
    async with producing(gateway, clearance="EXTERNAL") as producer:
        nonce = await producer.offer(TEXT)
        assert (await producer.fate(nonce, "refused"))["error"] == (
            "access_level: the API key may not write INTERNAL documents"
        )
        await producer.offer({**TEXT, "access_level": "EXTERNAL"})
        await workers.take(BulkDocumentSubmitted, Level.EXTERNAL)
    async with producing(gateway, "read") as reader:
        nonce = await reader.offer(TEXT)
        await until(lambda: _has(reader, Keys(STREAM).dead, 2), what="the second dead offer")
        [(_, letter)] = await reader.redis.xrevrange(Keys(STREAM).dead, count=1)
        assert letter[b"detail"] == b"the API key has not the right upload"
        assert (await reader.http.get(f"{OFFERS}/{nonce}")).status_code == 403


async def test_fates_are_the_keys_own(gateway: RunningGateway, workers: Workers) -> None:
    """cases 4 and 8: another key of the same tenant sees nothing, one by one or many at once; nor does a person."""
    async with producing(gateway) as producer, producing(gateway) as other, await gateway.admin() as admin:
        names: list[str] = []
        for number in range(3):  # each taken before the next is sent: those that come together are taken in any order
            names.append(await producer.offer({**TEXT, "name": f"{number}.txt"}))
            await workers.take(BulkDocumentSubmitted)
            await producer.fate(names[-1], "queued")
        assert (await other.http.get(OFFERS)).json()["items"] == []
        assert (await other.http.get(OFFERS, params={"idempotency_key": names})).json()["items"] == []
        assert (await other.http.get(f"{OFFERS}/{names[0]}")).status_code == 404
        assert (await admin.get(OFFERS)).status_code == 403
        page = (await producer.http.get(OFFERS, params={"limit": 2})).json()
        rest = (await producer.http.get(OFFERS, params={"limit": 2, "cursor": page["next_cursor"]})).json()
        assert [item["idempotency_key"] for item in page["items"] + rest["items"]] == names[::-1]
        assert rest["next_cursor"] is None
        some = (await producer.http.get(OFFERS, params={"idempotency_key": [names[1], "unknown"]})).json()
        assert [item["idempotency_key"] for item in some["items"]] == [names[1]]


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
async def test_a_key_that_was_revoked_or_has_expired_offers_nothing(gateway: RunningGateway, change: str) -> None:
    async with producing(gateway) as producer:
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(api_keys).values({change: datetime.now(UTC)}))
        await producer.offer(TEXT)
        assert (await producer.letter())[b"error"] == b"unproved-offer"
        assert await _count(gateway, idempotency_keys) == 0


async def test_a_grant_of_another_time_is_refused_and_stays_refused(gateway: RunningGateway) -> None:
    """A captured offer that nobody saw in time is no offer, however often it is sent."""
    async with producing(gateway) as producer:
        for minutes in (-6, 6):
            offered = sign(producer.key, json.dumps(TEXT), at=datetime.now(UTC) + timedelta(minutes=minutes))
            for _ in range(2):
                await producer.send(offered)
                assert "from the broker's clock" in (await producer.fate(offered.grant.nonce, "refused"))["error"]
                await until(producer.settled, what="its end")
        naive = await producer.offer(TEXT, at=datetime(2026, 1, 1))  # noqa: DTZ001
        assert "must have a zone" in (await producer.fate(naive, "refused"))["error"]
        assert await _count(gateway, documents) == 0
        assert await producer.redis.xlen(Keys(STREAM).dead) == 5


async def test_an_offer_that_waited_long_on_its_stream_is_in_time(gateway: RunningGateway, workers: Workers) -> None:
    """What counts is when the broker took it in, also after it was put back."""
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    async with producing(gateway) as producer:
        offered = sign(producer.key, json.dumps(TEXT), at=long_ago)
        queued = int(long_ago.timestamp() * 1000)
        await producer.redis.xadd(STREAM, {"__data__": offered.model_dump_json(), "queued": queued})
        await workers.take(BulkDocumentSubmitted)
        ancient = sign(producer.key, json.dumps(TEXT), at=long_ago - timedelta(days=8))
        queued -= 8 * 24 * 3600 * 1000
        await producer.redis.xadd(STREAM, {"__data__": ancient.model_dump_json(), "queued": queued})
        assert "offer the document anew" in (await producer.fate(ancient.grant.nonce, "refused"))["error"]


async def test_a_dead_offer_that_is_put_back_succeeds_once_its_reason_is_gone(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Also hours after its grant: the operator puts back its bytes, and the refusal is forgotten."""
    async with producing(gateway, "read") as producer:
        offered = sign(producer.key, json.dumps(TEXT))
        await producer.send(offered)
        await producer.letter()
        assert await _count(gateway, idempotency_keys) == 1
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(api_keys).values(rights=["read", "upload"]))
        assert (await producer.fate(offered.grant.nonce, "refused"))["error"]
        letters = DeadLetters(producer.redis)
        [letter] = await letters.page([STREAM], 1)
        assert await letters.put_back(letter)
        submitted = await workers.take(BulkDocumentSubmitted)
        fate = await producer.fate(offered.grant.nonce, "queued")
        assert (fate["job_id"], fate["error"]) == (submitted.request_id, None)


async def test_a_refused_offer_that_was_seen_in_time_may_come_back_without_its_first_time(
    gateway: RunningGateway, workers: Workers
) -> None:
    """An operator's XADD of the bytes alone, long after."""
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    async with producing(gateway, "read") as producer:
        offered = sign(producer.key, json.dumps(TEXT), at=long_ago)
        queued = int(long_ago.timestamp() * 1000)
        await producer.redis.xadd(STREAM, {"__data__": offered.model_dump_json(), "queued": queued})
        await producer.letter()
        async with gateway.adapters.database.write() as connection:
            await connection.execute(update(api_keys).values(rights=["upload"]))
        await producer.send(offered)
        await workers.take(BulkDocumentSubmitted)


async def test_what_was_refused_may_be_offered_again_otherwise(gateway: RunningGateway, workers: Workers) -> None:
    async with producing(gateway) as producer:
        await producer.offer({**TEXT, "text": "", "idempotency_key": "one"})
        await producer.fate("one", "refused")
        await producer.offer({**TEXT, "idempotency_key": "one"})
        await workers.take(BulkDocumentSubmitted)
        await producer.fate("one", "queued")


async def test_an_offer_that_had_to_wait_takes_no_later_ones_place(gateway: RunningGateway, workers: Workers) -> None:
    async with producing(gateway) as producer:
        later = await producer.offer({**TEXT, "text": "two"})
        submitted = await workers.take(BulkDocumentSubmitted)
        offered = sign(producer.key, json.dumps({**TEXT, "text": "one"}))
        queued = int((datetime.now(UTC) - timedelta(minutes=1)).timestamp() * 1000)
        await producer.redis.xadd(STREAM, {"__data__": offered.model_dump_json(), "queued": queued})
        assert "newer upload" in (await producer.fate(offered.grant.nonce, "failed"))["error"]
        await producer.send(offered)  # once more changes nothing
        await until(producer.settled, what="the copy is handled")
        await producer.fate(later, "queued")
        await producer.offer({**TEXT, "text": "three"})
        last = (await workers.take(BulkDocumentSubmitted)).document
        assert (last.document_id, last.generation) == (submitted.document.document_id, 2)


async def test_an_offer_waits_on_the_queue_while_too_much_is_open(
    tmp_path: Any, empty_valkey: RedisServer, office: Office, workers: Workers
) -> None:
    settings = gateway_settings(
        tmp_path, empty_valkey.url, max_tenant_documents=1, retry={"attempts": 1, "first_seconds": 0.1}
    )
    async with running_gateway(settings, office) as gateway, producing(gateway) as producer:
        first = await producer.offer(TEXT)
        submitted = await workers.take(BulkDocumentSubmitted)
        second = await producer.offer({**TEXT, "name": "second.txt"})
        delayed = Keys(STREAM).delayed
        [(member, due)] = await until(
            lambda: producer.redis.zrange(delayed, 0, -1, withscores=True), what="the second offer waits"
        )
        assert "are waiting" in json.loads(member)["reason"]
        await producer.fate(first, "queued")
        assert await producer.redis.xlen(Keys(STREAM).dead) == 0
        await workers.broker.publish(
            submitted.follow(DocumentProgress, document=submitted.document, state=JobState.DONE, chunk_count=1)
        )
        await producer.fate(first, "done")
        assert due > datetime.now(UTC).timestamp() * 1000

        async def asked_again() -> bool:  # a count that says full is good for half a second
            for member in await producer.redis.zrange(delayed, 0, -1):
                await producer.redis.zadd(delayed, {member: 0}, xx=True)
            return not workers.idle()

        await until(asked_again, what="the second offer is taken")
        await workers.take(BulkDocumentSubmitted)
        await producer.fate(second, "queued")


async def test_revoking_a_key_ends_what_it_may_do(gateway: RunningGateway) -> None:
    async with producing(gateway) as producer, await gateway.admin() as admin:
        await admin.delete(f"{KEYS}/{producer.key.split('_')[1]}")
        await producer.offer(TEXT)
        await producer.letter()
        assert (await producer.http.get(OFFERS)).status_code == 401
