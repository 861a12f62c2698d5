"""Open streams look together whether their people may still have them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import NotFoundError, NotSignedInError, WithheldError
from gateway.presence import Presence, StillReadable
from gateway.records import Person, Tenant
from gateway.routes import dependencies
from gateway.routes.dependencies import Present
from sluice.access import Level, Right
from sluice.errors import AccessDeniedError, TransientError
from tests.support.waiting import until


class Accounts:
    def __init__(self, **signed_in: str) -> None:
        self.signed_in = signed_in
        self.looks: list[list[str]] = []
        self.error: Exception | None = None

    async def all_signed_in(self, tokens_sha256: Iterable[str]) -> dict[str, Any]:
        self.looks.append(sorted(tokens_sha256))
        if self.error is not None:
            raise self.error
        return {token: person for token, person in self.signed_in.items() if token in self.looks[-1]}


async def test_all_that_ask_within_a_moment_share_one_look() -> None:
    accounts: Any = Accounts(a="Ann", b="Ben")
    presence = Presence(accounts)
    asked = ["a", "b", "ended", "a"]
    assert await asyncio.gather(*map(presence, asked)) == ["Ann", "Ben", None, "Ann"]
    assert accounts.looks == [["a", "b", "ended"]]


async def test_each_moment_looks_anew() -> None:
    accounts: Any = Accounts(a="Ann")
    presence = Presence(accounts)
    assert await presence("a") == "Ann"
    accounts.signed_in.clear()
    assert await presence("a") is None


async def test_who_goes_away_takes_nobody_with_it() -> None:
    presence = Presence(Accounts(a="Ann"))  # pyright: ignore[reportArgumentType]
    gone, stays = (asyncio.create_task(presence("a")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == "Ann"


async def test_all_are_told_that_the_database_is_away_and_the_next_look_is_another() -> None:
    accounts: Any = Accounts(a="Ann")
    presence = Presence(accounts)
    accounts.error = TransientError("the database does not answer")
    told = await asyncio.gather(presence("a"), presence("b"), return_exceptions=True)
    assert told == [accounts.error] * 2
    accounts.error = None
    assert await presence("a") == "Ann"


def _times(monkeypatch: pytest.MonkeyPatch, ahead: float, again: float) -> None:
    monkeypatch.setattr(dependencies, "LOOK_AHEAD_SECONDS", ahead)
    monkeypatch.setattr(dependencies, "LOOK_AGAIN_SECONDS", again)


def _person(**changes: Any) -> Person:
    tenant = Tenant(id="t", slug="t", name="T", internal_domains=["razorpay.com"], created_at=datetime.now(UTC))
    person = Person(
        id="p",
        tenant=tenant,
        email="a@example.com",
        email_verified=True,
        rights=frozenset({Right.READ}),
        created_at=datetime.now(UTC),
    )
    return replace(person, **changes)


class Looks:
    """What is found at each look, and how many there were; a look takes until it is let go."""

    def __init__(self, *found: Person | None) -> None:
        self.found = list(found)
        self.taken = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> Person | None:
        self.taken += 1
        await self.go.wait()
        return self.found[min(self.taken, len(self.found)) - 1]


async def test_a_stream_goes_on_while_its_reader_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, ahead=0.0, again=3600.0)
    first, second = _person(), _person(email="b@example.com")
    looks = Looks(second)
    looks.go.clear()
    present = Present(first, looks, Right.READ)
    assert [await present.now() for _ in range(3)] == [first] * 3
    await until(lambda: looks.taken == 1)
    assert await present.now() is first  # one look at a time
    looks.go.set()

    async def taken_over() -> bool:
        return await present.now() is second

    await until(taken_over)


async def test_what_is_known_for_too_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a look that was taken ahead lies there from before a long silence."""
    _times(monkeypatch, ahead=0.0, again=3600.0)
    first, second, third = _person(), _person(email="b@example.com"), _person(email="c@example.com")
    looks = Looks(second, third)
    present = Present(first, looks, Right.READ)
    assert await present.now() is first
    await until(lambda: looks.taken == 1)
    _times(monkeypatch, ahead=0.0, again=0.0)  # the silence
    assert await present.now() is third


@pytest.mark.parametrize(("found", "error"), [(None, NotSignedInError), ("rights", AccessDeniedError)])
async def test_who_may_not_go_on_is_told(
    monkeypatch: pytest.MonkeyPatch, found: str | None, error: type[Exception]
) -> None:
    _times(monkeypatch, ahead=0.0, again=0.0)
    present = Present(_person(), Looks(_person(rights=frozenset()) if found else None), Right.READ)
    with pytest.raises(error):
        await present.now()


async def test_a_check_that_is_required_is_made_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    _times(monkeypatch, ahead=0.0, again=0.0)
    present = Present(_person(), Looks(_person()), Right.READ)

    async def refuse(_: Person) -> None:
        raise WithheldError("above")

    await present.now()
    present.require(refuse)
    with pytest.raises(WithheldError):
        await present.now()


class Turns:
    """Turns that are there by their asker and id, and which of them are withheld."""

    def __init__(self, there: set[tuple[str, str]], withheld: dict[str, str]) -> None:
        self.there, self.reasons = there, withheld
        self.looks = 0

    async def turns_of(self, asked: Collection[tuple[str, str]]) -> list[Any]:
        self.looks += 1
        return [SimpleNamespace(id=turn_id) for person_id, turn_id in asked if (person_id, turn_id) in self.there]

    async def withheld(self, tenant_id: str, clearance: Level, turns: Sequence[Any]) -> dict[str, str]:
        assert (tenant_id, clearance) == ("t", Level.EXTERNAL)
        return {turn.id: self.reasons[turn.id] for turn in turns if turn.id in self.reasons}


async def test_the_turns_of_external_readers_are_looked_at_together_and_each_told_its_own() -> None:
    turns: Any = Turns({("p", "good"), ("p", "bad"), ("other", "theirs")}, {"bad": "above"})
    still_readable = StillReadable(turns, turns)
    asked: list[Any] = [SimpleNamespace(id=turn_id) for turn_id in ("good", "bad", "theirs", "gone")]
    told = await asyncio.gather(*[still_readable(_person(), turn) for turn in asked], return_exceptions=True)
    assert told[0] is None
    assert [type(error) for error in told[1:]] == [WithheldError, NotFoundError, NotFoundError]
    assert turns.looks == 1
