"""The use case: a backup into an empty folder, whole or not at all."""

import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from sluice.cli.backup.database import Rows
from sluice.cli.backup.form import BLOBS, DATA_KEYS, SQL, Kept, Manifest, listed, read_manifest, taken
from sluice.cli.backup.secrets import check_keys, put_keys, read_folder
from sluice.cli.state import StateFolder
from sluice.errors import PermanentError

_FILLED = ("data", "keys")


@dataclass(frozen=True)
class Restore:
    """Rows, blobs, data keys and, if they are given, keys; nothing of the index or of Redis.

    A new folder appears when all is in it. A folder that has folders already, as the volumes of containers, is filled
    in place, the rows last, and cleaned up when that fails.
    """

    backup: Path
    rows: Rows
    keys: Mapping[str, bytes]
    other_keys: Iterable[bytes] = ()
    """Level keys that lie where the settings say."""

    def __call__(self, into: Path) -> Manifest:
        """
        Raises:
            PermanentError: the folder or the database is not empty, the backup is damaged, or of a newer Sluice, or the
                keys do not open it.
            OSError: a file can be neither read nor written.
        """
        manifest, into = read_manifest(self.backup), into.absolute()
        _check_empty(into, but_for_keys=not self.keys)
        with _target(into) as state:
            rows = replace(self.rows, state=state.root)
            rows.check(manifest.revision)
            put_keys(self.keys, state.keys)
            files = list(listed(self.backup))
            self._copy(state, (file for file in files if file.path.startswith(f"{DATA_KEYS}/")))
            self._check_keys(state, manifest)
            self._copy(state, (file for file in files if file.path.startswith(f"{BLOBS}/")))
            for file in files:
                if file.path.startswith(f"{SQL}/"):
                    taken(self.backup, file)
            rows.load(self.backup / SQL, manifest.revision)
            os.sync()
        return manifest

    def _copy(self, state: StateFolder, files: Iterable[Kept]) -> None:
        places = {BLOBS: state.blobs, DATA_KEYS: state.data_keys}
        for file in files:
            folder, _, path = file.path.partition("/")
            taken(self.backup, file, places[folder] / path)

    def _check_keys(self, state: StateFolder, manifest: Manifest) -> None:
        there = read_folder(state.keys) if state.keys.is_dir() else {}
        check_keys(state.data_keys, [*there.values(), *self.other_keys], manifest.level_keys)


def _check_empty(into: Path, *, but_for_keys: bool) -> None:
    """A container has volumes there that are no part of it."""
    if into.is_symlink() or (into.exists() and not into.is_dir()):
        raise PermanentError(f"{into} is no folder")
    others = [child for child in into.iterdir() if child.is_mount()] if into.exists() else []
    passed_over = [
        *(child for child in others if child.name not in _FILLED),
        *([into / "keys"] if but_for_keys else []),
    ]
    for file in _files(into):
        if not any(file.is_relative_to(folder) for folder in passed_over):
            raise PermanentError(f"{into} is not empty ({file.relative_to(into)}): name a new folder")


@contextmanager
def _target(into: Path) -> Generator[StateFolder]:
    if into.exists() and any(into.iterdir()):
        before = set(_files(into))
        try:
            yield StateFolder(into)
        except BaseException:
            for file in set(_files(into)) - before:
                file.unlink(missing_ok=True)
            raise
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = into.with_name(f".{into.name}.{uuid4().hex}.draft")
    draft.mkdir(mode=0o700)
    try:
        (draft / "data").mkdir(mode=0o700)
        yield StateFolder(draft)
        draft.rename(into)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(draft)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
