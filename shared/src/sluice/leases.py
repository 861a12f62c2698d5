"""The leases of the entries that handlers are busy with: one task renews them all, and a lost one ends its handler."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from sluice.replies import SupersededError
from sluice.workstream import Entry, Hold, WorkStream

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Held:
    entry: Entry
    handler: "asyncio.Task[Any]"
    lost: bool = False


class Leases:
    """A consumer's leases. Entries that are done between two renewals cost nothing."""

    def __init__(self, work: WorkStream, seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._held: set[_Held] = set()

    @contextmanager
    def held(self, entry: Entry) -> Generator[None]:
        """Around the handling in the current task. Raises SupersededError when the lease is lost meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        held, cancelling = _Held(entry, task), task.cancelling()
        self._held.add(held)
        try:
            yield
        except asyncio.CancelledError:
            if held.lost and task.uncancel() <= cancelling:
                raise SupersededError("the lease was lost") from None
            raise
        finally:
            self._held.discard(held)

    async def renew(self) -> None:
        """For ever, three times a lease."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            for result in await asyncio.gather(*[self._renew(held) for held in self._held], return_exceptions=True):
                if isinstance(result, Exception):
                    logger.error("message.lease-not-renewed", exc_info=result, extra={"stream": self._work.stream})

    async def _renew(self, held: _Held) -> None:
        """A broker that is away for a moment loses none."""
        with suppress(RedisError, OSError):
            if await self._work.hold(held.entry) is Hold.LOST and held in self._held:
                logger.warning("message.lease-lost", extra={"stream": self._work.stream})
                held.lost = True
                held.handler.cancel()
