"""Calls of Redis that share round trips: what is called while others are on their way goes together as the next one.

With a broker that syncs each write to its disk, a round trip costs more than what travels in it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from sluice.connection import RedisClient

C = TypeVar("C")
R = TypeVar("R")
_AT_ONCE = 1000


class Together(Generic[C, R]):
    """Makes one call of many, in their order. `many` gives a result for each, which may be an exception."""

    def __init__(self, many: Callable[[list[C]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._many = many
        self._waiting: list[tuple[C, asyncio.Future[R]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, call: C) -> R:
        """A caller that is cancelled wants no answer; what it called is done all the same."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                results = await self._results([call for call, _ in batch])
                for (_, answer), result in zip(batch, results, strict=True):
                    _settle(answer, result)
        finally:
            self._sending = None

    async def _results(self, calls: list[C]) -> Sequence[R | Exception]:
        try:
            return await self._many(calls)
        except Exception as error:
            return [error] * len(calls)


def _settle(answer: "asyncio.Future[Any]", result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


@dataclass(frozen=True)
class _Call:
    """A command, and what sends a script itself if the server does not know it yet."""

    command: tuple[Any, ...]
    alone: Callable[[], Awaitable[Any]]


class RoundTrips:
    """Runs scripts and commands, in the order of their calls."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._together = Together(self._send)

    async def run(self, script: AsyncScript, keys: list[str], *arguments: Any) -> Any:
        """The script's result. Raises redis.RedisError."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return await self._together(_Call(command, lambda: script(keys=keys, args=list(arguments))))

    async def command(self, *command: Any) -> Any:
        """The command's result, as redis-py gives it. Raises redis.RedisError."""
        return await self._together(_Call(command, lambda: self._redis.execute_command(*command)))

    async def _send(self, calls: list[_Call]) -> list[Any]:
        if len(calls) == 1:
            return [await calls[0].alone()]
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command)
        results = await pipeline.execute(raise_on_error=False)
        return [await self._known(call, result) for call, result in zip(calls, results, strict=True)]

    async def _known(self, call: _Call, result: Any) -> Any:
        if not isinstance(result, NoScriptError):
            return result
        try:
            return await call.alone()
        except Exception as error:
            return error
