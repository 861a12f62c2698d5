"""A folder that others write to and delete from, copied in passes.

Its files are written whole under a name of their own and then renamed, so that a copy is never half of one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sluice.cli.backup.form import Kept, copy_file


@dataclass
class Copying:
    """Each pass copies what is new or changed, and drops what is not there any more."""

    source: Path
    target: Path
    kept: dict[str, Kept] = field(default_factory=dict[str, Kept])
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def again(self) -> None:
        """Raises OSError: the source cannot be read, or the target not written."""
        found = {path for path in names_below(self.source) if self._copy(path)}
        for path in self.kept.keys() - found:
            self.drop(path)

    def drop(self, path: str) -> None:
        del self.kept[path], self._seen[path]
        (self.target / path).unlink()

    def _copy(self, path: str) -> bool:
        """Whether it is still there."""
        try:
            status = (self.source / path).lstat()
            mark = status.st_mtime_ns, status.st_size
            if self._seen.get(path) != mark:
                size, digest = copy_file(self.source / path, self.target / path)
                self.kept[path] = Kept(path=path, size=size, sha256=digest)
                self._seen[path] = mark
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def names_below(folder: Path) -> Iterator[str]:
    """The files in it, at any depth; drafts are none. A folder is listed before what lies in it."""
    for where, _, files in os.walk(folder, onerror=_raise):
        for name in files:
            if not name.startswith(".") and not name.endswith(".new"):
                yield os.path.relpath(os.path.join(where, name), folder)  # noqa: PTH118  # of a million files


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
