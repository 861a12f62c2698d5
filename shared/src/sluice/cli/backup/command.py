"""`sluice backup` and `sluice restore`."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.backup.database import Rows
from sluice.cli.backup.form import Manifest
from sluice.cli.backup.restoring import Restore
from sluice.cli.backup.secrets import read_keys, write_keys
from sluice.cli.backup.taking import Backup
from sluice.cli.settings import CliSettings, environment
from sluice.errors import ConfigurationError, PermanentError

_WITHOUT_KEYS = "without the level keys nothing that is sealed ever opens again"
_SHOWN = 20
_FOR_OWNER_ALONE = 0o077


def backup(
    folder: Annotated[Path, typer.Argument(help="The new folder that the backup is written to.")],
    keys: Annotated[
        Path | None, typer.Option(help="Write the keys to this new file: keep it away from the backup.")
    ] = None,
) -> None:
    """Copy rows, blobs and data keys as of one moment, while everything runs; the index and Redis are not kept."""
    os.umask(_FOR_OWNER_ALONE)
    settings = CliSettings()
    if keys is not None:
        _check_keys_file(keys, folder)
    with _files_told():
        manifest = Backup(settings.state, Rows(settings.state.root, environment()))(folder)
    print(f"{folder}: {_size(manifest)}, as of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC")
    for place in manifest.lost[:_SHOWN]:
        print(f"lost in this system already: {place}")
    if len(manifest.lost) > _SHOWN:
        print(f"and {len(manifest.lost) - _SHOWN} more: manifest.json names them")
    _tell_keys(settings, keys)


def restore(
    backup: Annotated[Path, typer.Argument(help="The folder that `sluice backup` wrote.")],
    into: Annotated[Path, typer.Option(help="The new state folder.")],
    keys: Annotated[
        Path | None, typer.Option(help="The file of `sluice backup --keys`, or a copy of the folder keys.")
    ] = None,
) -> None:
    """Make a state folder from a backup. `sluice up` on it brings the tables up to date and makes the index anew."""
    os.umask(_FOR_OWNER_ALONE)
    settings = CliSettings()
    rows = Rows(into.absolute(), environment())
    with _files_told():
        outside = [file for files in settings.level_key_files.values() for file in files if file.is_file()]
        given = read_keys(keys) if keys else {}
        manifest = Restore(backup, rows, given, [file.read_bytes() for file in outside])(into)
    print(f"{into}: {_size(manifest)}, as of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC")
    if rows.elsewhere:
        print("the rows are in the database that SLUICE_DATABASE_URL names")
    if not any(name.startswith("passport") for name in given) and not list((into / "keys").glob("passport*.pub")):
        print("no passport key came with it: a new one is made, and the audit log's heads will not verify")
    print(f"start it: SLUICE_STATE_DIR={into.absolute()} sluice up; who was signed in signs in again")


def _check_keys_file(keys: Path, folder: Path) -> None:
    if keys.exists() or keys.is_symlink():
        raise ConfigurationError(f"{keys} is there already: name a new file")
    if keys.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError("the keys beside what they open undo the sealing: name a file elsewhere")
    if not keys.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder {keys.absolute().parent}")


def _tell_keys(settings: CliSettings, keys: Path | None) -> None:
    folder = settings.state.keys
    if keys is None:
        print(f"the keys in {folder} are not in it: keep a copy elsewhere (--keys FILE), {_WITHOUT_KEYS}")
    else:
        with _files_told():
            count = len(write_keys(folder, keys))
        print(f"{keys}: {count} keys; keep it away from the backup, {_WITHOUT_KEYS}")
    outside = [file for files in settings.level_key_files.values() for file in files]
    for file in outside:
        if not file.absolute().is_relative_to(folder):
            print(f"{file} lies elsewhere: keep a copy of it yourself")


def _size(manifest: Manifest) -> str:
    rows = sum(manifest.rows.values())
    return f"{manifest.files} files, {manifest.bytes / 1e6:.1f} MB, {rows} rows of revision {manifest.revision}"


@contextmanager
def _files_told() -> Generator[None]:
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise PermanentError(f"{where}{error.strerror or error}") from error
