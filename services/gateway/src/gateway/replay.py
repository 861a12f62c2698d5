"""Dead letters for operators: look at them, put them on their way again, or discard them. Each act is audited."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import ConflictError, InvalidInputError, NotFoundError
from gateway.letters import KINDS, Findings, read
from gateway.ports import AuditLog, DeadLetters
from gateway.records import AuditEntry
from sluice.deadletters import DeadLetter
from sluice.errors import PermanentError
from sluice.messages import (
    DocumentDeleted,
    DocumentSubmitted,
    FixTaught,
    FixWithdrawn,
    LogsSearched,
    Message,
    QuestionAsked,
    QuestionFollowedUp,
    QuestionGrounded,
)
from sluice.wire import Wire

Place = tuple[int, int, str]
AT_ONCE = 200
"""As many letters as one call takes on."""
_ASKED = (QuestionFollowedUp, QuestionAsked, QuestionGrounded, LogsSearched)


class Begin(Protocol):
    """Begins anew what failed, under the same id. Raises ConflictError with the reason why not."""

    async def job(self, message: DocumentSubmitted | DocumentDeleted) -> None: ...
    async def fix(self, message: FixTaught | FixWithdrawn) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Refusal:
    stream: str
    id: str
    reason: str


@dataclass(kw_only=True)
class Outcome:
    """What became of many letters; `rest` is where the next call goes on, None at the end."""

    done: int = 0
    refused: list[Refusal] = field(default_factory=list[Refusal])
    rest: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Replay:
    letters: DeadLetters
    again: Begin
    audit: AuditLog
    wire: Wire

    async def page(self, stream: str | None, limit: int, before: Place | None) -> list[Findings]:
        return [self.read(letter) for letter in await self.letters.page(_streams(stream), limit, before)]

    async def find(self, stream: str, letter_id: str) -> Findings:
        """Raises NotFoundError."""
        letter = await self.letters.get(stream, letter_id) if stream in KINDS else None
        if letter is None:
            raise NotFoundError("there is no such dead letter")
        return self.read(letter)

    def read(self, letter: DeadLetter) -> Findings:
        return read(letter, self.wire)

    async def replay(self, found: Findings) -> None:
        """Puts what the letter asks for on its way again, keeping its job.

        Raises:
            ConflictError: it cannot be, and why.
        """
        letter, message = found.letter, found.message
        if issubclass(found.kind, _ASKED):
            raise ConflictError("the asker was told that it failed, and asks again; this can be discarded")
        if message is None or found.fault is not None:
            raise ConflictError(f"it cannot be replayed: {found.fault}")
        if isinstance(message, DocumentSubmitted | DocumentDeleted | FixTaught | FixWithdrawn):
            await self._begin(message)
            await self.letters.discard(letter)
        elif found.holder is not None and found.holder.expired:
            raise ConflictError("its time is over: nobody would take what it tells; this can be discarded")
        elif not await self.letters.put_back(letter):
            raise ConflictError("somebody else has replayed or discarded it")
        await self._note("dead-letter.replayed", found)

    async def _begin(self, message: DocumentSubmitted | DocumentDeleted | FixTaught | FixWithdrawn) -> None:
        if isinstance(message, FixTaught | FixWithdrawn):
            await self.again.fix(message)
        else:
            await self.again.job(message)

    async def discard(self, found: Findings) -> None:
        if await self.letters.discard(found.letter):
            await self._note("dead-letter.discarded", found)

    async def replay_all(self, stream: str | None, before: Place | None) -> Outcome:
        """The next letters, the newest first."""
        outcome = Outcome()
        for listed in await self._next(stream, before, outcome):
            try:
                await self.replay(await self.find(listed.stream, listed.id))
                outcome.done += 1
            except PermanentError as error:
                outcome.refused.append(Refusal(stream=listed.stream, id=listed.id, reason=error.detail))
        return outcome

    async def discard_all(self, stream: str | None, before: Place | None) -> Outcome:
        outcome = Outcome()
        for listed in await self._next(stream, before, outcome):
            await self.discard(self.read(listed))
            outcome.done += 1
        return outcome

    async def _next(self, stream: str | None, before: Place | None, outcome: Outcome) -> Sequence[DeadLetter]:
        letters = await self.letters.page(_streams(stream), AT_ONCE + 1, before)
        outcome.rest = letters[AT_ONCE - 1].place if len(letters) > AT_ONCE else None
        return letters[:AT_ONCE]

    async def _note(self, action: str, found: Findings) -> None:
        letter = found.letter
        detail = {"error": letter.error, "attempts": letter.attempts}
        if found.holder is not None and isinstance(found.message, Message):
            detail |= {"request_id": found.message.request_id, "tenant": found.holder.tenant}
        target = f"{letter.stream}/{letter.id}"
        await self.audit.record(
            AuditEntry(tenant_id=None, actor="operator", action=action, target=target, detail=detail)
        )


def _streams(stream: str | None) -> Sequence[str]:
    if stream is not None and stream not in KINDS:
        raise InvalidInputError("stream", "is none of ours; a stream's whole name, with its lane if it has one")
    return [stream] if stream else list(KINDS)
