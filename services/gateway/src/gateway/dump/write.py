"""All rows as of one moment, a file a table, and what of the blob store they need."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import Connection, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database import Database
from gateway.dump.rows import encode, tables_of
from sluice.errors import PermanentError

HOLDINGS = "holdings.jsonl"


async def write_dump(database: Database, folder: Path) -> dict[str, Any]:
    """Fills a new folder; the moment, the revision, and how many rows each table has.

    Raises:
        PermanentError: the database has no tables yet.
        TransientError: it is away.
    """
    (folder / "tables").mkdir(parents=True, mode=0o700)
    async with database.snapshot() as connection:
        revision, at = await connection.run_sync(revision_of), datetime.now(UTC)
        if revision is None:
            raise PermanentError("the database has no tables yet: start Sluice once")
        tables = await connection.run_sync(tables_of)
        counts = {table.name: await _write_table(connection, table, folder / "tables") for table in tables}
        await _write_holdings(connection, {table.name: table for table in tables}, folder / HOLDINGS)
    return {"at": at.isoformat(), "revision": revision, "rows": counts}


def revision_of(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def _write_table(connection: AsyncConnection, table: Table, folder: Path) -> int:
    count = 0
    with (folder / f"{table.name}.jsonl").open("x", encoding="utf-8") as file:
        async for row in (await connection.stream(select(table))).mappings():
            file.write(encode(row) + "\n")
            count += 1
    return count


async def _write_holdings(connection: AsyncConnection, tables: dict[str, Table], path: Path) -> None:
    tenants = tables["tenants"]
    with path.open("x", encoding="utf-8") as file:
        for kind in ("documents", "fixes"):
            table, of = tables[kind], tables[kind].c
            columns = [of.id, of.access_level, of.state, *([of.generation] if kind == "documents" else [])]
            joined = table.join(tenants, tenants.c.id == of.tenant_id)
            query = select(tenants.c.slug.label("tenant"), *columns).select_from(joined)
            async for row in (await connection.stream(query)).mappings():
                file.write(json.dumps({"kind": kind, **row}) + "\n")
