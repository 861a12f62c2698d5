"""The database and the gateway's start."""

import asyncio
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from gateway.adapters.sql_accounts import SqlAccounts
from gateway.adapters.sql_audit import SqlAuditLog
from gateway.database import Database
from gateway.models import audit, metadata, people, tenants
from gateway.tenants import FirstAdmin, ensure_first_admin
from sluice.errors import TransientError
from tests.support.gateway import RunningGateway, cheap_passwords, gateway_settings, running_gateway
from tests.support.identity import Office
from tests.support.keys import keyring
from tests.support.servers import RedisServer


async def test_migrated_tables_are_those_of_the_models(any_sql_url: str) -> None:
    database = Database(any_sql_url)
    await database.migrate()

    def differences(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return [change for change in compare_metadata(context, metadata) if change[0] != "remove_table"]

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_gateways_that_start_at_once_migrate_once_and_make_one_admin(
    any_sql_url: str, tmp_path: Path, office: Office
) -> None:
    """case 16: racing starts make one first admin."""
    databases = [Database(any_sql_url) for _ in range(4)]

    async def start(database: Database) -> None:
        await database.migrate()
        first = FirstAdmin(email="admin@razorpay.com", password=None, password_file=tmp_path / "run" / "password")
        log = SqlAuditLog(database, office.signer, office.verifier)
        await ensure_first_admin(SqlAccounts(database), cheap_passwords(), log, keyring(tmp_path), first)

    await asyncio.gather(*(start(database) for database in databases))
    async with databases[0].read() as connection:
        counts = [(await connection.execute(select(func.count()).select_from(t))).scalar() for t in (tenants, people)]
        added = select(func.count()).where(audit.c.action == "person.added")
        assert (await connection.execute(added)).scalar() == 1
    assert counts == [1, 1]
    for database in databases:
        await database.close()


async def test_writers_wait_for_each_other_and_none_is_refused(any_sql_url: str) -> None:
    database = Database(any_sql_url)
    await database.migrate()

    async def write_after_reading(number: int) -> None:
        async with database.write() as connection:
            await connection.execute(select(func.count()).select_from(audit))
            await connection.execute(insert(audit).values(_audit_row(number)))

    await asyncio.gather(*(write_after_reading(number) for number in range(30)))
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(audit))).scalar() == 30
    await database.close()


def _audit_row(number: int) -> dict[str, object]:
    return {
        "at": datetime.now(UTC),
        "tenant_id": None,
        "actor": str(number),
        "action": "test",
        "target": "x",
        "detail": {},
        "chain": "test",
        "sequence": number,
        "previous": "",
        "hash": "",
    }


async def test_a_reference_to_nothing_is_refused(any_sql_url: str) -> None:
    """SQLite looks at foreign keys only when it is told to."""
    database = Database(any_sql_url)
    await database.migrate()
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(
                text("INSERT INTO sessions (token_sha256, person_id, expires_at) VALUES ('a', 'nobody', :at)"),
                {"at": _audit_row(0)["at"]},
            )
    await database.close()


async def test_a_database_that_is_away_is_a_transient_error() -> None:
    database = Database("postgresql+asyncpg://sluice@127.0.0.1:1/none")
    with pytest.raises(TransientError):
        await database.ping()
    await database.close()


async def test_the_first_admins_one_time_password_is_written_once_for_its_owner_alone(
    tmp_path: Path, empty_valkey: RedisServer, office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url, admin_password=None)
    async with running_gateway(settings, office) as gateway:
        password = settings.first_password_path.read_text()
        assert stat.S_IMODE(settings.first_password_path.stat().st_mode) == 0o600
        await gateway.sign_in("admin@razorpay.com", password, new_password="the admin's own password")
        settings.first_password_path.unlink()
    async with running_gateway(settings, office) as gateway:
        assert not settings.first_password_path.exists()
        await gateway.sign_in("admin@razorpay.com", "the admin's own password")
    assert password not in caplog.text


async def test_what_was_kept_is_there_again_after_a_restart(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings = gateway_settings(tmp_path, empty_valkey.url)
    async with running_gateway(settings, office) as gateway:
        client = await gateway.person("stays@example.com", "read")
        token = client.headers["Authorization"].removeprefix("Bearer ")
    async with running_gateway(settings, office) as gateway, gateway.client(token) as client:
        assert (await client.get("/api/v1/me")).json()["email"] == "stays@example.com"


async def test_sqlite_is_in_write_ahead_mode_and_synchronous(gateway: RunningGateway) -> None:
    async with gateway.adapters.database.read() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        ]
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert pragmas == ["wal", 2]
    assert "people" in tables


async def test_a_gateway_without_the_data_keys_waits_for_them_and_makes_and_fails_nothing(
    tmp_path: Path, empty_valkey: RedisServer, office: Office
) -> None:
    settings, fixes = gateway_settings(tmp_path, empty_valkey.url), "/api/v1/knowledge/fixes"
    body = {"question": "How long?", "answer": "Forty days.", "access_level": "EXTERNAL"}
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        made = (await admin.post(fixes, json=body)).json()
        await gateway.add_tenant("acme")
    for tenant in ("default", "acme"):  # with the tenant, and before anything was sealed
        for level in ("internal", "external"):
            assert (settings.data_keys_dir / level / tenant / "1.json").exists()
    settings.data_keys_dir.rename(tmp_path / "elsewhere")
    async with running_gateway(settings, office) as gateway, await gateway.admin() as admin:
        for answer in (await admin.get(f"{fixes}/{made['id']}"), await admin.post(fixes, json=body)):
            assert (answer.status_code, answer.json()["title"]) == (503, "Data key unavailable")
        assert not settings.data_keys_dir.exists()
        (tmp_path / "elsewhere").rename(settings.data_keys_dir)
        assert (await admin.get(f"{fixes}/{made['id']}")).json()["state"] == "pending"
