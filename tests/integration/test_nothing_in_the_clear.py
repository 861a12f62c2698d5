"""What people wrote, and what quotes it, stands in no byte of Redis's file, of SQL's files or of the blobs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import make_url, text, update

from gateway.models import fixes, turns
from sluice.access import Level
from sluice.messages import DocumentSubmitted, FixTaught, QuestionAsked, QuestionFollowedUp
from tests.support.gateway import CHAT, RunningGateway, Workers, all_events, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.servers import RedisServer, running, valkey_server

FIXES = "/api/v1/knowledge/fixes"
DOCUMENTS = "/api/v1/knowledge/documents"
ASKED = "What is Bluefin worth?"
ANSWERED = "Bluefin is worth ninety millions [1]."
PLANTED = (b"Bluefin", b"ninety millions", b"Qmx1ZWZpb")
"""The last is the name in base64, as it would stand in what was encoded and not sealed."""


@pytest.fixture
async def site(
    tmp_path: Path, any_sql_url: str, office: Office
) -> AsyncIterator[tuple[RunningGateway, Workers, RedisServer]]:
    """On a Valkey whose file has nothing else in it."""
    with running(valkey_server(tmp_path / "valkey")) as server:
        settings = gateway_settings(tmp_path / "state", server.url, database_url=SecretStr(any_sql_url))
        workers = Workers(settings, office)
        workers.listen(QuestionAsked, QuestionFollowedUp, FixTaught, DocumentSubmitted)
        await workers.broker.start()
        async with running_gateway(settings, office) as gateway:
            yield gateway, workers, server
        await workers.broker.stop()


async def _answered(client: Any, workers: Workers, kind: Any, question: str, **body: Any) -> dict[str, Any]:
    asking = asyncio.create_task(all_events(client, question, **body))
    await workers.answer(await workers.take(kind), ANSWERED, level=Level.INTERNAL)
    events = await asking
    assert "".join(data["text"] for name, data, _ in events if name == "token").startswith("Bluefin")
    return events[0][1]


async def test_what_was_asked_answered_taught_and_uploaded_is_found_in_no_file(
    site: tuple[RunningGateway, Workers, RedisServer], tmp_path: Path
) -> None:
    """case 45 in part: a chat, a follow-up with its history, a title, a comment, a fix, an upload."""
    gateway, workers, server = site
    async with await gateway.admin() as admin:
        first = await _answered(admin, workers, QuestionAsked, ASKED)
        talk = first["conversation_id"]
        await _answered(admin, workers, QuestionFollowedUp, "And Bluefin in euros?", conversation_id=talk)
        rated = {"verdict": "down", "comment": "Bluefin is worth more"}
        assert (await admin.post(f"{CHAT}/answers/{first['request_id']}/feedback", json=rated)).is_success
        named = await admin.patch(f"{CHAT}/conversations/{talk}", json={"title": "All of Bluefin"})
        assert named.json()["title"] == "All of Bluefin"
        fix = {"question": "Bluefin?", "answer": ANSWERED, "access_level": "INTERNAL"}
        assert (await admin.post(FIXES, json=fix)).is_success
        assert (await workers.take(FixTaught)).fix.answer == ANSWERED
        assert (await admin.post(DOCUMENTS, files=[("files", ("a.txt", ANSWERED.encode()))])).is_success
        await workers.take(DocumentSubmitted)
        shown = (await admin.get(f"{CHAT}/conversations/{talk}")).json()
        assert [turn["answer"] for turn in shown["turns"]] == [ANSWERED] * 2
        assert shown["turns"][0]["feedback"]["comment"] == rated["comment"]
        assert (await admin.get(FIXES)).json()["items"][0]["answer"] == ANSWERED
        redis.Redis(port=server.port).save()
        database = await _database_folder(gateway)
        for folder in (tmp_path / "valkey", tmp_path / "state", database):
            assert _found_in(folder, *PLANTED) == []
        assert _found_in(database, first["request_id"].encode()), "the search finds what is there"
        (tmp_path / "state" / "planted").write_bytes(b"Bluefin")
        assert len(_found_in(tmp_path / "state", *PLANTED)) == 1, "the search finds what is there"


async def _database_folder(gateway: RunningGateway) -> Path:
    """With PostgreSQL all that the server keeps, its write-ahead log too."""
    url = make_url(gateway.settings.sql_url)
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").parent
    async with gateway.adapters.database.write() as connection:
        return Path((await connection.execute(text("SHOW data_directory"))).scalar_one())


def _found_in(folder: Path, *words: bytes) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.stat().st_size for file in files)
    return [file for file in files if any(word in file.read_bytes() for word in words)]


async def test_a_row_that_was_moved_or_changed_is_named_and_those_beside_it_are_shown(
    site: tuple[RunningGateway, Workers, RedisServer],
) -> None:
    gateway, workers, _ = site
    async with await gateway.admin() as admin:
        first = await _answered(admin, workers, QuestionAsked, ASKED)
        talk = first["conversation_id"]
        second = await _answered(admin, workers, QuestionFollowedUp, "And now?", conversation_id=talk)
        bodies = [{"question": q, "answer": "a", "access_level": "INTERNAL"} for q in ("one", "two")]
        kept, broken = [(await admin.post(FIXES, json=body)).json()["id"] for body in bodies]
        async with gateway.adapters.database.write() as connection:
            row = (await connection.execute(turns.select().where(turns.c.id == first["request_id"]))).mappings().one()
            swapped = update(turns).where(turns.c.id == second["request_id"]).values(answer=row["answer"])
            await connection.execute(swapped)
            await connection.execute(update(fixes).where(fixes.c.id == broken).values(answer="not sealed"))
        shown = (await admin.get(f"{CHAT}/conversations/{talk}")).json()["turns"]
        assert [turn["answer"] for turn in shown] == [ANSWERED, None]
        assert f"turns/{second['request_id']} does not open" in shown[1]["error"]
        listed = {item["id"]: item for item in (await admin.get(FIXES)).json()["items"]}
        assert (listed[kept]["question"], listed[broken]["state"]) == ("one", "failed")
        assert f"fixes/{broken} does not open" in listed[broken]["error"]
