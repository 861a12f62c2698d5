"""Lets the parser's child read its own programs and nothing else of the disk: no key, no document of others.

Landlock, which needs no privilege, holds for all threads and children, and can never be taken off again.
"""

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Generator, Iterator

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_WHICH_VERSION, _BELOW_A_FOLDER = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # how many rights to files there are since each version
_CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS = 0b11, 0b11
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")


def landlock_version() -> int:
    """0 where there is no Landlock: before Linux 5.13, where it is off, and on other systems."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _WHICH_VERSION)
    except OSError:
        return 0


def confine() -> None:
    """From now on this process opens no file but those; does nothing where there is no Landlock.

    From version 6 on it sends no signal to another process either.

    Raises:
        OSError: the kernel refuses. Giving up new privileges has to come first.
    """
    version = landlock_version()
    if not version:
        return
    rights = (1 << max(count for since, count in _RIGHTS.items() if since <= version)) - 1
    fields = struct.pack("QQQ", rights, _CONNECT_AND_BIND, _SIGNALS_AND_ABSTRACT_SOCKETS)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _call(_CREATE_RULESET, ctypes.create_string_buffer(fields[:size], size), size, 0)
    for path in _readable():
        with contextlib.suppress(FileNotFoundError, PermissionError), _opened(path) as opened:
            _allow(rules, opened)
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _readable() -> Iterator[str]:
    yield from filter(None, (*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path))


@contextlib.contextmanager
def _opened(path: str) -> Generator[int]:
    """A descriptor that only names it. Raises OSError for what is not there, or out of this user's reach."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _allow(rules: int, opened: int) -> None:
    rights = _READ_FILE | (_READ_FOLDER if stat.S_ISDIR(os.fstat(opened).st_mode) else 0)
    _call(_ADD_RULE, rules, _BELOW_A_FOLDER, ctypes.create_string_buffer(struct.pack("=Qi", rights, opened), 12), 0)


def _call(number: int, *values: ctypes.Array[ctypes.c_char] | int | None) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    numbers = (ctypes.c_long(value) if isinstance(value, int) else value for value in values)
    result = library.syscall(ctypes.c_long(number), *numbers)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
