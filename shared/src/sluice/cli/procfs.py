"""What Linux tells about processes under /proc. Elsewhere nothing is known, and nothing is done on a guess."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_LISTENING = "0A"


def started(pid: int) -> str | None:
    """When the process began, as `boot id:ticks`: with the pid it names one process for ever. None if there is none."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] == "Z" else f"{boot}:{fields[19]}"


def name(pid: int) -> str | None:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return None


def listener(port: int) -> int | None:
    """The process that listens on a TCP port, if this user may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return next((pid for pid, link in _descriptors() if link in sockets), None) if sockets else None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _descriptors() -> Iterator[tuple[int, str]]:
    for folder in PROC.glob("[0-9]*/fd"):
        try:
            for descriptor in folder.iterdir():
                yield int(folder.parent.name), str(descriptor.readlink())
        except OSError:  # gone meanwhile, or another user's
            continue
