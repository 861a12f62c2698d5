"""A document is given another level: when that is acknowledged, and what is left of it where it was."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from gateway.models import audit
from gateway.records import Page
from sluice.access import Level, Scope
from sluice.errors import TransientError
from sluice.index import Index
from sluice.messages import (
    BulkDocumentSubmitted,
    DocumentProgress,
    DocumentSubmitted,
    FixIndexed,
    FixTaught,
    FixWithdrawn,
    JobState,
    QuestionAsked,
)
from sluice.places import Place
from sluice.sealing import Keyring
from sluice.workstream import Keys
from tests.support.gateway import CHAT, RunningGateway, Workers, all_events, completed
from tests.support.identity import Office
from tests.support.producer import STREAM, producing
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.whole import Whole

DOCUMENTS, JOBS, FIXES = (f"/api/v1/knowledge/{name}" for name in ("documents", "jobs", "fixes"))
SECRET = "The vault code is zorilla."
QUESTION = "What is the vault code?"


class _OnceAway(Index):
    """An index that is away when it is first told to forget something."""

    deletions = 0

    async def delete_document(self, scope: Scope, level: Level, document_id: str, *, keep_generation: int = 0) -> None:
        _OnceAway.deletions += 1
        if _OnceAway.deletions == 3:  # the first two are the upload's, at each level
            raise TransientError("away")
        await super().delete_document(scope, level, document_id, keep_generation=keep_generation)


class _Interrupted(Whole):
    def index(self, lane: Level, keys: Keyring) -> Index:
        return _OnceAway({level: self.chromas[level] for level in lane.readable}, keys, self.embedder.name)


@pytest.fixture
async def whole(
    tmp_path: Path, empty_valkey: RedisServer, own_chromas: dict[Level, str], office: Office
) -> AsyncGenerator[RunningGateway]:
    """All services; the worker is interrupted when the new rows stand and the old ones are about to be removed."""
    _OnceAway.deletions = 0
    async with _Interrupted(tmp_path, empty_valkey.url, own_chromas, office).running() as running_gateway:
        yield running_gateway


async def _upload(client: httpx2.AsyncClient, name: str, text: str, level: str = "EXTERNAL") -> dict[str, Any]:
    files: list[Any] = [("files", (name, text.encode())), ("access_level", (None, level))]
    answer = await client.post(DOCUMENTS, files=files)
    assert answer.status_code == 202, answer.text
    return answer.json()["jobs"][0]


async def _relevel(client: httpx2.AsyncClient, document_id: str, level: str) -> httpx2.Response:
    return await client.patch(f"{DOCUMENTS}/{document_id}", json={"access_level": level})


async def _ended(client: httpx2.AsyncClient, job_id: str, state: str = "done") -> None:
    async def ended() -> bool:
        return (await client.get(f"{JOBS}/{job_id}")).json()["state"] == state

    await until(ended, seconds=120, what=f"the job's state {state}")


async def test_nobody_external_is_told_of_a_document_after_it_was_acknowledged_to_be_internal(
    whole: RunningGateway,
) -> None:
    """case 12: they ask without pause; the worker is interrupted in the middle; staff find it before and after."""
    customer = await whole.person("customer@example.com", "read")
    heard: list[str] = []

    async def ask_on() -> None:
        while True:
            heard.append(str(await all_events(customer, QUESTION)))

    async with customer, await whole.admin() as admin:
        made = await _upload(admin, "vault.txt", SECRET)
        await _ended(admin, made["job_id"])
        asking = [asyncio.create_task(ask_on()) for _ in range(2)]
        await until(lambda: any("zorilla" in told for told in heard), seconds=90, what="an answer that quotes it")
        job = (await _relevel(admin, made["document_id"], "INTERNAL")).json()
        await _ended(admin, job["job_id"])
        heard.clear()
        await until(lambda: len(heard) >= 4, seconds=120, what="questions after the acknowledgement")
        for task in asking:
            task.cancel()
        assert "zorilla" not in str(heard)
        assert "zorilla" in str(await all_events(admin, QUESTION))
        assert (await customer.get(DOCUMENTS)).json()["items"] == []
        listed = (await customer.get(f"{CHAT}/conversations", params={"limit": 100})).json()["items"]
        shown = [await customer.get(f"{CHAT}/conversations/{item['id']}") for item in listed]
        assert "zorilla" not in "".join(answer.text for answer in shown)
    await _nothing_is_left(whole, made["document_id"])


async def _nothing_is_left(whole: RunningGateway, document_id: str) -> None:
    """Of its EXTERNAL rows and blobs."""
    blobs = whole.settings.data_dir / "blobs" / "external" / "default" / "documents"
    assert not any(blobs.glob(f"{document_id}/*/*"))
    assert any((blobs.parents[2] / "internal" / "default" / "documents").glob(f"{document_id}/*/original"))


async def test_a_document_that_is_declassified_is_found_by_everyone_and_keeps_no_internal_rows(
    whole: RunningGateway,
) -> None:
    customer = await whole.person("customer@example.com", "read")
    async with customer, await whole.admin() as admin:
        made = await _upload(admin, "vault.txt", SECRET, "INTERNAL")
        await _ended(admin, made["job_id"])
        assert "zorilla" not in str(await all_events(customer, QUESTION))
        job = (await _relevel(admin, made["document_id"], "EXTERNAL")).json()
        await _ended(admin, job["job_id"])
        assert "zorilla" in str(await all_events(customer, QUESTION))
        assert [item["access_level"] for item in (await customer.get(DOCUMENTS)).json()["items"]] == ["EXTERNAL"]
    internal = whole.settings.data_dir / "blobs" / "internal" / "default" / "documents"
    assert not any(internal.glob(f"{made['document_id']}/*/*"))


async def _teach(admin: httpx2.AsyncClient, answer: str, *sources: str) -> str:
    fix = {"question": QUESTION, "answer": answer, "access_level": "EXTERNAL", "sources": list(sources)}
    taught = await admin.post(FIXES, json=fix)
    assert taught.status_code == 202, taught.text
    return taught.json()["id"]


async def test_external_fixes_go_when_what_they_were_taught_from_becomes_internal(whole: RunningGateway) -> None:
    """Also those that were taught from such a fix; not those that somebody declassified, or of other documents."""
    customer = await whole.person("customer@example.com", "read")
    async with customer, await whole.admin() as admin:
        made = await _upload(admin, "vault.txt", "Ask the concierge.")
        other = await _upload(admin, "guide.txt", "The guide.")
        for each in (made, other):
            await _ended(admin, each["job_id"])
        direct = await _teach(admin, SECRET, made["document_id"])
        going = [direct, await _teach(admin, SECRET, direct), await _teach(admin, SECRET, made["document_id"], direct)]
        staying = [await _teach(admin, "Ask."), await _teach(admin, "Look it up.", other["document_id"])]

        async def active() -> bool:
            fixes = (await admin.get(FIXES)).json()["items"]
            return len(fixes) == len(going + staying) and all(fix["state"] == "active" for fix in fixes)

        await until(active, seconds=60, what="the fixes to be active")
        await admin.delete(f"{FIXES}/{direct}")  # what was taught from it rests on the document all the same
        assert "zorilla" in str(await all_events(customer, QUESTION))
        job = (await _relevel(admin, made["document_id"], "INTERNAL")).json()
        await _ended(admin, job["job_id"])
        assert "zorilla" not in str(await all_events(customer, QUESTION))
        assert {fix["id"] for fix in (await admin.get(FIXES)).json()["items"]} == set(staying)
    async with whole.adapters.database.read() as connection:
        rows = (await connection.execute(select(audit.c.target).where(audit.c.action == "fix.withdrawn"))).scalars()
        assert sorted(rows) == sorted(going)


async def test_the_change_waits_for_the_fixes_that_rest_on_the_document(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Also for one that was taught by somebody who had looked at the document's level before this began."""
    services = gateway.services
    services.relevel.quiet_seconds = 0

    async def withdrawn() -> None:
        message = await workers.take(FixWithdrawn, Level.EXTERNAL)
        await services.relevel.look()
        assert (await admin.get(f"{JOBS}/{job['job_id']}")).json()["state"] == "settling"
        await workers.broker.publish(message.follow(FixIndexed, "withdrawn", fix=message.fix, state="withdrawn"))

    async with await gateway.admin() as admin:
        document_id = await _indexed(admin, workers, "vault.txt")
        fix_id = await _teach(admin, SECRET, document_id)
        taught = await workers.take(FixTaught)
        await workers.broker.publish(taught.follow(FixIndexed, fix=taught.fix, state="active"))
        fix = await services.fixes.fix((await services.accounts.tenants(Page(limit=1)))[0].id, fix_id)
        assert fix is not None
        job = (await _relevel(admin, document_id, "INTERNAL")).json()
        assert (await admin.get(f"{FIXES}/{fix_id}")).json()["state"] == "withdrawing"
        await services.fixes.add(replace(fix, id="f" * 32))
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.DONE, chunk_count=1)
        await _ended(admin, job["job_id"], "settling")
        await withdrawn()
        await withdrawn()
        await _ended(admin, job["job_id"])
        assert (await admin.get(FIXES)).json()["items"] == []


