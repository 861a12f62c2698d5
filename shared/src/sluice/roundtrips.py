"""Calls of Redis that share round trips: what is called while others are on their way goes together as the next one.

With a broker that syncs each write to its disk, a round trip costs more than what travels in it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from sluice.connection import RedisClient

_AT_ONCE = 200


@dataclass(frozen=True)
class _Call:
    """A command, and what sends a script itself if the server does not know it yet."""

    command: tuple[Any, ...]
    alone: Callable[[], Awaitable[Any]]
    answer: "asyncio.Future[Any]"

    async def run(self) -> None:
        try:
            self.settle(await self.alone())
        except Exception as error:
            self.settle(error)

    def settle(self, result: Any) -> None:
        """A caller that was cancelled wants no answer; what it called is done all the same."""
        if self.answer.done():
            return
        if isinstance(result, Exception):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class RoundTrips:
    """Runs scripts and commands, in the order of their calls."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, script: AsyncScript, keys: list[str], *arguments: Any) -> Any:
        """The script's result. Raises redis.RedisError."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return await self._call(command, lambda: script(keys=keys, args=list(arguments)))

    async def command(self, *command: Any) -> Any:
        """The command's result, as redis-py gives it. Raises redis.RedisError."""
        return await self._call(command, lambda: self._redis.execute_command(*command))

    async def _call(self, command: tuple[Any, ...], alone: Callable[[], Awaitable[Any]]) -> Any:
        call = _Call(command, alone, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return await call.answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                try:
                    await self._together(calls)
                except Exception as error:
                    for call in calls:
                        call.settle(error)
        finally:
            self._sending = None

    async def _together(self, calls: list[_Call]) -> None:
        if len(calls) == 1:
            await calls[0].run()
            return
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command)
        for call, result in zip(calls, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(result, NoScriptError):
                await call.run()
            else:
                call.settle(result)
