"""A system of stand-in programs under the real supervisor: `python cli_system.py STATE SPEC`.

SPEC is a JSON list of `{"name", "wave", "port", "habits"}`, or `stores` for the real Valkey and Chroma servers.
"""

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from sluice.cli.probes import HttpProbe
from sluice.cli.programs import Program, Wave, table
from sluice.cli.settings import CliSettings, environment
from sluice.cli.state import StateFolder
from sluice.cli.terminal import Terminal
from sluice.cli.up import run
from sluice.errors import SluiceError

PROGRAM = Path(__file__).with_name("cli_program.py")


def program(state: Path, name: str, wave: str, port: int, habits: list[str]) -> Program:
    return Program(
        name=name,
        wave=Wave[wave],
        command=(sys.executable, str(PROGRAM), str(port), str(state / "notes"), *habits),
        environment={"STANDIN_NAME": name, "PATH": os.environ["PATH"]},
        probe=HttpProbe(f"http://127.0.0.1:{port}/readyz"),
        port=port,
        port_setting=f"SLUICE_{name.upper()}_PORT",
        service=name,
        grace_seconds=2,
        start_timeout_seconds=3 if "never-ready" in habits else 20,
    )


def stores() -> list[Program]:
    return [program for program in table(CliSettings(), environment()) if program.wave is Wave.STORES]


def welcome(terminal: Terminal) -> None:
    terminal.plain("welcome")


def main() -> None:
    state = StateFolder(Path(sys.argv[1]))
    state.create()
    programs = stores() if sys.argv[2] == "stores" else [program(state.root, **e) for e in json.loads(sys.argv[2])]
    try:
        run(programs, state, Console(), welcome)
    except SluiceError as error:
        print(f"sluice: {error.detail}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
