"""`sluice up`: the whole system on one machine."""

import asyncio
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from rich.console import Console

from sluice.cli.keys import KEEP_A_COPY, create_keys
from sluice.cli.lane_users import lane_users, own
from sluice.cli.lock import held
from sluice.cli.logs import LogFile, parse
from sluice.cli.pidfiles import PidFiles, end_orphans
from sluice.cli.programs import Program, as_users, check_packages, table, waves
from sluice.cli.settings import CliSettings, environment
from sluice.cli.sockets import check_ports
from sluice.cli.state import StateFolder
from sluice.cli.supervised import StartError, Supervised
from sluice.cli.supervisor import Supervisor
from sluice.cli.terminal import Terminal
from sluice.cli.welcome import welcome

_HEALTH = ("/healthz", "/readyz", "/metrics")


class Welcome(Protocol):
    def __call__(self, terminal: Terminal) -> None: ...


def up() -> None:
    """Start everything, show the logs, and stop it all with Ctrl-C."""
    settings = CliSettings()
    users = lane_users(settings)
    check_packages()
    settings.state.create()
    if made := create_keys(settings.state.keys):
        print(f"{settings.state.keys}: made {', '.join(made)}. {KEEP_A_COPY}")
    programs = as_users(table(settings, environment()), users)
    own(settings.state, users, settings.key_files)
    run(programs, settings.state, Console(), lambda terminal: welcome(terminal, settings))


def run(programs: Sequence[Program], state: StateFolder, console: Console, on_up: Welcome) -> None:
    """Run the programs until SIGINT, SIGTERM or SIGHUP; a second SIGINT kills.

    Raises:
        AlreadyRunningError, PortInUseError, StartError: nothing is left running then.
    """
    terminal = Terminal(console, [program.name for program in programs])
    with held(state.lock), ExitStack() as stack:
        pids = PidFiles(state.pids)
        order = [[program.name for program in wave] for wave in reversed(waves(programs))]
        end_orphans(pids, order, max(program.grace_seconds for program in programs), terminal.say)
        check_ports(programs)
        outlet = _Outlet(terminal, state, programs, stack)
        asyncio.run(_supervise(programs, pids, terminal, outlet, on_up))


class _Outlet:
    """Where the programs' lines go: a file each, and the terminal."""

    def __init__(self, terminal: Terminal, state: StateFolder, programs: Sequence[Program], stack: ExitStack) -> None:
        self._terminal = terminal
        self._files = {program.name: LogFile(state.logs, program.name) for program in programs}
        for file in self._files.values():
            stack.callback(file.close)

    def __call__(self, program: Program, line: bytes) -> None:
        record, kept = parse(line, service=program.service, lane=program.lane)
        self._files[program.name].append(kept)
        if not program.quiet and record.get("route") not in _HEALTH:
            self._terminal.record(program.name, record)


async def _supervise(
    programs: Sequence[Program], pids: PidFiles, terminal: Terminal, outlet: _Outlet, on_up: Welcome
) -> None:
    began = time.monotonic()

    def supervised(program: Program) -> Supervised:
        return Supervised(program, output=outlet, say=terminal.say, pids=pids)

    def all_up() -> None:
        terminal.say(f"Sluice is up ({time.monotonic() - began:.1f} s)", "bold green")
        on_up(terminal)

    supervisor = Supervisor([[supervised(program) for program in wave] for wave in waves(programs)])
    stop = asyncio.Event()
    _catch_signals(stop, supervisor, terminal)
    try:
        await supervisor.run(stop, on_up=all_up, on_stop=lambda: terminal.say("stopping; Ctrl-C again kills"))
    except StartError as error:
        for line in error.tail:
            terminal.plain(f"  | {line.decode(errors='replace')}")
        raise
    terminal.say("stopped; what was accepted is kept and goes on with the next start")


def _catch_signals(stop: asyncio.Event, supervisor: Supervisor, terminal: Terminal) -> None:
    def interrupted() -> None:
        if stop.is_set():
            terminal.say("killing", "bold red")
            supervisor.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupted)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
