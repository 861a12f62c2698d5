"""The use case: a backup of a running system."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from sluice.access import Level
from sluice.blobs import deletions_held
from sluice.cli.backup.copying import Copying, names_below
from sluice.cli.backup.database import Rows
from sluice.cli.backup.form import BLOBS, DATA_KEYS, SQL, Kept, Manifest, digest_of, write_files, write_manifest
from sluice.cli.backup.holdings import read_holdings
from sluice.cli.state import StateFolder
from sluice.errors import ConfigurationError
from sluice.sealing import DataKeys


@dataclass(frozen=True)
class Backup:
    """Rows as of one moment, and every blob that they need, while everything runs.

    Blobs are written before a row says that they are there, and deleted after none says so any more. So they are copied
    twice: at first all, then, with deletions waiting, the rows are read and what came since is copied. What the rows
    do not know of it is left out. Data keys are made before anything is sealed with them, and never removed: they come
    last.
    """

    state: StateFolder
    rows: Rows

    def __call__(self, target: Path) -> Manifest:
        """
        Raises:
            ConfigurationError: the target is there, or lies in what is copied.
            PermanentError: the database cannot be read.
            OSError: a file can be neither read nor written.
        """
        target = target.absolute()
        if target.exists() or target.is_symlink():
            raise ConfigurationError(f"{target} is there already: name a new folder")
        if target.resolve().is_relative_to(self.state.data.resolve()):
            raise ConfigurationError(f"{target} lies in the data folder itself: name another place")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{uuid4().hex}.draft")
        draft.mkdir(mode=0o700)
        try:
            manifest = self._fill(draft)
            os.sync()
            draft.rename(target)
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(draft)
        return manifest

    def _fill(self, draft: Path) -> Manifest:
        blobs = Copying(self.state.blobs, draft / BLOBS)
        written, lost = self._rows_and_blobs(draft / SQL, blobs)
        keys = Copying(self.state.data_keys, draft / DATA_KEYS)
        keys.again()
        files = [*_under(BLOBS, blobs.kept), *_under(DATA_KEYS, keys.kept), *_written(draft / SQL)]
        manifest = Manifest(
            sluice=version("sluice"),
            revision=written["revision"],
            taken_at=written["at"],
            files=len(files),
            bytes=sum(file.size for file in files),
            files_sha256=write_files(draft, files),
            rows=written["rows"],
            level_keys=_level_keys(draft / DATA_KEYS),
            lost=lost,
        )
        write_manifest(draft, manifest)
        return manifest

    def _rows_and_blobs(self, sql: Path, blobs: Copying) -> tuple[dict[str, Any], list[str]]:
        """What the rows say is there, and is not, is lost in the system itself."""
        blobs.again()
        with deletions_held(self.state.blobs):
            written = self.rows.write(sql)
            blobs.again()
        holdings = read_holdings(sql / "holdings.jsonl")
        for path in [path for path in blobs.kept if not holdings.keeps(path)]:
            blobs.drop(path)
        return written, sorted(holdings.lacking(blobs.kept))


def _under(folder: str, kept: dict[str, Kept]) -> list[Kept]:
    return [file.model_copy(update={"path": f"{folder}/{path}"}) for path, file in kept.items()]


def _written(folder: Path) -> list[Kept]:
    digests = {name: digest_of(folder / name) for name in names_below(folder)}
    return [Kept(path=f"{SQL}/{name}", size=size, sha256=digest) for name, (size, digest) in digests.items()]


def _level_keys(folder: Path) -> dict[Level, list[str]]:
    found: dict[Level, set[str]] = {level: set() for level in Level}
    for info in DataKeys({}, folder).all():
        found[info.level] |= set(info.key_ids)
    return {level: sorted(key_ids) for level, key_ids in found.items()}
