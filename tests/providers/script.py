"""What the provider is told to do next, and what it was asked."""

import asyncio
import time
from collections import defaultdict
from typing import Any, Literal

from pydantic import BaseModel

from tests.providers.behaviour import GOOD, Behaviour


class Call(BaseModel):
    """A request to a model; times are seconds since the epoch.

    `text` is what the model was asked last, `ended` when the provider had sent all, `disconnected` when the client
    went away before that.
    """

    model: str
    kind: Literal["stream", "whole", "embeddings"]
    headers: dict[str, str]
    body: dict[str, Any]
    text: str
    started: float
    ended: float | None = None
    disconnected: float | None = None


class Script:
    """The behaviours of each model, in turn, of which the last one stays; and the calls so far."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._behaviours: defaultdict[str, list[Behaviour]] = defaultdict(list)
        self._changed = asyncio.Condition()

    def behave(self, model: str, *behaviours: Behaviour) -> None:
        self._behaviours[model] = list(behaviours)

    def reset(self) -> None:
        self.calls.clear()
        self._behaviours.clear()

    def next(self, model: str) -> Behaviour:
        behaviours = self._behaviours[model]
        if len(behaviours) > 1:
            return behaviours.pop(0)
        return behaviours[0] if behaviours else GOOD

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls if call.model == model]

    async def begin(self, call: Call) -> None:
        self.calls.append(call)
        await self.notify()

    async def end(self, call: Call, *, disconnected: bool) -> None:
        if disconnected:
            call.disconnected = time.time()
        else:
            call.ended = time.time()
        await self.notify()

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def called(self, model: str, *, seconds: float = 5) -> Call:
        """The model's first call, as soon as it comes."""
        await self._until(lambda: bool(self.calls_of(model)), seconds)
        return self.calls_of(model)[0]

    async def disconnected(self, model: str, *, seconds: float = 5) -> Call:
        """The model's call that the client went away from, as soon as it does."""
        await self._until(lambda: any(call.disconnected for call in self.calls_of(model)), seconds)
        return next(call for call in self.calls_of(model) if call.disconnected)

    async def _until(self, condition: Any, seconds: float) -> None:
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)
