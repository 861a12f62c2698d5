"""Reads the lines that a folder of growing log files has got since the last look."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE = 1 << 20
_NAME = re.compile(r".+\.jsonl(\.\d+)?")
_CHUNK = 1 << 20
_HEAD = 256


@dataclass
class _Tail:
    """An open file, so that what was written before it was renamed or deleted can still be read."""

    file: BinaryIO
    offset: int = 0
    head: bytes = b""
    skipping: bool = False
    """Inside a line that is too long."""

    def digest(self, size: int) -> bytes:
        self.file.seek(0)
        return hashlib.sha256(self.file.read(size)).digest()


class LogFolder:
    """The files `*.jsonl` and their rotated `*.jsonl.1`, `*.jsonl.2` ... of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[tuple[int, int], _Tail] = {}

    def new_lines(self) -> Iterator[bytes]:
        """Whole lines, each once, over all calls: a renamed file goes on where it was, a truncated one begins again.

        A line longer than MAX_LINE, or not yet ended, is not given.
        """
        present = self._open()
        for identity, tail in list(self._tails.items()):
            self._rewind_if_rewritten(tail)
            yield from _read(tail)
            if identity not in present:
                tail.file.close()
                del self._tails[identity]

    def close(self) -> None:
        for tail in self._tails.values():
            tail.file.close()
        self._tails.clear()

    def _open(self) -> set[tuple[int, int]]:
        present: set[tuple[int, int]] = set()
        for path in sorted(self._folder.glob("*.jsonl*")):
            if not _NAME.fullmatch(path.name):
                continue
            try:
                status = path.stat()
                identity = (status.st_dev, status.st_ino)
                present.add(identity)
                if identity not in self._tails:
                    self._tails[identity] = self._tail(path)
            except OSError:  # gone since it was listed
                continue
        return present

    def _tail(self, path: Path) -> _Tail:
        """A rotated file that is a copy of one already read (copytruncate) goes on where that one was."""
        tail = _Tail(path.open("rb"))
        if path.suffix != ".jsonl":
            for known in self._tails.values():
                if known.offset and tail.digest(min(_HEAD, known.offset)) == known.head:
                    tail.offset, tail.head = known.offset, known.head
        return tail

    def _rewind_if_rewritten(self, tail: _Tail) -> None:
        if tail.offset and tail.digest(min(_HEAD, tail.offset)) != tail.head:
            tail.offset, tail.skipping = 0, False
        tail.offset = min(tail.offset, os.fstat(tail.file.fileno()).st_size)


def _read(tail: _Tail) -> Iterator[bytes]:
    tail.file.seek(tail.offset)
    rest = b""
    while chunk := tail.file.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            tail.offset += len(line) + 1
            too_long, tail.skipping = tail.skipping or len(line) > MAX_LINE, False
            if line and not too_long:
                yield line
        if len(rest) > MAX_LINE:
            tail.offset, tail.skipping, rest = tail.offset + len(rest), True, b""
    tail.head = tail.digest(min(_HEAD, tail.offset))
