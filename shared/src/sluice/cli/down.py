"""`sluice down`: end the system that runs on the state folder."""

import os
import signal
import time

from rich.console import Console

from sluice.cli.lock import AlreadyRunningError, held
from sluice.cli.pidfiles import PidFiles, end_orphans
from sluice.cli.programs import table, waves
from sluice.cli.settings import CliSettings, environment
from sluice.errors import SluiceError

_PATIENCE_SECONDS = 180


def down() -> None:
    """Drain and stop the running system, from anywhere; also what a killed supervisor left behind."""
    settings = CliSettings()
    settings.state.create()
    say = Console(highlight=False).print
    deadline = time.monotonic() + _PATIENCE_SECONDS
    asked = 0
    while time.monotonic() < deadline:
        try:
            with held(settings.state.lock):
                order = [[program.name for program in wave] for wave in reversed(waves(table(settings, environment())))]
                ended = end_orphans(PidFiles(settings.state.pids), order, settings.shutdown_grace_seconds, say)
                say("stopped" if asked or ended else "Sluice does not run here")
                return
        except AlreadyRunningError as running:
            if running.pid and running.pid != asked:
                os.kill(running.pid, signal.SIGTERM)
                asked = running.pid
        time.sleep(0.05)
    raise SluiceError(f"Sluice (pid {asked}) did not stop within {_PATIENCE_SECONDS} s")
