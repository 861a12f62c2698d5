"""Conversations and turns in SQL: what was asked and answered is sealed for the tenant and the lane."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, select, tuple_, update

from gateway.adapters.sealed_columns import SealedColumns, each_openable
from gateway.adapters.sql import comes_after, newest_first, once_more, record_of, values_of
from gateway.database import Database
from gateway.models import conversations, feedback, people, tenants, turns
from gateway.records import Answer, Conversation, Page, Rating, Turn
from sluice.access import Level
from sluice.errors import SealBrokenError
from sluice.sealing import Keyring

_OPEN = and_(turns.c.answer.is_(None), turns.c.error.is_(None))
_OF_TENANT = conversations.join(people).join(tenants)
_CONVERSATION = select(conversations, tenants.c.slug.label("tenant")).select_from(_OF_TENANT)
_TURN = select(turns, tenants.c.slug.label("tenant")).select_from(turns.join(_OF_TENANT))


class SqlConversations:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._titles = SealedColumns(keyring, "conversations")
        self._sealed_turns = SealedColumns(keyring, "turns")
        self._comments = SealedColumns(keyring, "feedback")

    async def start(self, person_id: str, conversation: Conversation, turn: Turn) -> bool:
        async def start() -> bool:
            async with self._database.write() as connection:
                if (await connection.execute(select(turns.c.id).where(turns.c.id == turn.id))).first():
                    return False
                known = await connection.execute(
                    update(conversations)
                    .where(conversations.c.id == conversation.id, conversations.c.person_id == person_id)
                    .values(updated_at=turn.created_at)
                )
                if not known.rowcount:
                    row = values_of(conversation, person_id=person_id)
                    await connection.execute(insert(conversations).values(row | self._title(turn.tenant, conversation)))
                await connection.execute(insert(turns).values(self._turn_row(turn)))
                return True

        return await once_more(start)

    async def find(self, person_id: str, conversation_id: str) -> Conversation | None:
        query = _CONVERSATION.where(conversations.c.id == conversation_id, conversations.c.person_id == person_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return self._conversation(row) if row else None

    async def page(self, person_id: str, page: Page) -> list[Conversation]:
        mine = _CONVERSATION.where(conversations.c.person_id == person_id)
        query = newest_first(mine, conversations.c.updated_at, conversations.c.id, page)
        async with self._database.read() as connection:
            return [self._conversation(row) for row in (await connection.execute(query)).mappings()]

    async def rename(self, conversation_id: str, title: str, level: Level) -> None:
        of_tenant = select(tenants.c.slug).select_from(_OF_TENANT).where(conversations.c.id == conversation_id)
        renamed = update(conversations).where(conversations.c.id == conversation_id)
        async with self._database.write() as connection:
            if tenant := (await connection.execute(of_tenant)).scalar():
                sealed = self._titles.seal(tenant, level, conversation_id, {"title": title})
                await connection.execute(renamed.values(sealed | {"title_level": level}))

    async def remove(self, conversation_id: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(conversations).where(conversations.c.id == conversation_id))

    async def turns(self, conversation_id: str) -> list[Turn]:
        query = _TURN.where(turns.c.conversation_id == conversation_id)
        return await self._turns(query.order_by(turns.c.created_at, turns.c.id))

    async def turn(self, person_id: str, turn_id: str) -> Turn | None:
        found = await self.turns_of([(person_id, turn_id)])
        return found[0] if found else None

    async def turns_of(self, asked: Collection[tuple[str, str]]) -> list[Turn]:
        return await self._turns(_TURN.where(tuple_(conversations.c.person_id, turns.c.id).in_(asked)))

    async def history(self, conversation_id: str, levels: Sequence[Level], limit: int, before: datetime) -> list[Turn]:
        query = (
            _TURN.where(turns.c.conversation_id == conversation_id, turns.c.level.in_(levels), turns.c.lane.in_(levels))
            .where(turns.c.created_at < before)
            .where(turns.c.answer.is_not(None), turns.c.finish_reason != "cancelled")
            .order_by(turns.c.created_at.desc(), turns.c.id.desc())
            .limit(limit)
        )
        return [turn for turn in await self._turns(query) if turn.error is None][::-1]

    async def inherit(self, turn: Turn, sources: Sequence[str]) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(turns).where(turns.c.id == turn.id).values(inherited=list(sources)))

    async def complete(self, tenant: str, turn_id: str, answer: Answer, at: datetime) -> Turn | None:
        of_tenant = _TURN.where(turns.c.id == turn_id, tenants.c.slug == tenant)
        changes = values_of(answer, answered_at=at, error=None)
        del changes["text"]
        async with self._database.write() as connection:
            found = (await connection.execute(of_tenant)).mappings().first()
            if found is None:
                return None
            texts = {"answer": answer.text, "sources": json.dumps(answer.sources)}
            changes |= self._sealed_turns.seal(tenant, Level(found["lane"]), turn_id, texts)
            await connection.execute(
                update(turns).where(turns.c.id == turn_id, turns.c.answer.is_(None)).values(changes)
            )
            row = (await connection.execute(of_tenant)).mappings().one()
        return self._turn(row)

    async def fail(self, turn_id: str, error: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(turns).where(turns.c.id == turn_id, turns.c.answer.is_(None)).values(error=error)
            )

    async def overdue(self, asked_before: datetime, after: Turn | None = None) -> list[Turn]:
        query = _TURN.where(_OPEN, turns.c.created_at < asked_before)
        if after is not None:
            query = query.where(comes_after(turns.c.created_at, turns.c.id, after.created_at, after.id))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(turns.c.created_at, turns.c.id).limit(100))).mappings()
            return list(each_openable(self._turn, rows))

    async def published(self, turn: Turn, at: datetime) -> None:
        first = (turns.c.id == turn.id, turns.c.run == turn.run, turns.c.published_at.is_(None))
        async with self._database.write() as connection:
            await connection.execute(update(turns).where(*first).values(published_at=at))

    async def unheard(self, changed_before: datetime, after: Turn | None) -> list[tuple[Turn, str]]:
        quiet = func.coalesce(turns.c.published_at, turns.c.created_at) < changed_before
        if after is not None:
            quiet = and_(quiet, comes_after(turns.c.created_at, turns.c.id, after.created_at, after.id))
        open_turns = _TURN.add_columns(conversations.c.person_id).where(_OPEN, quiet)
        query = open_turns.order_by(turns.c.created_at, turns.c.id).limit(100)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings()
            return list(each_openable(lambda row: (self._turn(row), row["person_id"]), rows))

    async def again(self, turn: Turn) -> Turn | None:
        unchanged = (turns.c.id == turn.id, turns.c.run == turn.run, _OPEN)
        return await self._change(turn, *unchanged, run=turn.run + 1, published_at=None)

    async def reopen(self, turn: Turn, at: datetime) -> Turn | None:
        unsent = (turns.c.id == turn.id, turns.c.answer.is_(None), turns.c.published_at.is_(None))
        return await self._change(turn, *unsent, error=None, created_at=at)

    async def _change(self, turn: Turn, *conditions: ColumnElement[bool], **changes: Any) -> Turn | None:
        async with self._database.write() as connection:
            changed = await connection.execute(update(turns).where(*conditions).values(changes))
        return replace(turn, **changes) if changed.rowcount else None

    async def rate(self, turn_id: str, verdict: str, reason: str | None, comment: str | None, at: datetime) -> None:
        row = {"turn_id": turn_id, "verdict": verdict, "reason": reason, "created_at": at}

        async def rate() -> None:
            async with self._database.write() as connection:
                rated = (await connection.execute(_TURN.where(turns.c.id == turn_id))).mappings().one()
                place = (rated["tenant"], Level(rated["lane"]), turn_id)
                row.update(self._comments.seal(*place, {"comment": comment}))
                changed = await connection.execute(update(feedback).where(feedback.c.turn_id == turn_id).values(row))
                if not changed.rowcount:
                    await connection.execute(insert(feedback).values(row))

        await once_more(rate)

    async def ratings(self, conversation_id: str) -> dict[str, Rating]:
        of_turns = feedback.join(turns).join(_OF_TENANT)
        query = select(feedback, turns.c.lane, tenants.c.slug.label("tenant")).select_from(of_turns)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.where(turns.c.conversation_id == conversation_id))).mappings().all()
        return {row["turn_id"]: self._rating(row) for row in rows}

    async def _turns(self, query: Any) -> list[Turn]:
        async with self._database.read() as connection:
            return [self._turn(row) for row in (await connection.execute(query)).mappings()]

    def _title(self, tenant: str, conversation: Conversation) -> dict[str, Any]:
        return self._titles.seal(tenant, conversation.title_level, conversation.id, {"title": conversation.title})

    def _turn_row(self, turn: Turn) -> dict[str, Any]:
        texts = {"question": turn.question, "answer": turn.answer, "sources": json.dumps(turn.sources)}
        row = values_of(turn) | self._sealed_turns.seal(turn.tenant, turn.lane, turn.id, texts)
        del row["tenant"]
        return row

    def _conversation(self, row: RowMapping) -> Conversation:
        level = Level(row["title_level"])
        try:
            title = self._titles.open(row["tenant"], level, row["id"], row, "title")["title"]
        except SealBrokenError:
            title = "(this title does not open)"
        return record_of(Conversation, row, title=title, title_level=level)

    def _turn(self, row: RowMapping) -> Turn:
        """One that does not open is one that failed, so that those beside it are still shown."""
        levels = {"lane": Level(row["lane"]), "level": Level(row["level"])}
        names = ("question", "answer", "sources")
        try:
            texts = self._sealed_turns.open(row["tenant"], levels["lane"], row["id"], row, *names)
        except SealBrokenError as error:
            texts: dict[str, Any] = {"question": "", "answer": None, "sources": "[]", "error": error.detail}
        texts["sources"] = json.loads(texts["sources"])
        return record_of(Turn, row, "", **levels, **texts)

    def _rating(self, row: RowMapping) -> Rating:
        try:
            texts = self._comments.open(row["tenant"], Level(row["lane"]), row["turn_id"], row, "comment")
        except SealBrokenError:
            texts = {"comment": "(this comment does not open)"}
        return record_of(Rating, row, **texts)
