"""Asking a question: the turn is kept first, then the question goes on its way."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.disclose import Disclose, rests_on
from gateway.errors import NotFoundError
from gateway.passports import Errand, Holder
from gateway.ports import Conversations, Publisher, Replies
from gateway.records import Conversation, Person, Turn
from gateway.tokens import new_id
from sluice import messages
from sluice.access import Level, PassportSigner, Right
from sluice.messages import (
    AnswerCompleted,
    Message,
    QuestionAsked,
    QuestionFollowedUp,
    QuestionGrounded,
    RetrievalRecorded,
    message_id_of,
)

_KINDS = (QuestionAsked, QuestionFollowedUp, QuestionGrounded, RetrievalRecorded, AnswerCompleted)
_TITLE_LENGTH = 80


@dataclass(frozen=True, kw_only=True)
class Ask:
    conversations: Conversations
    publisher: Publisher
    replies: Replies
    signer: PassportSigner
    disclose: Disclose
    deadline: timedelta
    history_turns: int

    async def __call__(
        self, person: Person, question: str, conversation_id: str | None, *, turn_id: str | None = None
    ) -> Turn:
        """Keeps the turn and publishes the question. A `turn_id` that is there already names the same question.

        Raises:
            NotFoundError: the conversation is not there, or not this person's.
            WithheldError: the turn is there, and above the person's clearance of now.
            TransientError: the question could not be published; the turn says so.
        """
        if turn_id and (known := await self.conversations.turn(person.id, turn_id)):
            return await self._go_on(person, known)
        now = datetime.now(UTC)
        conversation = await self._conversation(person, question, conversation_id, now)
        turn = _open_turn(person, conversation, question, now, turn_id or new_id())
        if not await self.conversations.start(person.id, conversation, turn):
            return await self._go_on(person, await self.find(person, turn.id))
        return await self._send(person, turn)

    async def _go_on(self, person: Person, turn: Turn) -> Turn:
        """Does what the first asker's request did not come to do."""
        await self.disclose.check(person, turn)
        if turn.answer is not None or turn.published_at is not None:
            return turn
        if turn.error is not None:
            turn = await self.conversations.reopen(turn, datetime.now(UTC)) or turn
        return await self._send(person, turn)

    async def _send(self, person: Person, turn: Turn) -> Turn:
        try:
            await self.publish(person, turn)
        except Exception:
            await self.conversations.fail(turn.id, "the question could not be sent")
            raise
        return turn

    async def publish(self, person: Person, turn: Turn) -> None:
        """Sends the question, under the same id each time in one run, and notes that it was sent."""
        history = await self._history(person, turn)
        await self.publisher.publish(self._message(person, turn, history))
        await self.conversations.published(turn, datetime.now(UTC))

    async def cancel(self, person: Person, turn_id: str) -> None:
        """Raises as `find` does."""
        turn = await self.find(person, turn_id)
        await self.replies.cancel(turn.lane, turn.id)

    async def find(self, person: Person, turn_id: str) -> Turn:
        """The person's turn. Raises NotFoundError, also for another's, and WithheldError."""
        turn = await self.conversations.turn(person.id, turn_id)
        if turn is None:
            raise NotFoundError("there is no such request")
        await self.disclose.check(person, turn)
        return turn

    async def _conversation(
        self, person: Person, question: str, conversation_id: str | None, now: datetime
    ) -> Conversation:
        if conversation_id is None:
            title, level = _title(question), person.clearance
            return Conversation(id=new_id(), title=title, title_level=level, created_at=now, updated_at=now)
        conversation = await self.conversations.find(person.id, conversation_id)
        if conversation is None:
            raise NotFoundError("there is no such conversation")
        return conversation

    async def _history(self, person: Person, turn: Turn) -> tuple[messages.Turn, ...]:
        turns = await self.conversations.history(
            turn.conversation_id, turn.lane.readable, self.history_turns, turn.created_at
        )
        withheld = await self.disclose.withheld(person.tenant.id, turn.lane, turns)
        turns = [t for t in turns if t.id not in withheld]
        if turns and turn.lane is Level.EXTERNAL:  # of those in the other lane the lane itself decides
            also_before = set(turn.inherited)  # what was sent along before can be answered yet
            await self.conversations.inherit(turn, sorted(also_before.union(*map(rests_on, turns))))
        return tuple(messages.Turn(question=t.question, answer=t.answer or "", level=t.level) for t in turns)

    def _message(self, person: Person, turn: Turn, history: tuple[messages.Turn, ...]) -> Message:
        errand = Errand(
            holder=replace(Holder.of(person, Right.READ), clearance=turn.lane),
            job=turn.id,
            kinds=_KINDS,
            deadline=turn.created_at + self.deadline,
            bound={"question": turn.question},
        )
        envelope = errand.envelope(self.signer)
        if history:
            message_id = message_id_of(QuestionFollowedUp, turn.id, run=turn.run)
            return QuestionFollowedUp(
                message_id=message_id, run=turn.run, question=turn.question, history=history, **envelope
            )
        message_id = message_id_of(QuestionAsked, turn.id, run=turn.run)
        return QuestionAsked(
            message_id=message_id, run=turn.run, question=turn.question, search_query=turn.question, **envelope
        )


def _open_turn(person: Person, conversation: Conversation, question: str, now: datetime, turn_id: str) -> Turn:
    return Turn(
        id=turn_id,
        tenant=person.tenant.slug,
        conversation_id=conversation.id,
        lane=person.clearance,
        question=question,
        answer=None,
        level=person.clearance,
        tier=None,
        finish_reason=None,
        sources=[],
        citations=[],
        usage={},
        created_at=now,
        answered_at=None,
        error=None,
    )


def _title(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"
