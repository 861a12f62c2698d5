"""Whether the ports are free, before anything is started."""

import errno
import socket
from collections.abc import Iterable

from sluice.cli import procfs
from sluice.cli.programs import Program
from sluice.errors import ConfigurationError


class PortInUseError(ConfigurationError):
    """A port that a program needs is taken; the detail names its owner and the setting to change."""


def check_ports(programs: Iterable[Program]) -> None:
    """
    Raises:
        PortInUseError: a port is in use, or is set twice.
    """
    complaints: list[str] = []
    taken: dict[int, str] = {}
    for program in programs:
        if program.port in taken:
            complaints.append(
                f"port {program.port} is set for {taken[program.port]} and for {program.name}; {_advice(program)}"
            )
        elif not _free(program.host, program.port):
            complaints.append(f"port {program.port} is in use{_owner(program.port)}; {_advice(program)}")
        taken[program.port] = program.name
    if complaints:
        raise PortInUseError("\n        ".join(complaints))


def _advice(program: Program) -> str:
    return f"set {program.port_setting}=... to use another for {program.name}"


def _free(host: str, port: int) -> bool:
    """Whether a server could listen there, as servers do it: connections in TIME_WAIT do not count."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return True


def _owner(port: int) -> str:
    pid = procfs.listener(port)
    return f" (by pid {pid} {procfs.name(pid) or ''})".replace(" )", ")") if pid else ""
