"""Open streams look together whether their people may still have them."""

import asyncio
from collections.abc import Iterable
from typing import Any

from gateway.presence import Presence
from sluice.errors import TransientError


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
