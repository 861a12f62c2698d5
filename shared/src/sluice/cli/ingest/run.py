"""The run over a folder: what is done is left alone, what is open is bounded, each file's end is waited for."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sluice.access import Level
from sluice.cli.gateway import Gateway
from sluice.cli.ingest.files import shown_name, stable_key
from sluice.cli.ingest.sending import File, Patience, Sender
from sluice.errors import PermanentError

_AT_ONCE = 50
_LOOK_SECONDS = 0.5
_OFFER_AGAIN_SECONDS = 60.0
_MOST_TRIES = 50


@dataclass
class Result:
    """What became of the files, by their path in the folder."""

    files: int
    done: int = 0
    already: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def ended(self) -> int:
        return self.done + self.already + len(self.failed)


@dataclass
class Open:
    """A file that was offered, or found to be under way. It is offered again when nobody has heard of it for long."""

    path: Path
    key: str
    offer_again_at: float
    pause: float = _OFFER_AGAIN_SECONDS


class Run:
    def __init__(
        self, folder: Path, level: Level, *, api: Gateway, sender: Sender, patience: Patience, outstanding: int
    ) -> None:
        self._folder = folder
        self._level = level
        self._api = api
        self._sender = sender
        self._patience = patience
        self._outstanding = outstanding
        self._open: dict[str, Open] = {}

    def __call__(self, files: Sequence[Path], step: Callable[[Result], None], give_up_after: float) -> Result:
        """Raises PermanentError when nothing at all was heard of any open file for so long (seconds)."""
        result, rest, heard_at = Result(len(files)), iter(files), time.monotonic()
        while True:
            before = (result.ended, len(self._open))
            self._fill(rest, result)
            step(result)
            if not self._open:
                return result
            if self._look(result) or (result.ended, len(self._open)) != before:
                heard_at = time.monotonic()
            if time.monotonic() - heard_at > give_up_after:
                raise PermanentError(
                    f"nothing was heard of {len(self._open)} files for {give_up_after:g} s:"
                    " does the gateway run, and is --redis-url its broker? Run this again to go on"
                )
            step(result)
            if self._open:
                time.sleep(_LOOK_SECONDS)

    def _fill(self, rest: Iterator[Path], result: Result) -> None:
        while (room := self._outstanding - len(self._open)) > 0:
            chunk = list(islice(rest, min(room, _AT_ONCE)))
            if not chunk:
                return
            self._begin(chunk, result)

    def _begin(self, paths: Sequence[Path], result: Result) -> None:
        keys: dict[Path, str] = {}
        for path in paths:
            try:
                keys[path] = stable_key(path, self._folder, self._level, path.read_bytes())
            except OSError as error:
                result.failed[self._place(path)] = f"cannot be read: {error.strerror}"
        fates = self._fates(list(keys.values()))
        for path, key in keys.items():
            self._begin_one(path, key, fates.get(key), result)

    def _begin_one(self, path: Path, key: str, fate: dict[str, Any] | None, result: Result) -> None:
        """What was tried before and failed is tried again, under the key of its next try."""
        base, number = key, 1
        while fate is not None and _lost(fate) and number < _MOST_TRIES:
            number += 1
            key = f"{base}.{number}"
            fate = self._fates([key]).get(key)
        if fate is not None and fate["state"] == "done":
            result.already += 1
        elif fate is not None and fate["state"] != "refused":
            self._open[key] = Open(path, key, float("inf"))
        else:
            self._send(Open(path, key, 0), base, result)

    def _send(self, file: Open, base: str, result: Result) -> None:
        try:
            content = file.path.read_bytes()
            if stable_key(file.path, self._folder, self._level, content) != base:
                raise PermanentError("was changed meanwhile; run this again")
            if not content:
                raise PermanentError("is empty")
            offered = File(shown_name(file.path, self._folder), file.key, content)
            self._patience.until_done(lambda: self._sender.send(offered))
        except OSError as error:
            result.failed[self._place(file.path)] = f"cannot be read: {error.strerror}"
        except PermanentError as error:
            result.failed[self._place(file.path)] = error.detail
        else:
            file.offer_again_at = time.monotonic() + file.pause
            self._open[file.key] = file

    def _look(self, result: Result) -> bool:
        """Whether the gateway knows any of the open files: it sees to their end, which may take long."""
        fates = self._fates(list(self._open))
        for key, file in list(self._open.items()):
            if fate := fates.get(key):
                if _ended(fate):
                    del self._open[key]
                    self._note(file, fate, result)
            elif time.monotonic() > file.offer_again_at:
                del self._open[key]
                file.pause *= 2
                self._send(file, key.partition(".")[0], result)
        return bool(fates)

    def _note(self, file: Open, fate: dict[str, Any], result: Result) -> None:
        if fate["state"] == "done":
            result.done += 1
        else:
            result.failed[self._place(file.path)] = fate["error"] or f"is {fate['state']}"

    def _fates(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            look = partial(self._api.get, "/knowledge/offers", idempotency_key=some)
            answer = self._patience.until_done(look)
            found |= {fate["idempotency_key"]: fate for fate in answer["items"]}
        return found

    def _place(self, path: Path) -> str:
        return str(path.relative_to(self._folder))


def _ended(fate: dict[str, Any]) -> bool:
    return fate["state"] in ("done", "failed", "refused", "deleted")


def _lost(fate: dict[str, Any]) -> bool:
    """It came to nothing, or what came of it is gone by now."""
    return fate["state"] in ("failed", "deleted") or (fate["state"] == "done" and fate["superseded"])
