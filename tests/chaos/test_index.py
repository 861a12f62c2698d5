"""kill -9 of Chroma in the middle of upserts, at the moments in which that wedges a collection."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sluice.access import Level
from sluice.embedding import create_embedder
from sluice.settings import EmbeddingSettings
from tests.chaos.conftest import LONG, Pick
from tests.chaos.load import Tenant, crowd
from tests.chaos.report import Figures
from tests.chaos.running import pid_of, ready
from tests.providers import RemoteScript
from tests.support.index import make_collection, states, tear, vector_files, when_vectors_are_written
from tests.support.system import System
from tests.support.waiting import until

DOCUMENTS = 16
CLIENTS = 8
NOTICED_SECONDS = 10
ROWS_BETWEEN_WRITES = 8


class Shelf:
    """One tenant's chunks at one level, and the server that they stand in."""

    def __init__(self, system: System, tenant: str, level: Level) -> None:
        self.system = system
        self.program = f"chroma-{level.lower()}"
        self.prefix = f"{tenant}.{level.lower()}.chunks"
        self.port = int(system.environment[f"SLUICE_CHROMA_{level}_PORT"])

    @property
    def folder(self) -> Path:
        return self.system.state / "data" / self.program

    def kill(self) -> None:
        os.kill(pid_of(self.system, self.program), signal.SIGKILL)

    def kill_while_writing(self, *, torn: bool, over: Callable[[], bool]) -> bool:
        """Once its vector files change for the second time. False if they did not before the writing was over.

        Files as small as these are seldom caught half-written, so every other time they are `torn` as a kill would.
        """
        if not when_vectors_are_written(self.folder, lambda: None, seconds=120, over=over):
            return False
        before = vector_files(self.folder)

        def strike() -> None:
            self.kill()
            if torn:
                tear(before)

        return when_vectors_are_written(self.folder, strike, seconds=120, over=over)

    def documents(self) -> range:
        """The numbers of those that go there."""
        return range(int(self.program == "chroma-internal"), DOCUMENTS, 2)

    async def states(self) -> list[str]:
        try:
            return list((await asyncio.to_thread(states, self.port, self.prefix)).values())
        except Exception as error:  # chromadb raises whatever comes
            raise OSError(f"{self.program} does not answer") from error

    async def sound(self) -> bool:
        return await self.states() == ["complete"]


@pytest.mark.timeout(600)
async def test_killing_chroma_under_upserts_is_noticed_and_loses_nothing(
    system: System, models: RemoteScript, figures: Figures, pick: Pick
) -> None:
    """Chunks are those of a run without faults; how soon a collection that a kill wedged is noticed is printed."""
    models.reset()
    model = create_embedder(EmbeddingSettings()).name
    calm = Tenant.make(system)
    await crowd((calm.upload(n) for n in range(DOCUMENTS)), CLIENTS)
    expected = await calm.contents()
    await calm.close()
    noticed: list[float] = []
    restored: list[float] = []
    kills = pick(3, 100)
    for number in range(2 * kills):  # not each round comes to a kill
        level = list(Level)[number % 2]
        tenant = Tenant.make(system, patience=pick(200, 600))
        shelf = Shelf(system, tenant.slug, level)
        make_collection(shelf.port, shelf.prefix, model, rows=ROWS_BETWEEN_WRITES)
        seconds = await _round(shelf, tenant, figures)
        if seconds is not None:
            noticed.append(seconds[0])
            restored.append(seconds[1])
        assert not await tenant.reckon(figures, expected)
        await tenant.close()
        if figures.faults == kills:
            break
    assert figures.faults == kills
    figures.more |= {"wedged": len(noticed), "noticed_s": _longest(noticed), "restored_s": _longest(restored)}
    assert figures.clean
    assert noticed, "no kill wedged a collection: nothing was shown"
    if LONG:  # a goal, for a machine that has nothing else to do; the figure is printed always
        assert _longest(noticed) < NOTICED_SECONDS


async def _round(shelf: Shelf, tenant: Tenant, figures: Figures) -> tuple[float, float] | None:
    """One kill, unless the vectors were written too soon or too late for one; if it wedged the collection, the seconds
    until that was noticed, and until it was made anew."""
    loading = asyncio.ensure_future(crowd((tenant.upload(n) for n in shelf.documents()), CLIENTS))
    if not await asyncio.to_thread(shelf.kill_while_writing, torn=figures.faults % 2 == 0, over=loading.done):
        await loading
        return None
    began = time.monotonic()
    figures.faults += 1
    noticing = asyncio.ensure_future(_seconds_until(_not(shelf.sound), began))
    await until(lambda: ready(shelf.system, shelf.program), seconds=60, what=f"{shelf.program} again")
    request = await tenant.ask(0)()
    if request.ends == ["done"] and request.ended is not None:
        figures.recoveries.append(request.ended - began)
    await loading
    await until(shelf.sound, seconds=200, what="a sound collection")
    ended = time.monotonic() - began
    if not noticing.done():
        noticing.cancel()
        return None
    return await noticing, ended


def _not(condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def negated() -> bool:
        return not await condition()

    return negated


async def _seconds_until(condition: Callable[[], Awaitable[Any]], began: float) -> float:
    await until(condition, seconds=600, what="the notice")
    return time.monotonic() - began


def _longest(values: list[float]) -> float:
    return round(max(values, default=0.0), 1)
