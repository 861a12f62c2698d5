"""A database as a former version left it: its tables by its own migrations, a row in each that it knew."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, DateTime, Integer, MetaData, Table, insert

from gateway.adapters.sealed_columns import SealedColumns
from gateway.database import Database, migrations
from sluice.access import Level
from sluice.audit import BEGINNING, FIRST, Head, chained
from tests.support.identity import Office
from tests.support.keys import keyring

_READABLE_SINCE = "0003"
"""What was written before is no chain, and sealed in another way."""
AT = datetime(2026, 11, 1, 12, 30, 15, 250_000, tzinfo=UTC)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
_NOT_TOLD = {Boolean: False, Integer: 1, DateTime: AT}


def former_revisions() -> list[str]:
    """Those that a data folder can have whose rows are still read, but for the newest."""
    script = ScriptDirectory.from_config(migrations())
    found = [each.revision for each in script.walk_revisions()][::-1]
    return found[found.index(_READABLE_SINCE) : -1]


@dataclass(frozen=True)
class Former:
    """Its one tenant is `acme`; all ids are the name of the table and `-1`."""

    folder: Path
    office: Office

    async def fill(self, url: str, revision: str) -> None:
        database = Database(url)
        await database.migrate(revision)
        async with database.write() as connection:
            await connection.run_sync(self._insert)
        await database.close()

    def _insert(self, connection: Connection) -> None:
        metadata, rows = MetaData(), self._rows()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name != "alembic_version":
                connection.execute(insert(table).values(_known(table, rows.get(table.name, {}))))

    def _rows(self) -> dict[str, dict[str, Any]]:
        turn = {"question": "How long?", "answer": "Forty days [1].", "sources": json.dumps([{"title": "Guide"}])}
        ended = {"created_at": AT, "updated_at": AT, "published_at": AT, "run": 1}
        by = {"created_by": "people-1", "tenant_id": "tenants-1"}
        head = Head(chain="tenants-1", sequence=0, hash=BEGINNING)
        told = {"tenant_id": "tenants-1", "actor": "operator", "detail": {"slug": "acme", "n": 1.5}, "once": None}
        record = chained(head, AT, action=FIRST, target="tenants-1", **told)
        signed = Head(chain=record.chain, sequence=1, hash=record.hash).signed(self.office.signer)
        return {
            "tenants": {"id": "tenants-1", "slug": "acme", "name": "Acme", "internal_domains": ["acme.com"]},
            "people": {
                "id": "people-1",
                "tenant_id": "tenants-1",
                "email": "ann@acme.com",
                "email_verified": True,
                "password_hash": "a hash",
                "password_one_time": False,
                "rights": ["read"],
            },
            "sessions": {"token_sha256": "a" * 64, "person_id": "people-1", "expires_at": LATER},
            "login_attempts": {"address_sha256": "b" * 64, "attempts": 3, "window_ends": AT},
            "documents": by
            | ended
            | {
                "id": "documents-1",
                "access_level": "INTERNAL",
                "name": "gu\u00efde.txt",
                "title": "Gu\u00efde",
                "sha256": "c" * 64,
                "generation": 2,
                "state": "done",
                "chunk_count": 7,
            },
            "jobs": by
            | ended
            | {
                "id": "jobs-1",
                "document_id": "documents-1",
                "generation": 2,
                "kind": "index",
                "state": "done",
                "attempt": 1,
                "done": 7,
                "total": 7,
                "unchanged": False,
                "bulk": True,
                "waiting_lane": "INTERNAL",
            },
            "conversations": {
                "id": "conversations-1",
                "person_id": "people-1",
                "title_level": "EXTERNAL",
                **self._sealed("conversations", {"title": "Refunds"}),
            },
            "turns": {
                "id": "turns-1",
                "conversation_id": "conversations-1",
                "lane": "EXTERNAL",
                "level": "EXTERNAL",
                "tier": "extractive",
                "finish_reason": "stop",
                "citations": [1],
                "usage": {},
                "inherited": ["documents-1"],
                "answered_at": AT,
                **self._sealed("turns", turn),
            },
            "feedback": {
                "turn_id": "turns-1",
                "verdict": "down",
                "reason": "wrong",
                **self._sealed("feedback", {"comment": "no"}, row_id="turns-1"),
            },
            "fixes": by
            | ended
            | {
                "id": "fixes-1",
                "access_level": "EXTERNAL",
                "state": "active",
                "sources": ["documents-1"],
                "declassified": True,
                **self._sealed("fixes", {"question": "How long?", "answer": "Fifty days."}),
            },
            "idempotency_keys": {
                "owner": "people-1",
                "key": "k",
                "tenant_id": "tenants-1",
                "body_sha256": "d" * 64,
                "job_id": "jobs-1",
            },
            "api_keys": by
            | {"id": "key-1", "name": "bulk", "sealed_digest": "sealed", "rights": ["upload"], "clearance": "INTERNAL"},
            "audit": record.model_dump(),
            "audit_heads": signed.model_dump(),
            "audit_passages": {
                "chain": "tenants-1",
                "sequence": 1,
                "passage_id": "p",
                "document_id": "documents-1",
                "person_id": "people-1",
            },
        }

    def _sealed(self, table: str, texts: Mapping[str, str], *, row_id: str = "") -> dict[str, Any]:
        columns = SealedColumns(keyring(self.folder), table)
        return columns.seal("acme", Level.EXTERNAL, row_id or f"{table}-1", texts)


def _known(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knew of the row; of a table or column that came later, and has no default, something."""
    known = {column.name: row[column.name] for column in table.columns if column.name in row}
    for column in table.columns:
        told = column.name in known or column.nullable or column.server_default is not None
        if not told and column is not table.autoincrement_column:
            kinds = (value for kind, value in _NOT_TOLD.items() if isinstance(column.type, kind))
            foreign = next(iter(column.foreign_keys), None)
            known[column.name] = f"{foreign.column.table.name}-1" if foreign else next(kinds, "")
    return known
