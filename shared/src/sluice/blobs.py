"""The blob store: sealed files in a local folder, under paths made from the scope."""

import asyncio
import fcntl
import os
import re
import shutil
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from sluice.access import Level, Scope
from sluice.errors import PermanentError, TransientError
from sluice.sealing import Keyring

BlobPath = tuple[str, ...]
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_HELD_SECONDS = 0.2


class BlobMissingError(PermanentError):
    type = "blob-missing"


class BlobStore:
    """Reads and writes sealed blobs at `root/level/tenant/*path`; every part of a path is a plain name made by us."""

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self._root = root
        self._keyring = keyring

    async def put(self, scope: Scope, level: Level, path: BlobPath, data: bytes) -> None:
        """Replaces the blob as a whole, on disk (fsync) before it returns."""
        await asyncio.to_thread(self._put, scope, level, path, data)

    async def get(self, scope: Scope, level: Level, path: BlobPath) -> bytes:
        """Raises BlobMissingError, SealBrokenError."""
        return await asyncio.to_thread(self._get, scope, level, path)

    async def delete(self, scope: Scope, level: Level, prefix: BlobPath) -> None:
        """Removes a blob or everything below a folder; what is not there counts as removed. Waits while a backup holds.

        Raises TransientError when something is still there afterwards.
        """
        while not await asyncio.to_thread(self._delete, scope, level, prefix):  # noqa: ASYNC110  # of another process
            await asyncio.sleep(_HELD_SECONDS)

    async def tenants(self, level: Level, pattern: str) -> list[str]:
        """The tenants that have a blob or folder of this pattern at the level; for upkeep, which needs no more."""
        return await asyncio.to_thread(self._tenants, level, pattern)

    def _tenants(self, level: Level, pattern: str) -> list[str]:
        root = self._root / level.lower()
        return [folder.name for folder in sorted(root.iterdir()) if any(folder.glob(pattern))] if root.is_dir() else []

    async def list(self, scope: Scope, level: Level, prefix: BlobPath) -> list[str]:
        """The names directly below a folder, sorted; none when it is not there."""
        folder = self._file(scope, level, prefix)
        return await asyncio.to_thread(lambda: sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [])

    def _put(self, scope: Scope, level: Level, path: BlobPath, data: bytes) -> None:
        file = self._file(scope, level, path)
        sealed = self._keyring.seal(data, tenant=scope.tenant, level=level, row_id="/".join(path))
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o770)
        new = file.with_name(f"{file.name}.{uuid4().hex}.new")
        with new.open("wb") as stream:
            stream.write(sealed)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)

    def _get(self, scope: Scope, level: Level, path: BlobPath) -> bytes:
        try:
            sealed = self._file(scope, level, path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobMissingError("the stored copy of this document is missing") from error
        return self._keyring.open(sealed, tenant=scope.tenant, level=level, row_id="/".join(path))

    def _delete(self, scope: Scope, level: Level, prefix: BlobPath) -> bool:
        """False while deletions are held."""
        place = self._file(scope, level, prefix)
        if not place.exists():
            return True
        handle = os.open(self._root / level.lower(), os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._remove(place)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def _remove(self, place: Path) -> None:
        if not place.is_dir():
            place.unlink(missing_ok=True)
            return
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():  # something was put there meanwhile, or the disk refuses
            shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            raise TransientError("stored files could not be deleted; look at the disk and the rights of the blob store")

    def _file(self, scope: Scope, level: Level, path: BlobPath) -> Path:
        parts = (scope.at(level).lower(), scope.tenant, *path)
        if len(parts) < 3 or not all(_PART.fullmatch(part) for part in parts):
            raise PermanentError("a blob's path has a part that is no plain name")
        return self._root.joinpath(*parts)


@contextmanager
def deletions_held(root: Path, levels: Iterable[Level] = tuple(Level)) -> Generator[None]:
    """Nothing is deleted meanwhile, by any process, and none is half deleted; whoever wants to waits.

    The kernel ends it with this process. Raises OSError.
    """
    with ExitStack() as stack:
        for level in levels:
            folder = root / level.lower()
            folder.mkdir(mode=0o770, parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
