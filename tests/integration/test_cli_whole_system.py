"""`sluice up` with the real services: the demo, what each process is given, kill -9, Ctrl-C, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.cli.settings import CliSettings
from tests.support.ports import free_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(400)
SLUICE = Path(sys.executable).with_name("sluice")
START_SECONDS = 120


class Machine:
    """A folder in which somebody types `sluice`."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SLUICE_STATE_DIR": str(self.state),
            "GEMINI_API_KEY": "",
            **{
                f"SLUICE_{name.upper()}": str(free_port())
                for name in CliSettings.model_fields
                if name.endswith("_port")
            },
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        return (self.folder / "terminal.log").read_text()

    def up(self) -> subprocess.Popen[bytes]:
        with (self.folder / "terminal.log").open("wb") as terminal:
            process = subprocess.Popen(
                [SLUICE, "up"], env=self.environment, cwd=self.folder, stdout=terminal, stderr=terminal
            )
        self.process = process
        welcomed = "Ctrl-C stops everything"  # the last line of the welcome
        wait_for(lambda: welcomed in self.said or process.poll(), seconds=START_SECONDS, what="the system is up")
        assert process.poll() is None, self.said
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SLUICE, *words],
            check=False,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def pid(self, name: str) -> int:
        return json.loads((self.state / "run" / "pids" / f"{name}.json").read_text())["pid"]

    def processes(self) -> dict[int, str]:
        """All processes that have to do with the state folder, whoever started them, but for the supervisor."""
        found = {pid: f"{_read(pid, 'cmdline')} {_read(pid, 'environ')}" for pid in _pids()}
        own = {self.process.pid if self.process else 0}
        return {pid: told for pid, told in found.items() if str(self.state) in told and pid not in own}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def resident_megabytes(pid: int) -> int:
    sizes = [int(line.split()[1]) for line in _read(pid, "status").splitlines() if line.startswith("VmRSS")]
    return sum(sizes) // 1024


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    if machine.process is not None and machine.process.poll() is None:
        machine.process.send_signal(signal.SIGINT)
        machine.process.wait(90)
    for pid in machine.processes():
        os.kill(pid, signal.SIGKILL)


def test_the_whole_system_shows_the_demo_survives_kills_and_leaves_nothing_behind(machine: Machine) -> None:
    """One long test, since a start takes its time: each part begins where the one before ended."""
    supervisor = machine.up()
    check_the_first_password_is_told_to_no_log(machine)
    check_external_lanes_know_nothing_internal(machine)

    first = machine.run("demo")
    assert first.returncode == 0, first.stdout + first.stderr
    megabytes = sum(map(resident_megabytes, [supervisor.pid, *machine.processes()]))
    assert megabytes < 3000

    os.kill(machine.pid("retriever-external"), signal.SIGKILL)
    os.kill(machine.pid("valkey"), signal.SIGKILL)
    for name in ("retriever-external", "valkey"):
        wait_for(lambda name=name: f"{name} is ready again" in machine.said, seconds=60, what=f"{name} is back")

    supervisor.kill()
    supervisor.wait()
    orphans = machine.processes()
    assert len(orphans) >= 12
    supervisor = machine.up()
    assert "left behind by a supervisor that was killed" in machine.said
    assert not set(orphans) & set(machine.processes())

    again = machine.run("demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["external_saw_internal"] == 0

    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(90) == 0, machine.said
    assert "did not stop within" not in machine.said
    assert machine.processes() == {}


def check_the_first_password_is_told_to_no_log(machine: Machine) -> None:
    """The output is no terminal here, so the file stays and its place is told instead."""
    path = machine.state / "run" / "gateway" / "first-admin-password"
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in machine.said
    texts = [machine.said, *(log.read_text() for log in (machine.state / "logs").iterdir())]
    assert not [text for text in texts if path.read_text() in text]


def check_external_lanes_know_nothing_internal(machine: Machine) -> None:
    for name in ("ingest-worker-external", "retriever-external", "llm-router-external"):
        environment = _read(machine.pid(name), "environ")
        assert "SLUICE_LANE=EXTERNAL" in environment
        assert "SLUICE_CHROMA_INTERNAL_URL" not in environment
        assert "SLUICE_INTERNAL_KEY_FILE" not in environment


def test_a_service_that_cannot_start_is_named_with_its_reason_and_all_is_stopped(machine: Machine) -> None:
    machine.environment["SLUICE_LOG_LEVEL"] = "LOUD"
    refused = machine.run("up")
    assert refused.returncode == 1
    assert "before it was ready" in refused.stderr
    assert "LOG_LEVEL" in refused.stdout
    assert machine.processes() == {}
