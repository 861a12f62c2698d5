"""One `sluice up` a state folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sluice.cli import procfs
from sluice.errors import ConfigurationError


class AlreadyRunningError(ConfigurationError):
    """Another process holds the state folder; `pid` is its process id, 0 if unknown."""

    def __init__(self, path: Path, pid: int) -> None:
        who = f" (pid {pid})" if pid else ""
        super().__init__(
            f"Sluice already runs on {path.parent.parent}{who}; stop it with Ctrl-C there or `sluice down`"
        )
        self.pid = pid


@contextmanager
def held(path: Path) -> Generator[None]:
    """Hold the lock, with this process's id written in it. The kernel frees it however the process ends.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(path, _pid_in(handle)) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {procfs.started(os.getpid())}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _pid_in(handle: int) -> int:
    """The holder's pid; 0 while the file still holds that of an earlier one."""
    pid, _, started = os.pread(handle, 200, 0).decode().partition(" ")
    return int(pid) if pid.isdigit() and str(procfs.started(int(pid))) == started else 0