async def _external_question(customer: httpx2.AsyncClient, workers: Workers) -> tuple[Any, Any]:
    asking = asyncio.create_task(all_events(customer, QUESTION))
    return asking, await workers.take(QuestionAsked, Level.EXTERNAL)


async def _tell(workers: Workers, submitted: DocumentSubmitted, state: JobState, **fields: Any) -> None:
    fields = {"document": submitted.document, "state": state, **fields}
    await workers.broker.publish(submitted.follow(DocumentProgress, str(state), **fields))


async def _indexed(admin: httpx2.AsyncClient, workers: Workers, name: str, level: str = "EXTERNAL") -> str:
    """The id of a document that is there."""
    made = await _upload(admin, name, name, level)
    await _tell(workers, await workers.take(DocumentSubmitted), JobState.DONE, chunk_count=1)
    await _ended(admin, made["job_id"])
    return made["document_id"]


async def test_it_is_acknowledged_when_each_external_question_asked_before_has_ended(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Such a question may have a passage of it on its way, wherever it stands."""
    customer = await gateway.person("customer@example.com", "read")
    relevel = gateway.services.relevel
    relevel.quiet_seconds = 0
    async with customer, await gateway.admin() as admin:
        document_id = await _indexed(admin, workers, "a.txt")
        asking, asked = await _external_question(customer, workers)
        job = (await _relevel(admin, document_id, "INTERNAL")).json()
        moved = await workers.take(DocumentSubmitted)
        assert (moved.document.moved, moved.document.generation) == (True, 2)
        assert moved.document.access_level is Level.INTERNAL
        assert (await customer.get(f"{DOCUMENTS}/{document_id}")).status_code == 404, "at once"
        await _tell(workers, moved, JobState.DONE, chunk_count=1)
        await _ended(admin, job["job_id"], "settling")
        await relevel.look()
        now = (await admin.get(f"{JOBS}/{job['job_id']}")).json()
        assert (now["state"], now["waiting"]["state"]) == ("settling", "running")
        await workers.broker.publish(completed(asked, "An answer."))
        await asking
        await _ended(admin, job["job_id"])
        again = (await _relevel(admin, document_id, "INTERNAL")).json()
        assert (again["state"], again["unchanged"]) == ("done", True)
    assert workers.idle()
    assert await _actions(gateway, document_id) == [
        "document.submitted",
        "document.classified",
        "document.left-external",
    ]


async def _actions(gateway: RunningGateway, target: str) -> list[str]:
    query = select(audit.c.action).where(audit.c.target == target).order_by(audit.c.sequence)
    async with gateway.adapters.database.read() as connection:
        return list((await connection.execute(query)).scalars())


class _Standing:
    """Says of every message that a worker is at it, until it is let go."""

    def __init__(self, place: Place) -> None:
        self.place: Place | None = place

    async def find(self, stream: str, message_id: str) -> Place | None:
        return self.place


async def test_it_waits_for_a_worker_that_may_still_write_what_came_before(
    gateway: RunningGateway, workers: Workers
) -> None:
    """Else that one could write an EXTERNAL row after all were removed."""
    async with await gateway.admin() as admin:
        made = await _upload(admin, "a.txt", "a")
        await workers.take(DocumentSubmitted)
        standing = _Standing(Place(state="running", attempt=1))
        gateway.services.relevel.places = standing
        await _relevel(admin, made["document_id"], "INTERNAL")
        await gateway.services.relevel.look()
        assert workers.idle()
        standing.place = None
        assert (await workers.take(DocumentSubmitted)).document.moved
        assert "being changed" in (await admin.get(f"{JOBS}/{made['job_id']}")).json()["error"]
        files: list[Any] = [("files", ("a.txt", b"b")), ("access_level", (None, "INTERNAL"))]
        assert (await admin.post(DOCUMENTS, files=files)).status_code == 423, "until it is done"


async def test_an_offer_waits_on_the_queue_while_its_document_is_on_its_way_to_another_level(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin, producing(gateway) as producer:
        document_id = await _indexed(admin, workers, "a.txt")
        job = (await _relevel(admin, document_id, "INTERNAL")).json()
        moved = await workers.take(DocumentSubmitted)
        offer = await producer.offer({"name": "a.txt", "text": "b", "access_level": "INTERNAL"})
        delayed = Keys(STREAM).delayed
        [member] = await until(lambda: producer.redis.zrange(delayed, 0, -1), what="the offer waits")
        assert "is being changed" in json.loads(member)["reason"]
        gateway.services.relevel.quiet_seconds = 0
        await _tell(workers, moved, JobState.DONE, chunk_count=1)
        await _ended(admin, job["job_id"])
        await producer.redis.zadd(delayed, {member: 0}, xx=True)
        version = await workers.take(BulkDocumentSubmitted)
        assert (version.document.document_id, version.document.generation) == (document_id, 3)
        assert (await producer.fate(offer, "queued"))["error"] is None
        assert await producer.redis.xlen(Keys(STREAM).dead) == 0


async def test_who_may_give_a_document_which_level(gateway: RunningGateway, workers: Workers) -> None:
    """Declassifying takes a right of its own; who does not see a document does not change it."""
    clerk = await gateway.person("clerk@razorpay.com", "read", "upload")
    vendor = await gateway.person("vendor@example.com", "read", "upload")
    reader = await gateway.person("reader@razorpay.com", "read", "declassify")
    async with clerk, vendor, reader, await gateway.admin() as admin:
        secret, public = [await _indexed(admin, workers, n, lv) for n, lv in (("a", "INTERNAL"), ("b", "EXTERNAL"))]
        refused = await _relevel(clerk, secret, "EXTERNAL")
        assert (refused.status_code, "declassify" in refused.json()["detail"]) == (403, True)
        assert (await _relevel(vendor, secret, "EXTERNAL")).status_code == 404
        assert (await _relevel(vendor, public, "INTERNAL")).status_code == 403
        assert (await _relevel(reader, public, "INTERNAL")).status_code == 403
        assert (await _relevel(admin, secret, "PUBLIC")).status_code == 422
        await _indexed(admin, workers, "a", "EXTERNAL")
        assert (await _relevel(admin, secret, "EXTERNAL")).status_code == 409, "its name is taken there"
        assert (await _relevel(clerk, public, "INTERNAL")).status_code == 202
        assert (await workers.take(DocumentSubmitted)).document.moved
    assert await _actions(gateway, secret) == ["document.submitted"]


async def test_what_is_declassified_stays_internal_until_it_is_done_and_if_it_fails(
    gateway: RunningGateway, workers: Workers
) -> None:
    async with await gateway.admin() as admin:
        document_id = await _indexed(admin, workers, "a.txt", "INTERNAL")
        for state, level in ((JobState.FAILED, "INTERNAL"), (JobState.DONE, "EXTERNAL")):
            job = (await _relevel(admin, document_id, "EXTERNAL")).json()
            moved = await workers.take(DocumentSubmitted)
            assert moved.document.access_level is Level.EXTERNAL
            assert (await admin.get(f"{DOCUMENTS}/{document_id}")).json()["access_level"] == "INTERNAL"
            await _tell(workers, moved, state, chunk_count=1)
            await _ended(admin, job["job_id"], state)
            assert (await admin.get(f"{DOCUMENTS}/{document_id}")).json()["access_level"] == level
    assert "document.declassified" in await _actions(gateway, document_id)


async def test_what_was_to_become_internal_and_failed_is_begun_again(gateway: RunningGateway, workers: Workers) -> None:
    async with await gateway.admin() as admin:
        document_id = await _indexed(admin, workers, "a.txt")
        await _relevel(admin, document_id, "INTERNAL")
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.FAILED, error="away")
        gateway.services.relevel.again_after = gateway.services.relevel.again_after * 0
        again = await workers.take(DocumentSubmitted)
    assert (again.document.moved, again.run) == (True, 2)


@pytest.mark.parametrize("level", ["INTERNAL", "EXTERNAL"])
async def test_a_change_that_failed_is_begun_anew_also_when_an_upload_after_it_failed_too(
    gateway: RunningGateway, workers: Workers, level: str
) -> None:
    """Else its EXTERNAL rows would stay until the document is uploaded or changed once more."""
    before = "EXTERNAL" if level == "INTERNAL" else "INTERNAL"
    async with await gateway.admin() as admin:
        document_id = await _indexed(admin, workers, "a.txt", before)
        job = (await _relevel(admin, document_id, level)).json()
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.FAILED, error="away")
        await _ended(admin, job["job_id"], "failed")
        upload = await _upload(admin, "a.txt", "b", "INTERNAL")
        await _tell(workers, await workers.take(DocumentSubmitted), JobState.FAILED, error="away")
        await _ended(admin, upload["job_id"], "failed")
        gateway.services.relevel.again_after = gateway.services.relevel.again_after * 0
        again = (await workers.take(DocumentSubmitted)).document
        assert (again.document_id, again.generation, again.moved) == (document_id, 4, True)
        assert again.access_level is Level.INTERNAL
        assert (await _relevel(admin, document_id, "INTERNAL")).json()["state"] == "queued"


async def test_a_document_that_cannot_be_read_leaves_nothing_at_the_level_where_it_was(whole: RunningGateway) -> None:
    """Its original is kept at the new level, to be looked at."""
    async with await whole.admin() as admin:
        made = await _upload(admin, "blank.txt", " ")
        await _ended(admin, made["job_id"], "failed")
        job = (await _relevel(admin, made["document_id"], "INTERNAL")).json()
        await _ended(admin, job["job_id"], "failed")
    await _nothing_is_left(whole, made["document_id"])
