"""The whole pipeline, each service as its own user of Redis: nothing that it needs is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from sluice.access import Level
from sluice.acl import Process
from sluice.broker import Broker
from sluice.sealing import Keyring
from sluice.settings import CommonSettings, LaneSettings
from tests.support.gateway import all_events
from tests.support.identity import Office
from tests.support.redis_users import GuardedRedis, guarded
from tests.support.servers import ChromaServer, chroma_server, running
from tests.support.waiting import until
from tests.support.whole import Whole

KNOWLEDGE = "/api/v1/knowledge"
pytestmark = pytest.mark.timeout(180)


class Guarded(Whole):
    """Each service is given the address of its own user."""

    server: GuardedRedis

    def _broker(self, settings: CommonSettings, service: str, keys: Keyring) -> Broker:
        lane = settings.lane if isinstance(settings, LaneSettings) else None
        url = SecretStr(self.server.url_of(Process(service, lane).user))
        return super()._broker(settings.model_copy(update={"redis_url": url}), service, keys)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GuardedRedis]:
    made = guarded(tmp_path / "valkey", "valkey")
    assert made is not None
    with running(made):
        yield made


@pytest.fixture
def whole(tmp_path: Path, server: GuardedRedis, chroma: ChromaServer, office: Office) -> Iterator[Guarded]:
    with running(chroma_server(tmp_path / "chroma")) as internal:
        chromas = {Level.EXTERNAL: chroma.url, Level.INTERNAL: internal.url}
        whole = Guarded(tmp_path, server.url, chromas, office)
        whole.server = server
        yield whole


async def upload(client: httpx2.AsyncClient, level: Level, text: str) -> dict[str, Any]:
    files = {"files": (f"{level.lower()}.txt", text.encode())}
    answer = await client.post(f"{KNOWLEDGE}/documents", files=files, data={"access_level": level.value})
    assert answer.status_code == 202, answer.text
    job = answer.json()["jobs"][0]["job_id"]
    return await until(lambda: ended(client, job), seconds=60, what="the document is read")


async def ended(client: httpx2.AsyncClient, job: str) -> dict[str, Any] | None:
    told = (await client.get(f"{KNOWLEDGE}/jobs/{job}")).json()
    return told if told["state"] in ("done", "failed") else None


async def test_documents_questions_fixes_and_deletions_go_their_way_with_least_rights(
    whole: Guarded, server: GuardedRedis
) -> None:
    """case 44: both lanes, from the upload to the end of the answer; Redis noted no refusal."""
    async with whole.running() as gateway:
        staff = await gateway.person("asha@razorpay.com", "read", "upload", "teach")
        customer = await gateway.person("carl@example.com", "read", "upload")
        for client, level in ((staff, Level.INTERNAL), (staff, Level.EXTERNAL), (customer, Level.EXTERNAL)):
            job = await upload(client, level, f"Refunds for {level} readers take five days.")
            assert job["state"] == "done", job
        for client in (staff, customer):
            events = await all_events(client, "How long do refunds take?")
            assert events[-1][0] == "done", events
            conversation = events[0][1]["conversation_id"]
            events = await all_events(client, "And for staff?", conversation_id=conversation)
            assert events[-1][0] == "done", events
        fix = (await staff.post(f"{KNOWLEDGE}/fixes", json={"question": "Refunds?", "answer": "Five days."})).json()
        await until(lambda: active(staff, fix["id"]), seconds=60, what="the fix is indexed")
        removed = await staff.delete(f"{KNOWLEDGE}/documents/{job['document_id']}")
        assert removed.status_code == 202, removed.text
        await until(lambda: gone(staff, job["document_id"]), seconds=60, what="the document is gone")
        async with gateway.client() as anybody:
            assert "sluice_broker_up 1" in (await anybody.get("/metrics")).text
        await staff.aclose()
        await customer.aclose()
    assert server.refusals() == []


async def active(client: httpx2.AsyncClient, fix: str) -> bool:
    return (await client.get(f"{KNOWLEDGE}/fixes/{fix}")).json()["state"] == "active"


async def gone(client: httpx2.AsyncClient, document: str) -> bool:
    return (await client.get(f"{KNOWLEDGE}/documents/{document}")).status_code == 404
