"""Takes from the parser's child what no parser needs: the network, other programs, other processes' memory.

Also what changes a file without opening it, where `confinement` sees openings alone. A seccomp filter needs no
privilege, holds for all threads and children, and can never be taken off again.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_SET_NO_NEW_PRIVILEGES = 38
_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where they stand in what the kernel shows to a filter
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # with EPERM
_FIRST_OF_X32 = 0x40000000


@dataclass(frozen=True)
class _Machine:
    """The architecture as the kernel names it, and the numbers of its calls."""

    architecture: int
    refused: tuple[int, ...]
    other_numbers: bool = False


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        (
            *(41, 42, 425),  # socket, connect, io_uring_setup
            *(59, 322),  # execve, execveat
            *(101, 310, 311, 438),  # ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
            *(76, 90, 268, 452),  # truncate, chmod, fchmodat, fchmodat2
        ),
        other_numbers=True,
    ),
    "aarch64": _Machine(0xC00000B7, (198, 203, 425, 221, 281, 117, 270, 271, 438, 45, 53, 452)),
}


def can_isolate() -> bool:
    """False where there is no seccomp, as on macOS, or where this module does not know the numbers of the calls."""
    return sys.platform == "linux" and platform.machine() in _MACHINES


def isolate() -> None:
    """From now on this process opens no socket and starts no program; does nothing where `can_isolate` is False.

    Raises:
        OSError: the kernel refuses the filter.
    """
    if not can_isolate():
        return
    code = b"".join(_program(_MACHINES[platform.machine()]))
    lines = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HP", len(code) // 8, ctypes.addressof(lines)))
    _prctl(_SET_NO_NEW_PRIVILEGES, 1, 0)
    _prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(program))


def _program(machine: _Machine) -> Iterator[bytes]:
    """Loads the call's architecture, then its number, and jumps to the last line for each that is refused."""
    checks = [(_JUMP_IF_EQUAL, number) for number in machine.refused]
    if machine.other_numbers:  # the same calls by other numbers
        checks.insert(0, (_JUMP_IF_AT_LEAST, _FIRST_OF_X32))
    yield _line(_LOAD, _ARCHITECTURE)
    yield _line(_JUMP_IF_EQUAL, machine.architecture, then=1)
    yield _line(_RETURN, _KILL)
    yield _line(_LOAD, _NUMBER)
    for left, (jump, number) in zip(range(len(checks), 0, -1), checks, strict=True):
        yield _line(jump, number, then=left)
    yield _line(_RETURN, _ALLOW)
    yield _line(_RETURN, _REFUSE)


def _line(code: int, value: int, then: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, 0, value)


def _prctl(option: int, *values: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, *(ctypes.c_ulong(value) for value in (*values, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
