"""The files of a folder that Sluice can read, each with the name and the key that it is offered under."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.access import Level

ENDINGS = frozenset({".pdf", ".docx", ".csv", ".tsv", ".txt", ".md", ".markdown", ".html", ".htm", ".xhtml"})
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Found:
    """What a folder holds: what can be offered, in order, and how many files are of another kind."""

    files: list[Path]
    others: int


def find(folder: Path, *, recursive: bool) -> Found:
    """Hidden files and folders are left out, and so are symbolic links: they may lead anywhere."""
    files: list[Path] = []
    others = 0
    for path in _walk(folder, recursive=recursive):
        if path.suffix.lower() in ENDINGS:
            files.append(path)
        else:
            others += 1
    return Found(files, others)


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_file():
            yield Path(entry.path)
        elif recursive and entry.is_dir():
            yield from _walk(Path(entry.path), recursive=True)


def shown_name(path: Path, folder: Path) -> str:
    """With its folders, so that files of one name stay two documents; not as a path, of which the end alone is kept."""
    parts = [os.fsencode(part).decode(errors="replace") for part in path.relative_to(folder).parts]
    name = " › ".join(parts)
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8]} {name[-(_LONGEST_NAME - 9) :]}"


def stable_key(path: Path, folder: Path, level: Level, content: bytes) -> str:
    """The same for the same file with the same bytes, in this run and in every later one."""
    place = os.fsencode(path.relative_to(folder))
    whole = b"\0".join([level.encode(), place, hashlib.sha256(content).digest()])
    return f"ingest-{hashlib.sha256(whole).hexdigest()}"
