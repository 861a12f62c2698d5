"""All programs together: started in their order, stopped in the other."""

import asyncio
from collections.abc import Callable, Sequence

from sluice.cli.supervised import Supervised


class Supervisor:
    """Runs waves of programs: the first wave, then the others at once; they stop from the last wave to the first."""

    def __init__(self, waves: Sequence[Sequence[Supervised]]) -> None:
        self._waves = waves

    async def run(self, stop: asyncio.Event, *, on_up: Callable[[], None], on_stop: Callable[[], None]) -> None:
        """Start all, call `on_up`, wait for `stop`, stop all.

        Raises:
            StartError: a program did not get ready; all are stopped by then.
        """
        try:
            if await self._start(stop):
                on_up()
                await stop.wait()
        finally:
            on_stop()
            for wave in reversed(self._waves):
                await asyncio.gather(*(program.stop() for program in wave))

    def kill(self) -> None:
        """Kill all at once, whatever they are doing."""
        for wave in self._waves:
            for program in wave:
                program.kill()

    async def _start(self, stop: asyncio.Event) -> bool:
        """Whether all are ready; False when told to stop first."""
        first, *others = self._waves
        stopped = asyncio.create_task(stop.wait())
        try:
            for group in (first, [program for wave in others for program in wave]):
                if not await _start_all(group, stopped):
                    return False
        finally:
            stopped.cancel()
        return True


async def _start_all(programs: Sequence[Supervised], stopped: asyncio.Task[bool]) -> bool:
    pending: set[asyncio.Task[None]] = {asyncio.create_task(program.start()) for program in programs}
    try:
        while pending:
            done, _ = await asyncio.wait({*pending, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done & pending:
                task.result()
            pending -= done
            if stopped.done():
                return False
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
    return True
