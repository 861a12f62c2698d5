"""The audit log in SQL: rows are only ever added, each to the end of its tenant's chain."""

import json
import logging
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from prometheus_client import Counter
from sqlalchemy import RowMapping, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql import once_more
from gateway.database import Database
from gateway.models import audit, audit_heads, audit_passages
from gateway.records import AuditEntry
from sluice.access import PassportSigner, PassportVerifier, digest
from sluice.audit import BEGINNING, BROKEN, SYSTEM, AuditRecord, Head, chained

logger = logging.getLogger(__name__)
_BROKEN = Counter("sluice_audit_chains_broken_total", "Audit chains that were found changed when they were added to.")
_TARGET = 300
_AT_ONCE = 500


class SqlAuditLog:
    def __init__(self, database: Database, signer: PassportSigner, verifier: PassportVerifier) -> None:
        self._database = database
        self._signer = signer
        self._verifier = verifier

    async def record(self, *entries: AuditEntry) -> None:
        if all([await self._is_told(entry) for entry in entries]):
            return
        chained_ = sorted(entries, key=_chain)  # always in this order, so that no two writers wait for each other

        async def record() -> None:
            async with self._database.write() as connection:
                for chain, of_chain in groupby(chained_, key=_chain):
                    await self._append(connection, chain, list(of_chain))

        await once_more(record)

    @asynccontextmanager
    async def together(self) -> AsyncGenerator[None]:
        """What is written in it, and the records of it, stand together or not at all."""
        async with self._database.together():
            yield

    async def heads(self) -> list[tuple[Head, int]]:
        """Of every chain, with the number of its last record. A chain without a head has an empty one."""
        last = select(audit.c.chain, func.max(audit.c.sequence).label("last")).group_by(audit.c.chain).subquery()
        query = select(last.c.last, last.c.chain.label("of"), audit_heads).select_from(
            last.join(audit_heads, audit_heads.c.chain == last.c.chain, full=True)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [(_head(row, row["chain"] or row["of"]), row["last"] or 0) for row in rows]

    async def sign_anew(self) -> None:
        """Signs good heads with the present key, before the one that signed them is given up."""
        async with self._database.read() as connection:  # the heads alone: this is done each minute
            heads = [_head(row, row["chain"]) for row in (await connection.execute(select(audit_heads))).mappings()]
        for head in heads:
            if head.signature and _key(head) != _key(head.signed(self._signer)):
                async with self._database.write() as connection:
                    now = await self._head_row(connection, head.chain)
                    if now.holds(self._verifier):
                        await self._sign(connection, now)

    async def read(self, chain: str) -> AsyncGenerator[AuditRecord | Head]:
        """The chain as it is now, oldest first, and its head last."""
        head, reached = await self._end_of(chain), 0
        while reached is not None:
            query = select(audit).where(audit.c.chain == chain, audit.c.sequence > reached)
            async with self._database.read() as connection:
                ordered = query.where(audit.c.sequence <= head[1]).order_by(audit.c.sequence).limit(_AT_ONCE)
                rows = (await connection.execute(ordered)).mappings().all()
            for row in rows:
                yield _record(row)
            reached = rows[-1]["sequence"] if rows else None
        yield head[0]

    async def page(
        self,
        tenant_id: str,
        limit: int,
        before: int | None,
        *,
        action: str | None = None,
        actor: str | None = None,
        target: str | None = None,
        without: Collection[str] = (),
    ) -> list[AuditRecord]:
        """The newest records of the tenant, of one action, actor or target if given; some actions left out."""
        query = select(audit).where(audit.c.chain == tenant_id, audit.c.action.not_in(without))
        for column, value in ((audit.c.action, action), (audit.c.actor, actor), (audit.c.target, target)):
            query = query if value is None else query.where(column == value)
        if before is not None:
            query = query.where(audit.c.sequence < before)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(audit.c.sequence.desc()).limit(limit))).mappings()
            return [_record(row) for row in rows]

    async def retrievals(
        self, tenant_id: str, limit: int, *, passage_id: str | None, document_id: str | None, person_id: str | None
    ) -> list[AuditRecord]:
        """The newest records of retrievals that gave the passage, or one of the document, to the person."""
        found = select(audit_passages.c.sequence).where(audit_passages.c.chain == tenant_id).distinct()
        named = {"passage_id": passage_id, "document_id": document_id, "person_id": person_id}
        for column, value in named.items():
            found = found if value is None else found.where(audit_passages.c[column] == value)
        newest = found.order_by(audit_passages.c.sequence.desc()).limit(limit)
        query = select(audit).where(audit.c.chain == tenant_id, audit.c.sequence.in_(newest))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(audit.c.sequence.desc()))).mappings()
            return [_record(row) for row in rows]

    async def _is_told(self, entry: AuditEntry) -> bool:
        """So that a flood of what is told once locks nothing."""
        if entry.once is None:
            return False
        async with self._database.read() as connection:
            return not await _untold(connection, _chain(entry), [entry])

    async def _append(self, connection: AsyncConnection, chain: str, entries: Sequence[AuditEntry]) -> None:
        now = datetime.now(UTC)
        head = start = await self._locked_head(connection, chain)
        for entry in await _untold(connection, chain, entries):
            record = chained(head, now, **_fields(entry))
            await connection.execute(insert(audit).values(_row(record)))
            if entry.passages:
                await connection.execute(insert(audit_passages), _passages(record, entry))
            head = Head(chain=chain, sequence=record.sequence, hash=record.hash)
        if head is not start:
            await self._sign(connection, head)

    async def _sign(self, connection: AsyncConnection, head: Head) -> None:
        signed = head.signed(self._signer).model_dump(exclude={"chain"})
        await connection.execute(update(audit_heads).where(audit_heads.c.chain == head.chain).values(signed))

    async def _locked_head(self, connection: AsyncConnection, chain: str) -> Head:
        """Where the chain goes on. One that was changed goes on with a record that says so: what was cut stays cut."""
        head = await self._head_row(connection, chain)
        query = select(audit.c.sequence, audit.c.hash).where(audit.c.chain == chain)
        last = (await connection.execute(query.order_by(audit.c.sequence.desc()).limit(1))).first()
        found = (last.sequence, last.hash) if last else (0, BEGINNING)
        whole = head.holds(self._verifier) or found == (0, BEGINNING)
        if whole and (head.sequence, head.hash) == found:
            return head
        _BROKEN.inc()
        logger.critical("audit.chain-broken", extra={"chain": chain, "head": head.sequence, "last": found[0]})
        told = {"head": head.sequence, "last": found[0], "signed": head.holds(self._verifier)}
        sequence = max(head.sequence, found[0])
        goes_on = Head(chain=chain, sequence=sequence, hash=found[1])
        tenant_id = None if chain == SYSTEM else chain
        entry = AuditEntry(tenant_id=tenant_id, actor="system", action=BROKEN, target=chain, detail=told)
        record = chained(goes_on, datetime.now(UTC), **_fields(entry))
        await connection.execute(insert(audit).values(_row(record)))
        return Head(chain=chain, sequence=record.sequence, hash=record.hash)

    async def _head_row(self, connection: AsyncConnection, chain: str) -> Head:
        query = select(audit_heads).where(audit_heads.c.chain == chain).with_for_update()
        row = (await connection.execute(query)).mappings().first()
        if row is None:  # who makes it at the same moment as another one tries once more
            empty = Head(chain=chain, sequence=0, hash=BEGINNING)
            await connection.execute(insert(audit_heads).values(empty.model_dump()))
            return empty
        return _head(row, chain)

    async def _end_of(self, chain: str) -> tuple[Head, int]:
        """In one query, so that nothing is added between the two."""
        last = select(func.max(audit.c.sequence)).where(audit.c.chain == chain).scalar_subquery().label("last")
        one = select(literal(1)).subquery()
        query = select(last, audit_heads).select_from(one.outerjoin(audit_heads, audit_heads.c.chain == chain))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one()
        return _head(row, chain), row["last"] or 0


