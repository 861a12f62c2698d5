"""How SQLite runs the queries of an adapter."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from gateway.database import Database


class Explained:
    """A database that also asks how each query is run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.plans: list[str] = []

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Any]:
        async with self._database.read() as connection:
            yield _Connection(connection, self.plans)


class _Connection:
    def __init__(self, connection: Any, plans: list[str]) -> None:
        self._connection = connection
        self._plans = plans

    async def execute(self, query: Any) -> Any:
        compiled = query.compile(self._connection.sync_connection, compile_kwargs={"literal_binds": True})
        rows = (await self._connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))).all()
        self._plans.append("; ".join(row[-1] for row in rows))
        return await self._connection.execute(query)
