"""The fallback chain, with tiers that do as they are told."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from llm_router.chain import REFUSAL, Chain, Finished, Restart, Step, Token
from llm_router.ports import Failure, Final, Inquiry, Limits, Piece, Text, TierUnavailableError
from sluice.errors import DeadlineExceededError, PermanentError
from sluice.messages import Usage
from tests.support.waiting import until

INQUIRY = Inquiry("What?", "What?")
Act = Piece | Exception | float | None
"""A piece to say, an error to raise, seconds to be silent; None: for ever."""


@dataclass
class ScriptedTier:
    """Acts out its script, and remembers how often it was asked and whether it was closed."""

    name: str
    script: tuple[Act, ...]
    limits: Limits
    asked: int = 0
    closed: int = 0

    async def answer(self, inquiry: Inquiry) -> AsyncGenerator[Piece, None]:
        self.asked += 1
        try:
            for act in self.script:
                if isinstance(act, Exception):
                    raise act
                if act is None:
                    await asyncio.Event().wait()
                elif isinstance(act, float):
                    await asyncio.sleep(act)
                else:
                    yield act
        finally:
            self.closed += 1


def tier(name: str, *script: Act, **limits: float) -> ScriptedTier:
    values = {"first_token": 5.0, "between_tokens": 5.0, "total": 5.0, **limits}
    return ScriptedTier(name, script, Limits(**values))


def good(name: str = "last") -> ScriptedTier:
    return tier(name, Text("All "), Text("good."), Final("stop", Usage(output_tokens=2)))


GOOD_OF_LAST = [Token("All ", 1, "last"), Token("good.", 1, "last"), Finished("last", "stop", Usage(output_tokens=2))]


async def steps(*tiers: ScriptedTier, seconds: float = 10, attempt: int = 1, reserve: float = 0) -> list[Step]:
    chain = Chain(tiers, reserve_seconds=reserve)
    return [step async for step in chain.answer(INQUIRY, deadline=time.monotonic() + seconds, attempt=attempt)]


async def test_the_first_tier_that_answers_speaks_and_no_other_is_asked() -> None:
    second = good("second")
    assert await steps(good(), second) == GOOD_OF_LAST
    assert second.asked == 0


@pytest.mark.parametrize("reason", list(Failure))
async def test_a_failure_before_the_first_text_is_invisible(reason: Failure) -> None:
    assert await steps(tier("first", TierUnavailableError(reason, "no")), good()) == GOOD_OF_LAST


async def test_the_tiers_are_asked_in_their_order() -> None:
    first, second = (tier(name, TierUnavailableError(Failure.RATE_LIMITED, "no")) for name in ("first", "second"))
    assert await steps(first, second, good()) == GOOD_OF_LAST
    assert (first.asked, second.asked) == (1, 1)


@pytest.mark.parametrize(
    "script",
    [(), (Final("stop"),), (Final("length"),), (Text(" \n"), Final("stop"))],
    ids=["nothing", "only an end", "only a length", "only white space"],
)
async def test_an_empty_answer_is_a_failure(script: tuple[Act, ...]) -> None:
    assert await steps(tier("first", *script), good()) == GOOD_OF_LAST


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ((TierUnavailableError(Failure.CONNECTION, "gone"),), "connection"),
        ((), "cut"),
        ((None,), "timeout"),
    ],
)
async def test_after_the_first_text_a_failure_restarts_with_the_next_tier(end: tuple[Act, ...], reason: str) -> None:
    """An answer without its Final was cut: it never ends as if it were whole."""
    first = tier("first", Text("Half an "), *end, between_tokens=0.05)
    assert await steps(first, good()) == [
        Token("Half an ", 1, "first"),
        Restart(2, "last", reason),
        Token("All ", 2, "last"),
        Token("good.", 2, "last"),
        Finished("last", "stop", Usage(output_tokens=2)),
    ]


async def test_only_visible_attempts_are_counted() -> None:
    cut, silent = tier("first", Text("Half")), tier("second", TierUnavailableError(Failure.SERVER_ERROR, "no"))
    got = await steps(cut, silent, good(), attempt=5)
    assert [step.attempt for step in got if isinstance(step, Token | Restart)] == [5, 6, 6, 6]
    assert [step for step in got if isinstance(step, Restart)] == [Restart(6, "second", "cut")]


async def test_a_failing_last_tier_is_told() -> None:
    with pytest.raises(TierUnavailableError):
        await steps(tier("only", Text("Half")))


async def test_a_wrong_request_is_not_taken_to_the_next_tier() -> None:
    second = good()
    with pytest.raises(PermanentError):
        await steps(tier("first", PermanentError("wrong")), second)
    assert second.asked == 0


async def test_a_refusal_is_an_answer_that_says_so() -> None:
    second = good()
    assert await steps(tier("first", Final("refused")), second) == [
        Token(REFUSAL, 1, "first"),
        Finished("first", "refused", Usage()),
    ]
    assert second.asked == 0


async def test_a_refusal_in_the_middle_is_said_below_what_was_written() -> None:
    got = await steps(tier("first", Text("Half"), Final("refused")), good())
    assert got[:2] == [Token("Half", 1, "first"), Token(f"\n\n{REFUSAL}", 1, "first")]


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        ((None,), {"first_token": 0.05}),
        ((Text("One"), None), {"between_tokens": 0.05}),
        ((Text("One"), 0.04, Text("two"), 0.04, Text("three"), 0.04, Final("stop")), {"total": 0.1}),
    ],
    ids=["first token", "between tokens", "total"],
)
async def test_each_limit_of_a_tier_holds(script: tuple[Act, ...], limits: dict[str, float]) -> None:
    slow = tier("slow", *script, **limits)
    got = await steps(slow, good())
    assert got[-1] == Finished("last", "stop", Usage(output_tokens=2))
    assert slow.closed == 1


async def test_a_pause_shorter_than_the_limits_is_none() -> None:
    got = await steps(tier("slow", 0.05, Text("One"), 0.05, Final("stop"), first_token=1, between_tokens=1), good())
    assert got[-1] == Finished("slow", "stop", Usage())


async def test_one_deadline_holds_for_all_tiers_and_leaves_time_for_the_last() -> None:
    silent = [tier(name, None) for name in ("first", "second")]
    begun = time.monotonic()
    got = await steps(*silent, good(), seconds=0.6, reserve=0.4)
    assert got == GOOD_OF_LAST
    assert time.monotonic() - begun < 0.6


async def test_after_the_deadline_nobody_is_asked() -> None:
    first = good()
    with pytest.raises(DeadlineExceededError):
        await steps(first, seconds=-1)
    assert first.asked == 0


async def test_cancelling_closes_the_tier_that_speaks() -> None:
    speaking, second = tier("first", Text("One"), None), good()
    task = asyncio.create_task(steps(speaking, second))
    await until(lambda: speaking.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (speaking.closed, second.asked) == (1, 0)
