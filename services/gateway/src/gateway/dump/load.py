"""The rows of a dump into an empty database, at the revision that they were written at."""

from pathlib import Path

from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Table, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.database import Database, migrations
from gateway.dump.rows import decoded, tables_of
from sluice.errors import PermanentError


async def check_load(database: Database, revision: str) -> None:
    """
    Raises:
        PermanentError: the revision is one of a newer Sluice, or the database is not empty.
        TransientError: it is away.
    """
    try:
        ScriptDirectory.from_config(migrations()).get_revision(revision)
    except CommandError as error:
        raise PermanentError(
            f"the rows are of revision {revision}, which this version does not know: restore with the version that made"
            " the backup, or a newer one"
        ) from error
    async with database.read() as connection:
        if await connection.run_sync(_tables_there):
            raise PermanentError("the database is not empty: restore into a new one")


async def load_dump(database: Database, folder: Path, revision: str) -> dict[str, int]:
    """How many rows each table got; all of them, or none.

    Raises:
        PermanentError: as `check_load`, or a file of the dump is not as it was written.
        TransientError: the database is away.
    """
    await check_load(database, revision)
    async with database.together():
        await database.migrate(revision)
        async with database.write() as connection:
            tables = await connection.run_sync(tables_of)
            return {table.name: await _load_table(connection, table, folder / "tables") for table in tables}


async def _load_table(connection: AsyncConnection, table: Table, folder: Path) -> int:
    file, count = folder / f"{table.name}.jsonl", 0
    try:
        for batch in decoded(file, table):
            await connection.execute(insert(table), batch)
            count += len(batch)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"{file.name} is not what a backup of this revision has ({type(error).__name__})"
        ) from error
    if connection.dialect.name == "postgresql" and count:
        await _go_on_counting(connection, table)
    return count


async def _go_on_counting(connection: AsyncConnection, table: Table) -> None:
    """PostgreSQL counts numbers of rows apart from the rows."""
    column = table.autoincrement_column
    if column is None or column.server_default is None:
        return
    sequence = func.pg_get_serial_sequence(table.name, column.name)
    await connection.execute(select(func.setval(sequence, select(func.max(column)).scalar_subquery())))


def _tables_there(connection: Connection) -> bool:
    return bool(inspect(connection).get_table_names())