async def _untold(connection: AsyncConnection, chain: str, entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    names = {entry.once: _name(entry.once) for entry in entries if entry.once is not None}
    query = select(audit.c.once).where(audit.c.chain == chain, audit.c.once.in_(list(names.values())))
    told = set((await connection.execute(query)).scalars()) if names else set[str | None]()
    untold: list[AuditEntry] = []
    for entry in entries:
        if entry.once is not None:
            if names[entry.once] in told:
                continue
            told.add(names[entry.once])
        untold.append(entry)
    return untold


def _key(head: Head) -> str:
    return head.signature.partition(".")[0]


def _chain(entry: AuditEntry) -> str:
    return entry.tenant_id or SYSTEM


def _name(once: str) -> str:
    return digest(once)


def _fields(entry: AuditEntry) -> dict[str, Any]:
    """As the database gives them back."""
    return {
        "tenant_id": entry.tenant_id,
        "actor": entry.actor[:64],
        "action": entry.action,
        "target": entry.target.replace("\0", "")[:_TARGET],
        "detail": json.loads(json.dumps(entry.detail)),
        "once": _name(entry.once) if entry.once is not None else None,
    }


def _row(record: AuditRecord) -> dict[str, Any]:
    return record.model_dump()


def _passages(record: AuditRecord, entry: AuditEntry) -> list[dict[str, Any]]:
    place = {"chain": record.chain, "sequence": record.sequence, "person_id": record.actor}
    return [
        place | {"passage_id": passage[:64], "document_id": of[:64]} for passage, of in dict(entry.passages).items()
    ]


def _record(row: RowMapping) -> AuditRecord:
    return AuditRecord(**{name: row[name] for name in AuditRecord.model_fields})


def _head(row: RowMapping | None, chain: str) -> Head:
    if row is None or row["chain"] is None:
        return Head(chain=chain, sequence=0, hash=BEGINNING)
    return Head(**{name: row[name] for name in Head.model_fields})
