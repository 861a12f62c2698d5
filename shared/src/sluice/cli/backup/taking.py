"""The use case: a backup of a running system."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from sluice.access import Level
from sluice.cli.backup.copying import Copying, names_below
from sluice.cli.backup.database import Rows
from sluice.cli.backup.form import BLOBS, DATA_KEYS, SQL, Kept, Manifest, digest_of, write_files, write_manifest
from sluice.cli.backup.holdings import Holdings, read_holdings
from sluice.cli.state import StateFolder
from sluice.errors import ConfigurationError
from sluice.sealing import DataKeys

_MOST_ROUNDS = 8


@dataclass(frozen=True)
class Backup:
    """Rows as of one moment, and every blob that they need, while everything runs.

    Blobs are copied before the rows are read and again after it. What a row says was there before the first pass, or is
    there in the second; what was written and deleted again between the two makes another round, with rows that know it.
    Data keys are made before anything is sealed with them and never removed, so they come last.
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
        blobs.again()
        taken_at, counts, lost = self._agree(draft / SQL, blobs)
        keys = Copying(self.state.data_keys, draft / DATA_KEYS)
        keys.again()
        files = [*_under(BLOBS, blobs.kept), *_under(DATA_KEYS, keys.kept), *_written(draft / SQL)]
        manifest = Manifest(
            sluice=version("sluice"),
            revision=counts["revision"],
            taken_at=taken_at,
            files=len(files),
            bytes=sum(file.size for file in files),
            files_sha256=write_files(draft, files),
            rows=counts["rows"],
            level_keys=_level_keys(draft / DATA_KEYS),
            lost=lost,
        )
        write_manifest(draft, manifest)
        return manifest

    def _agree(self, sql: Path, blobs: Copying) -> tuple[datetime, dict[str, Any], list[str]]:
        """Rows, and what of the blobs belongs to them; what is lacking twice is lost in the system itself."""
        lacking = list[str]()
        for _ in range(_MOST_ROUNDS):
            shutil.rmtree(sql, ignore_errors=True)
            taken_at, before = datetime.now(UTC), lacking
            counts = self.rows.write(sql)
            blobs.again()
            holdings = read_holdings(sql / "holdings.jsonl")
            lacking = _lacking(holdings, blobs)
            if not lacking or lacking == before:
                break
        else:
            raise ConfigurationError("documents come and go faster than they can be copied: try again later")
        for path in [path for path in blobs.kept if not holdings.keeps(path, blobs.found)]:
            blobs.drop(path)
        return taken_at, counts, lacking


def _lacking(holdings: Holdings, blobs: Copying) -> list[str]:
    """Also what was copied for the first time while it may have been on its way out."""
    lacking = list(holdings.lacking(blobs.kept, blobs.found, blobs.gone))
    fresh = {path.rpartition("/")[0] for path in blobs.fresh if path.endswith("/complete")}
    return sorted({*lacking, *(folder for folder in fresh if not blobs.stands(folder))})


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
