"""Rows that a former version wrote, read by this one: after its start, and from a backup."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, inspect

from gateway.adapters.sql_accounts import SqlAccounts
from gateway.adapters.sql_audit import SqlAuditLog
from gateway.adapters.sql_catalog import SqlCatalog
from gateway.adapters.sql_conversations import SqlConversations
from gateway.adapters.sql_fixes import SqlFixes
from gateway.adapters.sql_idempotency import SqlIdempotencyKeys
from gateway.adapters.sql_keys import SqlApiKeys
from gateway.database import Database
from gateway.dump.load import load_dump
from gateway.dump.write import write_dump
from gateway.models import audit
from sluice.access import Level
from sluice.audit import ChainCheck, Fault, Head
from sluice.errors import PermanentError
from tests.support.former import AT, Former, former_revisions
from tests.support.gateway import create_database
from tests.support.identity import Office
from tests.support.keys import keyring


async def read_all(database: Database, former: Former) -> None:
    """Each row, through the adapter that reads it now."""
    keys = keyring(former.folder)
    tenant = await SqlAccounts(database).tenant("acme")
    assert tenant is not None
    assert tenant.internal_domains == ["acme.com"]
    [credentials] = await SqlAccounts(database).credentials("ann@acme.com")
    assert (credentials.person.id, credentials.password_hash) == ("people-1", "a hash")
    found = await SqlCatalog(database).job("tenants-1", "jobs-1")
    assert found is not None
    job, document = found
    assert (job.state, job.total, job.bulk, job.waiting_lane, job.created_at) == ("done", 7, True, "INTERNAL", AT)
    assert (document.title, document.generation, document.updated_at) == ("Gu\u00efde", 2, AT)
    conversations = SqlConversations(database, keys)
    conversation = await conversations.find("people-1", "conversations-1")
    assert conversation is not None
    assert conversation.title == "Refunds"
    [turn] = await conversations.turns("conversations-1")
    assert (turn.question, turn.answer, turn.sources) == ("How long?", "Forty days [1].", [{"title": "Guide"}])
    assert turn.inherited == ["documents-1"]
    assert (await conversations.ratings("conversations-1"))["turns-1"].comment == "no"
    fix = await SqlFixes(database, keys).fix("tenants-1", "fixes-1")
    assert fix is not None
    assert (fix.answer, fix.state, fix.access_level) == ("Fifty days.", "active", Level.EXTERNAL)
    key = await SqlApiKeys(database).key("key-1")
    assert key is not None
    assert key[1].present == "sealed"
    claim = await SqlIdempotencyKeys(database).claim("people-1", "k", "tenants-1", "d" * 64, AT)
    assert claim.settled
    await verify(database, former.office)


async def verify(database: Database, office: Office) -> None:
    check, faults = ChainCheck("tenants-1"), list[Fault]()
    async for line in SqlAuditLog(database, office.signer, office.verifier).read("tenants-1"):
        faults += check.end(line, office.verifier) if isinstance(line, Head) else check.take(line)
    assert (faults, check.sequence) == ([], 1)


@pytest.mark.parametrize("revision", former_revisions())
async def test_rows_of_a_former_version_are_read_after_the_start(
    any_sql_url: str, tmp_path: Path, office: Office, revision: str
) -> None:
    former = Former(tmp_path, office)
    await former.fill(any_sql_url, revision)
    database = Database(any_sql_url)
    await database.migrate()
    await read_all(database, former)
    assert await SqlAccounts(database).signed_in("a" * 64) is not None
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/restored/sluice.db"
    return await create_database(request.getfixturevalue("postgres"), f"sluice_{uuid4().hex}")


@pytest.mark.parametrize("revision", former_revisions()[-1:])
async def test_rows_of_a_former_version_are_loaded_as_they_were_and_brought_up_to_date(
    any_sql_url: str, empty_sql_url: str, tmp_path: Path, office: Office, revision: str
) -> None:
    """From each kind of database into each; whoever was signed in is not any more, and numbers go on."""
    former = Former(tmp_path, office)
    await former.fill(any_sql_url, revision)
    source, target = Database(any_sql_url), Database(empty_sql_url)
    written = await write_dump(source, tmp_path / "dump")
    assert written["revision"] == revision
    assert await load_dump(target, tmp_path / "dump", revision) == written["rows"]
    assert not {"sessions", "login_attempts"} & written["rows"].keys()
    await target.migrate()
    await read_all(target, former)
    assert await SqlAccounts(target).signed_in("a" * 64) is None
    async with target.write() as connection:
        row = {"chain": "x", "sequence": 1, "at": AT, "actor": "a", "action": "b", "target": "c", "detail": {}}
        made = await connection.execute(insert(audit).values({**row, "previous": "", "hash": ""}))
        assert made.inserted_primary_key == (2,)
    with pytest.raises(PermanentError, match="not empty"):
        await load_dump(target, tmp_path / "dump", revision)
    await source.close()
    await target.close()


async def test_a_file_of_rows_that_was_changed_leaves_the_database_empty(
    any_sql_url: str, empty_sql_url: str, tmp_path: Path, office: Office
) -> None:
    """All rows are loaded or none."""
    await Former(tmp_path, office).fill(any_sql_url, former_revisions()[-1])
    source, target = Database(any_sql_url), Database(empty_sql_url)
    revision = (await write_dump(source, tmp_path / "dump"))["revision"]
    (tmp_path / "dump" / "tables" / "turns.jsonl").write_text('{"id": \n')
    with pytest.raises(PermanentError, match=r"turns\.jsonl"):
        await load_dump(target, tmp_path / "dump", revision)
    with pytest.raises(PermanentError, match="does not know"):
        await load_dump(target, tmp_path / "dump", "9999")
    async with target.read() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
    await source.close()
    await target.close()
