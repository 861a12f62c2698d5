"""Pid files, so that what a killed supervisor left behind is found and ended, and never anything else."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sluice.cli import procfs


@dataclass(frozen=True)
class Orphan:
    """A running process that an earlier supervisor started, leader of a session of its own."""

    name: str
    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return procfs.started(self.pid) == self.started

    def terminate(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and what is left of its group, unless the pid is another process's by now."""
        if procfs.started(self.pid) in (self.started, None):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class PidFiles:
    """One file a program: its pid and when that process began."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, name: str, pid: int) -> None:
        draft = self._path(name).with_suffix(".draft")
        draft.write_text(json.dumps({"pid": pid, "started": procfs.started(pid)}))
        draft.replace(self._path(name))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def orphans(self) -> list[Orphan]:
        """The processes that still run. Stale, foreign and damaged files are removed."""
        found = [self._read(path) for path in sorted(self._folder.glob("*.json"))]
        return [orphan for orphan in found if orphan is not None]

    def _read(self, path: Path) -> Orphan | None:
        try:
            record = json.loads(path.read_text())
            orphan = Orphan(path.stem, int(record["pid"]), str(record["started"]))
        except (ValueError, KeyError, TypeError):
            orphan = None
        if orphan is None or not orphan.alive:
            path.unlink(missing_ok=True)
            return None
        return orphan

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def end_orphans(
    pids: PidFiles, waves: Sequence[Sequence[str]], grace_seconds: float, say: Callable[[str], None]
) -> int:
    """End what runs, wave by wave, the programs in no wave first; how many there were."""
    orphans = pids.orphans()
    known = {name for wave in waves for name in wave}
    for wave in ([orphan.name for orphan in orphans if orphan.name not in known], *waves):
        _end([orphan for orphan in orphans if orphan.name in wave], grace_seconds, say)
    for orphan in orphans:
        pids.remove(orphan.name)
    return len(orphans)


def _end(orphans: Sequence[Orphan], grace_seconds: float, say: Callable[[str], None]) -> None:
    for orphan in orphans:
        say(f"ending {orphan.name} (pid {orphan.pid}), left behind by a supervisor that was killed")
        orphan.terminate()
    _wait(orphans, grace_seconds)
    for orphan in orphans:
        orphan.kill()
    _wait(orphans, 5)


def _wait(orphans: Sequence[Orphan], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(orphan.alive for orphan in orphans) and time.monotonic() < deadline:
        time.sleep(0.02)
