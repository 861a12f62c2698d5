"""The SQL database: SQLite unless a URL says otherwise. Readers see one snapshot; writers commit as a whole."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sluice.errors import TransientError

_BUSY_SECONDS = 15
_MIGRATION_LOCK = 0x536C7569  # any number that no one else locks: "Slui"

_JOINED: ContextVar["tuple[Database, AsyncConnection] | None"] = ContextVar("sluice_joined_transaction", default=None)


class Database:
    """One pool of connections. A failing server is a TransientError; a violated constraint stays IntegrityError."""

    def __init__(self, url: str) -> None:
        self._engine = _sqlite_engine(url) if url.startswith("sqlite") else create_async_engine(url, pool_pre_ping=True)
        self._writer = self._engine.execution_options(sluice_writes=True)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        if joined := self._joined():
            yield joined
            return
        async with _translated(), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that holds SQLite's write lock from its first statement, so that it never fails half way."""
        if joined := self._joined():
            async with joined.begin_nested():
                yield joined
            return
        async with _translated(), self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def together(self) -> AsyncGenerator[None]:
        """All that this task writes in it is committed as a whole. Nothing else may be waited for meanwhile."""
        if self._joined():
            yield
            return
        async with self.write() as connection:
            token = _JOINED.set((self, connection))
            try:
                yield
            finally:
                _JOINED.reset(token)

    def _joined(self) -> AsyncConnection | None:
        database, connection = _JOINED.get() or (None, None)
        return connection if database is self else None

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[AsyncConnection]:
        """Reads everything as of one moment, however long that takes; writers go on meanwhile."""
        engine = self._engine
        if engine.dialect.name == "postgresql":  # SQLite's transactions are so by themselves
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        async with _translated(), engine.begin() as connection:
            yield connection

    async def migrate(self, revision: str = "head") -> None:
        """Brings the tables up to date; two gateways that start at once do it one after the other."""
        async with self.write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade, revision)

    async def ping(self) -> None:
        """Raises TransientError when the database does not answer within 2 s."""
        try:
            async with asyncio.timeout(2), self.read() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError as error:
            raise TransientError("the database does not answer") from error

    async def close(self) -> None:
        await self._engine.dispose()


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
        raise TransientError("the database is not available right now; try again") from error
    except DBAPIError as error:
        if error.connection_invalidated or _passes(error):
            raise TransientError("the database is not available right now; try again") from error
        raise


def _passes(error: DBAPIError) -> bool:
    """By PostgreSQL's class of SQLSTATE: connection lost, rolled back for another, no resources, starting or ending."""
    return str(getattr(error.orig, "sqlstate", None) or "")[:2] in ("08", "40", "53", "57")


def _sqlite_engine(url: str) -> AsyncEngine:
    Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late for reads and for DDL
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sluice_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "gateway:migrations")
    return config


def _upgrade(connection: Connection, revision: str) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
