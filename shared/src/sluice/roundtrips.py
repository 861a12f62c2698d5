"""Script calls that share round trips: what is called while others are on their way goes together as the next one.

With a broker that syncs each write to its disk, a round trip costs more than the scripts that travel in it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from sluice.connection import RedisClient

_AT_ONCE = 200


@dataclass(frozen=True)
class _Call:
    script: AsyncScript
    keys: list[str]
    arguments: list[Any]
    answer: "asyncio.Future[Any]"

    async def alone(self) -> None:
        """Sends the script itself if the server does not know it yet."""
        try:
            self.settle(await self.script(keys=self.keys, args=self.arguments))
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
    """Runs scripts, in the order of their calls."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._waiting: list[_Call] = []
        self._sending: asyncio.Task[None] | None = None

    async def run(self, script: AsyncScript, keys: list[str], *arguments: Any) -> Any:
        """The script's result. Raises redis.RedisError."""
        call = _Call(script, keys, list(arguments), asyncio.get_running_loop().create_future())
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
            await calls[0].alone()
            return
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
        for call, result in zip(calls, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(result, NoScriptError):
                await call.alone()
            else:
                call.settle(result)
