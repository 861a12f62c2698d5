"""Files that appear whole or not at all, also when the power fails."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def create(path: Path, content: bytes) -> bool:
    """False when it was there already: of several processes one makes it."""
    path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    with _draft(path, content, like=path.parent) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        _sync(path.parent, path.parent.parent, path.parent.parent.parent)
        return True


def replace(path: Path, content: bytes) -> None:
    """A reader finds the old content or the new."""
    with _draft(path, content, like=path) as draft:
        draft.replace(path)
        _sync(path.parent)


@contextmanager
def _draft(path: Path, content: bytes, *, like: Path) -> Generator[Path]:
    """Belongs to whom `like` belongs to, also when root runs a command on it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), like.stat().st_uid, like.stat().st_gid)
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync(*folders: Path) -> None:
    """The names in a folder reach the disk with it."""
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
