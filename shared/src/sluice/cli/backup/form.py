"""What a backup looks like: a folder of plain files, a list of them with their digests, and a manifest.

`sql/` has the rows, `blobs/` and `data-keys/` are as in the data folder. `manifest.json` is written last and names the
digest of `files.jsonl`, which names those of all others: what was cut off or changed is found by name.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sluice.access import Level
from sluice.errors import PermanentError

MANIFEST, FILES = "manifest.json", "files.jsonl"
SQL, BLOBS, DATA_KEYS = "sql", "blobs", "data-keys"
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}")
_BLOCK = 1024 * 1024


class DamagedError(PermanentError):
    """A backup that is not as it was written; the detail names the file."""


class Kept(BaseModel):
    """A file of a backup."""

    model_config = ConfigDict(frozen=True)
    path: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """`level_keys`: ids of the key-encryption keys that open the data keys. `lost`: what the system lacked itself."""

    model_config = ConfigDict(frozen=True)
    format: Literal[1] = 1
    sluice: str
    revision: str
    taken_at: datetime
    files: int
    bytes: int
    files_sha256: str
    rows: dict[str, int]
    level_keys: dict[Level, list[str]]
    lost: list[str]


def copy_file(source: Path, target: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was copied; of a link nothing is. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as reading:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
            while block := reading.read(_BLOCK):
                digest.update(block)
                size += writing.write(block)
    return size, digest.hexdigest()


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as reading:
        while block := reading.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def write_files(folder: Path, files: Iterable[Kept]) -> str:
    """The list of the files; its digest."""
    with (folder / FILES).open("x", encoding="utf-8") as writing:
        for file in sorted(files, key=lambda file: file.path):
            writing.write(file.model_dump_json() + "\n")
    return digest_of(folder / FILES)[1]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Raises DamagedError, and PermanentError for what is no backup, or one of a newer form."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"{folder} is no backup: {MANIFEST} cannot be read ({error.strerror})") from error
    try:
        if (form := json.loads(text)["format"]) != 1:
            raise PermanentError(f"the backup is of form {form}: restore it with a newer version")
        manifest = Manifest.model_validate_json(text)
        found = digest_of(folder / FILES)[1]
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"the backup is damaged: {MANIFEST} is not as it was written") from error
    except OSError as error:
        raise DamagedError(f"the backup is damaged: {FILES} cannot be read ({error.strerror})") from error
    if found != manifest.files_sha256:
        raise DamagedError(f"the backup is damaged: {FILES} is not as it was written")
    return manifest


def listed(folder: Path) -> Iterator[Kept]:
    """The files that the backup says it has; none of them lies elsewhere. Raises DamagedError."""
    with (folder / FILES).open(encoding="utf-8") as lines:
        for line in lines:
            try:
                file = Kept.model_validate_json(line)
            except ValidationError as error:
                raise DamagedError(f"the backup is damaged: {FILES} has a line that names no file") from error
            parts = file.path.split("/")
            if parts[0] not in (SQL, BLOBS, DATA_KEYS) or not all(map(_PART.fullmatch, parts)):
                raise DamagedError(f"the backup is damaged: {FILES} names a file that no backup has")
            yield file


def taken(folder: Path, file: Kept, target: Path | None = None) -> None:
    """Compares a file with what the list says of it, and copies it if there is a target. Raises DamagedError."""
    source = folder / file.path
    if source.is_symlink():
        raise DamagedError(f"the backup is damaged: {file.path} is a link")
    try:
        status = source.stat()
        found = digest_of(source) if target is None else copy_file(source, target)
    except FileNotFoundError as error:
        raise DamagedError(f"the backup is damaged: {file.path} is missing") from error
    if status.st_size != file.size:
        raise DamagedError(f"the backup is damaged: {file.path} has {status.st_size} bytes, not {file.size}")
    if found != (file.size, file.sha256):
        raise DamagedError(f"the backup is damaged: {file.path} is not as it was written")
