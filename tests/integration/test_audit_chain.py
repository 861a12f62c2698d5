"""The audit log's chains in SQL: what happens to them is found."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from gateway.adapters.sql_audit import SqlAuditLog
from gateway.database import Database
from gateway.models import audit, audit_heads
from gateway.records import AuditEntry
from sluice.access import PassportVerifier
from sluice.audit import BROKEN, AuditRecord, ChainCheck, Fault, Head
from tests.support.explained import Explained
from tests.support.identity import Office

TENANT = "tenant-1"


@pytest.fixture
async def database(any_sql_url: str) -> AsyncGenerator[Database]:
    database = Database(any_sql_url)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
def log(database: Database, office: Office) -> SqlAuditLog:
    return SqlAuditLog(database, office.signer, office.verifier)


def entry(action: str = "tested", **fields: Any) -> AuditEntry:
    values: dict[str, Any] = {"tenant_id": TENANT, "actor": "person-1", "target": "ü", "detail": {"n": 1, "ä": ["b"]}}
    return AuditEntry(action=action, **{**values, **fields})


async def chain_of(log: SqlAuditLog, records: int = 6) -> None:
    await log.record(entry("tenant.added"))
    for number in range(records - 1):
        await log.record(entry(target=str(number)))


async def faults(log: SqlAuditLog, office: Office, kept: dict[int, str] | None = None) -> list[Fault]:
    check, found = ChainCheck(TENANT, kept), list[Fault]()
    async for read in log.read(TENANT):
        found += check.end(read, office.verifier) if isinstance(read, Head) else check.take(read)
    return found


async def _hash_again(database: Database, sequence: int, **changes: Any) -> None:
    """As someone does who can write to the database and knows how a hash is made, but has no key."""
    async with database.write() as connection:
        row = (await connection.execute(select(audit).where(audit.c.sequence == sequence))).mappings().one()
        fields = {name: row[name] for name in AuditRecord.model_fields} | changes
        changes["hash"] = AuditRecord(**fields).computed
        await connection.execute(update(audit).where(audit.c.sequence == sequence).values(changes))


async def edit(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(update(audit).where(audit.c.sequence == 3).values(actor="somebody else"))


async def edit_and_hash_again(database: Database) -> None:
    await _hash_again(database, 3, actor="somebody else")


async def edit_the_last_and_the_head(database: Database) -> None:
    await _hash_again(database, 6, actor="somebody else")
    async with database.write() as connection:
        new = select(audit.c.hash).where(audit.c.sequence == 6).scalar_subquery()
        await connection.execute(update(audit_heads).values(hash=new))


async def drop(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(delete(audit).where(audit.c.sequence == 3))


async def reorder(database: Database) -> None:
    async with database.write() as connection:
        for now, then in ((3, 100), (4, 3), (100, 4)):
            await connection.execute(update(audit).where(audit.c.sequence == now).values(sequence=then))


async def truncate(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(delete(audit).where(audit.c.sequence > 4))


async def truncate_and_set_the_head_back(database: Database) -> None:
    await truncate(database)
    async with database.write() as connection:
        last = select(audit.c.hash).where(audit.c.sequence == 4).scalar_subquery()
        await connection.execute(update(audit_heads).values(sequence=4, hash=last))


async def truncate_and_drop_the_head(database: Database) -> None:
    await truncate(database)
    async with database.write() as connection:
        await connection.execute(delete(audit_heads))


async def begin_anew(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(delete(audit))
        await connection.execute(delete(audit_heads))


Tampering = Callable[[Database], Awaitable[None]]
TAMPERINGS: list[tuple[Tampering, int]] = [
    (edit, 3),
    (edit_and_hash_again, 3),
    (edit_the_last_and_the_head, 6),
    (drop, 3),
    (reorder, 3),
    (truncate, 5),
    (truncate_and_set_the_head_back, 4),
    (truncate_and_drop_the_head, 4),
    (begin_anew, 1),
]


async def test_every_way_to_change_a_chain_is_found_and_stays_found(
    log: SqlAuditLog, database: Database, office: Office
) -> None:
    """case 46: edit, drop, reorder and truncate a record: each is found at its number.

    Also when the gateway has added to the chain since: it signs no head as if nothing had been.
    """
    for tampering, sequence in TAMPERINGS:
        await begin_anew(database)
        await chain_of(log)
        assert await faults(log, office) == []
        await tampering(database)
        if tampering is not begin_anew:
            assert [fault.sequence for fault in await faults(log, office)][:1] == [sequence], tampering.__name__
        await log.record(entry("went on"))
        assert await faults(log, office), tampering.__name__


async def test_what_goes_on_after_a_chain_was_cut_says_so_itself(
    log: SqlAuditLog, database: Database, office: Office
) -> None:
    await chain_of(log)
    await truncate_and_set_the_head_back(database)
    await log.record(entry("went on"))
    await log.record(entry("went on"))
    actions = [record.action for record in await log.page(TENANT, 3, None)]
    assert actions == ["went on", "went on", BROKEN]
    assert "had been changed before" in (await faults(log, office))[0].what


async def test_an_older_state_of_chain_and_head_together_is_found_by_a_head_that_was_kept_elsewhere(
    log: SqlAuditLog, database: Database, office: Office
) -> None:
    """case 46: this is what the database alone cannot tell."""
    await chain_of(log, 4)
    [(old, _)] = await log.heads()
    await chain_of_more(log)
    [(kept, _)] = await log.heads()
    await truncate(database)
    async with database.write() as connection:
        await connection.execute(update(audit_heads).values(old.model_dump()))
    assert await faults(log, office) == []
    assert [fault.sequence for fault in await faults(log, office, {kept.sequence: kept.hash})] == [6]


async def chain_of_more(log: SqlAuditLog) -> None:
    await log.record(entry(), entry())


async def test_fifty_writers_make_one_chain_without_gaps(database: Database, office: Office) -> None:
    """As many gateways would, half of them on a pool of their own."""
    logs = [SqlAuditLog(database, office.signer, office.verifier) for _ in range(2)]
    await logs[0].record(entry("tenant.added"))
    await asyncio.gather(*(logs[n % 2].record(entry(target=str(n)), entry(tenant_id=None)) for n in range(50)))
    assert await faults(logs[0], office) == []
    assert {(head.chain, last) for head, last in await logs[0].heads()} == {(TENANT, 51), ("system", 50)}


async def test_a_record_and_what_it_tells_of_stand_together_or_not_at_all(
    log: SqlAuditLog, database: Database, office: Office
) -> None:
    async def fail() -> None:
        async with log.together():
            await log.record(entry("tenant.added"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await log.heads() == []
    async with log.together():
        await log.record(entry("tenant.added"))
        await log.record(entry())
    assert (await faults(log, office), len(await log.page(TENANT, 9, None))) == ([], 2)


async def test_what_is_told_twice_is_written_down_once(log: SqlAuditLog) -> None:
    await log.record(entry(once="a"), entry(once="a"))
    await asyncio.gather(*(log.record(entry(once="a")) for _ in range(5)), log.record(entry(once="b")))
    assert len(await log.page(TENANT, 9, None)) == 2


async def test_a_head_outlives_the_key_that_signed_it_once_it_was_signed_anew(
    log: SqlAuditLog, database: Database, office: Office
) -> None:
    await chain_of(log)
    new = Office()
    both = PassportVerifier(office.public_key, new.public_key)
    await SqlAuditLog(database, new.signer, both).sign_anew()
    later = SqlAuditLog(database, new.signer, new.verifier)
    assert await faults(later, new) == []
    await later.record(entry())
    assert await faults(later, new) == []


async def test_what_is_done_each_minute_and_at_each_page_reads_no_whole_chain(tmp_path: Path, office: Office) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/sluice.db")
    await database.migrate()
    told = Explained(database)
    log = SqlAuditLog(told, office.signer, office.verifier)  # pyright: ignore[reportArgumentType]
    await log.sign_anew()
    assert told.plans == ["SCAN audit_heads"]
    assert [head async for head in log.read(TENANT)]
    await database.close()
    assert "sqlite_autoindex_audit_1 (chain=?)" in told.plans[1]
    assert not [plan for plan in told.plans if "SCAN audit" in plan.replace("audit_heads", "")]
