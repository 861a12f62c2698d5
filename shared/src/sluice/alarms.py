"""Telling the gateway's audit log that a message came whose passport was not good for it."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from redis.exceptions import RedisError

from sluice.access import digest
from sluice.messages import PassportRefused

_A_SECOND = 5
Hint = Callable[[PassportRefused, str], Awaitable[bool]]


class Alarms:
    """A few a second, and the same one once an hour: whoever forges by the thousand fills no stream.

    Nothing rests on a hint: the metric counts all, and the message stands in the dead letters.
    """

    def __init__(self, publish: Hint) -> None:
        self._publish = publish
        self._second = 0
        self._told = 0

    async def __call__(self, refused: PassportRefused) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told < _A_SECOND:
            self._told += 1
            with suppress(RedisError, OSError):
                await self._publish(refused, digest(refused.model_dump(mode="json"))[:32])
