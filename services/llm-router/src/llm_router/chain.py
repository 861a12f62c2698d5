"""The fallback chain: the first tier that answers speaks; a cut answer never looks whole."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from llm_router.ports import Failure, Inquiry, Piece, Text, Tier, TierUnavailableError
from sluice.errors import DeadlineExceededError
from sluice.messages import Usage

logger = logging.getLogger(__name__)
REFUSAL = "The provider of the language model declined to answer this."
_NEEDS_THE_OPERATOR = (Failure.AUTHENTICATION, Failure.NOT_FOUND)


@dataclass(frozen=True)
class Token:
    """Text to show, of the given attempt and tier."""

    text: str
    attempt: int
    tier: str


@dataclass(frozen=True)
class Restart:
    """What the earlier attempts have shown is void; `tier` begins again from the start."""

    attempt: int
    tier: str
    reason: str


@dataclass(frozen=True)
class Finished:
    """The answer is whole as its tier meant it."""

    tier: str
    finish_reason: Literal["stop", "length", "refused"]
    usage: Usage


Step = Token | Restart | Finished


@dataclass
class _Attempt:
    number: int
    spoken: bool = False


class Chain:
    """Asks the tiers in order.

    `reserve_seconds` before the deadline the last tier is asked at the latest, so that there is an answer in time.
    """

    def __init__(self, tiers: Sequence[Tier], *, reserve_seconds: float = 2.0) -> None:
        self._tiers = tuple(tiers)
        self._reserve_seconds = reserve_seconds

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tier.name for tier in self._tiers)

    async def answer(self, inquiry: Inquiry, *, deadline: float, attempt: int = 1) -> AsyncGenerator[Step, None]:
        """Tokens, a Restart where shown text becomes void, and Finished at the end.

        `deadline` is a time of time.monotonic(); attempts are counted from `attempt`, one up at each Restart.

        Raises:
            TierUnavailableError: the last tier failed too.
            PermanentError: the request itself is wrong.
            DeadlineExceededError: no time is left to begin.
        """
        if time.monotonic() >= deadline:
            raise DeadlineExceededError("the question was not answered in time")
        current = _Attempt(attempt)
        for tier, successor in zip(self._tiers, (*self._tiers[1:], None), strict=True):
            ends = deadline if successor is None else deadline - self._reserve_seconds
            try:
                async with aclosing(_ask(tier, inquiry, current, ends)) as steps:
                    async for step in steps:
                        yield step
                return
            except TierUnavailableError as error:
                _log(tier, error)
                if successor is None:
                    raise
                if current.spoken:
                    current = _Attempt(current.number + 1)
                    yield Restart(current.number, successor.name, error.reason)


async def _ask(tier: Tier, inquiry: Inquiry, attempt: _Attempt, ends: float) -> AsyncGenerator[Step, None]:
    """One attempt at one tier: the one place where its outcome is known."""
    async with aclosing(_limited(tier, inquiry, ends)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Text):
                text = piece.text if attempt.spoken else piece.text.lstrip()
                if text:
                    attempt.spoken = True
                    yield Token(text, attempt.number, tier.name)
                continue
            if piece.finish_reason == "refused":
                yield Token(f"\n\n{REFUSAL}" if attempt.spoken else REFUSAL, attempt.number, tier.name)
            elif not attempt.spoken:
                raise TierUnavailableError(Failure.EMPTY, f"{tier.name} answered nothing")
            yield Finished(tier.name, piece.finish_reason, piece.usage)
            return
    raise TierUnavailableError(Failure.CUT, f"{tier.name} broke off in the middle of its answer")


async def _limited(tier: Tier, inquiry: Inquiry, ends: float) -> AsyncGenerator[Piece, None]:
    """The tier's pieces, each within the tier's limits and the deadline."""
    ends = min(ends, time.monotonic() + tier.limits.total)
    limit = tier.limits.first_token
    async with aclosing(tier.answer(inquiry)) as pieces:
        while True:
            try:
                async with asyncio.timeout(min(limit, ends - time.monotonic())):
                    piece = await anext(pieces, None)
            except TimeoutError as error:
                raise TierUnavailableError(Failure.TIMEOUT, f"{tier.name} took too long") from error
            if piece is None:
                return
            yield piece
            limit = tier.limits.between_tokens


def _log(tier: Tier, error: TierUnavailableError) -> None:
    level = logging.ERROR if error.reason in _NEEDS_THE_OPERATOR else logging.WARNING
    logger.log(level, "tier.failed", extra={"tier": tier.name, "reason": error.reason, "detail": error.detail})
