"""Streams one answer to its reply log: tokens in small batches, citations checked, stopped when the asker goes away."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from llm_router.chain import Chain, Finished, Restart, Step, Token
from llm_router.citations import CitationFilter
from llm_router.ports import NOT_COUNTED, Inquiry, Writer
from sluice import tracing
from sluice.messages import Passage, Usage
from sluice.replies import CancelledByClientError, Event

_COALESCE_SECONDS = 0.03
_LOOK_SECONDS = 0.2
FinishReason = Literal["stop", "length", "refused", "cancelled"]


@dataclass(frozen=True)
class Answered:
    """What was shown in the end, and by whom."""

    text: str
    tier: str
    finish_reason: FinishReason
    citations: tuple[int, ...]
    usage: Usage


class _Shown:
    """The text of the current attempt, as the reader sees it."""

    def __init__(self, passages: int, attempt: int) -> None:
        self._numbers = range(1, passages + 1)
        self._begin(attempt)

    def _begin(self, attempt: int) -> None:
        self._attempt = attempt
        self._citations = CitationFilter(self._numbers)
        self._tier = "none"
        self._text = ""

    @property
    def empty(self) -> bool:
        return not self._text

    def events(self, steps: Sequence[Step]) -> list[Event]:
        """The events of the steps, neighbouring tokens in one."""
        events: list[Event] = []
        for step in steps:
            match step:
                case Restart(attempt, tier, reason):
                    self._begin(attempt)
                    events.append(Event("restart", {"attempt": attempt, "tier": tier, "reason": reason}))
                case Token(text, _, tier):
                    self._tier = tier
                    self._show(self._citations.feed(text), events)
                case Finished(tier):
                    self._tier = tier
                    self._show(self._citations.finish(), events)
        return events

    def answered(self, finish_reason: FinishReason, usage: Usage = NOT_COUNTED) -> Answered:
        return Answered(self._text, self._tier, finish_reason, tuple(self._citations.cited), usage)

    def _show(self, text: str, events: list[Event]) -> None:
        self._text += text
        if text and events and events[-1].name == "token":
            events[-1].data["text"] += text
        elif text:
            events.append(Event("token", {"text": text, "attempt": self._attempt}))


@dataclass(frozen=True)
class Answer:
    """Asks the chain and writes what it says."""

    chain: Chain

    async def __call__(self, inquiry: Inquiry, writer: Writer, *, deadline: float, delivery: int) -> Answered:
        """Writes `sources`, `stage`, tokens and restarts, and gives the answer as it was shown.

        `deadline` is a time of time.monotonic(). `delivery` counts from 1 how often the request came: what an earlier
        delivery has shown becomes void by a `restart`.

        Raises:
            TierUnavailableError, PermanentError: as Chain.answer.
            SupersededError: somebody else writes this answer.
        """
        attempt = (delivery - 1) * len(self.chain.names) + 1
        shown = _Shown(len(inquiry.passages), attempt)
        try:
            await writer.append(*self._opening(inquiry, attempt, redelivered=delivery > 1))
            with tracing.step("models.answer"):
                finished = await _relay(self.chain.answer(inquiry, deadline=deadline, attempt=attempt), shown, writer)
                tracing.note({"sluice.tier": finished.tier})
        except CancelledByClientError:
            return shown.answered("cancelled")
        return shown.answered(finished.finish_reason, finished.usage)

    def _opening(self, inquiry: Inquiry, attempt: int, *, redelivered: bool) -> list[Event]:
        restart = Event("restart", {"attempt": attempt, "tier": self.chain.names[0], "reason": "redelivered"})
        passages = [_source(n, passage) for n, passage in enumerate(inquiry.passages, start=1)]
        sources = {"passages": passages} | ({"restoring": True} if inquiry.restoring else {})
        opening = [Event("sources", sources), Event("stage", {"name": "answering"})]
        return [restart, *opening] if redelivered else opening


def _source(number: int, passage: Passage) -> dict[str, Any]:
    return {"n": number, **passage.model_dump(mode="json", exclude={"chunk_id"})}


async def _relay(steps: AsyncGenerator[Step, None], shown: _Shown, writer: Writer) -> Finished:
    """Writes what comes; looks at least every 200 ms whether to go on. At its end the provider's stream is closed."""
    queue: asyncio.Queue[Step | None] = asyncio.Queue()
    pump = asyncio.create_task(_pump(steps, queue))
    try:
        while True:
            batch = await _batch(queue, at_once=shown.empty)
            await writer.append(*shown.events([step for step in batch if step is not None]))
            if None in batch:
                await pump  # raises what ended the steps
                return next(step for step in batch if isinstance(step, Finished))
    finally:
        pump.cancel()
        await asyncio.wait([pump])


async def _pump(steps: AsyncGenerator[Step, None], queue: "asyncio.Queue[Step | None]") -> None:
    """Reads the steps in a task of its own: where it is cancelled, the provider's stream closes."""
    try:
        async with aclosing(steps):
            async for step in steps:
                queue.put_nowait(step)
    finally:
        queue.put_nowait(None)


async def _batch(queue: "asyncio.Queue[Step | None]", *, at_once: bool) -> list[Step | None]:
    """What came within a few milliseconds, or nothing after a while of silence."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            batch = [await queue.get()]
    except TimeoutError:
        return []
    if not at_once:
        await asyncio.sleep(_COALESCE_SECONDS)
    while not queue.empty():
        batch.append(queue.get_nowait())
    return batch
