"""The supervisor over real child processes: started, restarted, drained, never left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for

SYSTEM = Path(__file__).parents[1] / "support" / "cli_system.py"


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class System:
    """A supervisor with stand-in programs in a process of its own, and what it said so far."""

    def __init__(self, state: Path, *programs: dict[str, object]) -> None:
        self.state = state
        self.ports = {str(entry["name"]): int(str(entry["port"])) for entry in programs}
        self.process = subprocess.Popen(
            [sys.executable, str(SYSTEM), str(state), json.dumps(programs)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    @property
    def notes(self) -> list[str]:
        path = self.state / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, name: str) -> list[int]:
        return [int(note.split()[2]) for note in self.notes if note.startswith(f"started {name} ")]

    def hear(self, words: str) -> None:
        wait_for(lambda: words in self.said, f"{words!r} in:\n{self.said}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        code = self.process.wait(timeout=30)
        self._reader.join(timeout=10)
        return code


def entry(name: str, wave: str = "WORKERS", *habits: str) -> dict[str, object]:
    return {"name": name, "wave": wave, "port": free_port(), "habits": list(habits)}


Start = Callable[..., System]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    systems: list[System] = []

    def start_system(*programs: dict[str, object], state: Path = tmp_path / "state") -> System:
        systems.append(System(state, *programs))
        return systems[-1]

    yield start_system
    for system in systems:
        system.process.kill()
        system.end()
        for note in system.notes:
            with suppress(ProcessLookupError):
                if runs(int(note.split()[2])):
                    os.killpg(int(note.split()[2]), signal.SIGKILL)


def test_stores_start_first_and_stop_last(start: Start) -> None:
    """Ctrl-C drains from the page down: nobody loses what they work with before they are done."""
    system = start(entry("page", "PAGE"), entry("gateway", "GATEWAY"), entry("worker"), entry("store", "STORES"))
    system.hear("welcome")
    assert system.notes[0].startswith("started store")
    system.send(signal.SIGINT)
    assert system.end() == 0
    stopped = [note.split()[1] for note in system.notes if note.startswith("stopped")]
    assert stopped == ["page", "gateway", "worker", "store"]


def test_a_ctrl_c_at_the_terminal_reaches_the_supervisor_alone(tmp_path: Path) -> None:
    """The terminal signals its whole foreground group; the programs must not be in it."""
    state = tmp_path / "state"
    spec = json.dumps([entry("worker")])
    supervisor = subprocess.Popen(
        [sys.executable, str(SYSTEM), str(state), spec], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert supervisor.stdout is not None
    assert any("welcome" in line for line in supervisor.stdout)
    os.killpg(supervisor.pid, signal.SIGINT)
    supervisor.communicate(timeout=30)
    notes = (state / "notes").read_text()
    assert "interrupted" not in notes
    assert "stopped worker" in notes


def test_stopping_leaves_no_process_behind_not_even_a_child_of_a_program(start: Start) -> None:
    system = start(entry("worker", "WORKERS", "child"), entry("store", "STORES"))
    system.hear("welcome")
    child = next(int(note.split()[0].partition("=")[2]) for note in system.notes if note.startswith("child="))
    assert runs(child)
    system.send(signal.SIGTERM)
    assert system.end() == 0
    assert not any(runs(pid) for pid in [*system.pids("worker"), *system.pids("store"), child])
    assert not list((system.state / "run" / "pids").iterdir())


def test_a_crashed_program_is_started_again_and_said_so(start: Start) -> None:
    system = start(entry("worker"))
    system.hear("welcome")
    os.kill(system.pids("worker")[0], signal.SIGKILL)
    system.hear("worker was killed by SIGKILL; starting it again in 0.5 s")
    system.hear("worker is ready again")
    assert len(system.pids("worker")) == 2


def test_a_crash_is_noticed_though_a_child_still_holds_the_output(start: Start) -> None:
    """The child is ended with it: nothing half alive works beside the new one."""
    system = start(entry("worker", "WORKERS", "child"))
    system.hear("welcome")
    child = next(int(note.split()[0].partition("=")[2]) for note in system.notes if note.startswith("child="))
    os.kill(system.pids("worker")[0], signal.SIGKILL)
    system.hear("worker is ready again")
    assert not runs(child)


def test_a_program_that_exits_with_0_unasked_is_started_again(start: Start) -> None:
    system = start(entry("worker"))
    system.hear("welcome")
    with suppress(urllib.error.URLError, ConnectionError):
        urllib.request.urlopen(f"http://127.0.0.1:{system.ports['worker']}/exit")
    system.hear("worker ended by itself (exit status 0); starting it again")
    system.hear("worker is ready again")


def test_a_second_ctrl_c_kills(start: Start) -> None:
    system = start(entry("worker", "WORKERS", "stubborn"))
    system.hear("welcome")
    began = time.monotonic()
    system.send(signal.SIGINT)
    wait_for(lambda: any(note.startswith("stopped") for note in system.notes), "asked to stop")
    system.send(signal.SIGINT)
    assert system.end() == 0
    assert time.monotonic() - began < 1.5, "the grace of 2 s was waited for"
    assert not runs(system.pids("worker")[0])


def test_a_program_that_does_not_stop_in_its_grace_is_killed_and_said_so(start: Start) -> None:
    system = start(entry("worker", "WORKERS", "stubborn"))
    system.hear("welcome")
    system.send(signal.SIGINT)
    assert system.end() == 0
    assert "worker did not stop within 2 s and was killed" in system.said
    assert not runs(system.pids("worker")[0])


def test_after_kill_9_of_the_supervisor_the_next_start_ends_what_it_left(start: Start) -> None:
    programs = (entry("worker"), entry("store", "STORES"))
    first = start(*programs)
    first.hear("welcome")
    first.process.kill()
    first.end()
    orphans = [*first.pids("worker"), *first.pids("store")]
    assert all(runs(pid) for pid in orphans)

    second = start(*programs)
    second.hear("welcome")
    assert f"ending worker (pid {orphans[0]}), left behind" in second.said
    assert second.said.index("ending worker") < second.said.index("ending store")
    assert not any(runs(pid) for pid in orphans)


def test_a_recycled_pid_is_never_killed(start: Start, tmp_path: Path) -> None:
    """The pid of the pid file is a stranger's by now, which its start time tells."""
    pids = tmp_path / "state" / "run" / "pids"
    pids.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as stranger:
        (pids / "worker.json").write_text(json.dumps({"pid": stranger.pid, "started": "another-boot:1"}))
        system = start(entry("worker"))
        system.hear("welcome")
        assert "ending" not in system.said
        assert stranger.poll() is None


def test_a_port_in_use_is_told_with_its_owner_and_the_setting(start: Start) -> None:
    with closing(socket.socket()) as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        system = start(entry("gateway", "GATEWAY") | {"port": port}, entry("store", "STORES"))
        assert system.end() == 1
    assert f"port {port} is in use (by pid {os.getpid()} " in system.said
    assert "set SLUICE_GATEWAY_PORT=..." in system.said
    assert not system.notes, "something was started"


def test_a_second_start_on_the_same_state_folder_says_that_it_runs(start: Start) -> None:
    first = start(entry("worker"))
    first.hear("welcome")
    second = start(entry("other"))
    assert second.end() == 1
    assert f"already runs on {first.state} (pid {first.process.pid})" in second.said
    assert runs(first.pids("worker")[0])


def test_a_program_that_crashes_at_its_start_ends_the_start_with_its_last_words(start: Start) -> None:
    system = start(entry("worker", "WORKERS", "crash"), entry("store", "STORES"))
    assert system.end() == 1
    assert "the reason of the crash" in system.said
    assert "worker ended by itself (exit status 3) before it was ready" in system.said
    assert not runs(system.pids("store")[0])


def test_a_program_that_never_gets_ready_is_named(start: Start) -> None:
    system = start(entry("worker", "WORKERS", "never-ready"))
    assert system.end() == 1
    assert "worker was not ready within 3 s" in system.said
    assert not runs(system.pids("worker")[0])


def test_stopping_in_the_middle_of_the_start_leaves_nothing(start: Start) -> None:
    system = start(entry("store", "STORES"), entry("worker", "WORKERS", "never-ready"))
    wait_for(lambda: bool(system.pids("worker")), "the worker is starting")
    system.send(signal.SIGTERM)
    assert system.end() == 0
    assert not any(runs(pid) for pid in [*system.pids("worker"), *system.pids("store")])


def down(state: Path) -> str:
    environment = {**os.environ, "SLUICE_STATE_DIR": str(state)}
    command = [Path(sys.executable).with_name("sluice"), "down"]
    return subprocess.run(command, check=True, env=environment, cwd=state, capture_output=True, text=True).stdout


def test_down_drains_and_stops_the_running_system(start: Start) -> None:
    system = start(entry("worker"), entry("store", "STORES"))
    system.hear("welcome")
    assert "stopped" in down(system.state)
    assert system.end() == 0
    assert not any(runs(pid) for pid in [*system.pids("worker"), *system.pids("store")])
    assert "Sluice does not run here" in down(system.state)


def test_down_ends_what_a_killed_supervisor_left_behind(start: Start) -> None:
    system = start(entry("worker"))
    system.hear("welcome")
    system.process.kill()
    system.end()
    assert "left behind" in down(system.state)
    assert not runs(system.pids("worker")[0])


def test_lines_are_shown_with_a_name_and_kept_as_json(start: Start) -> None:
    system = start(entry("worker"))
    system.hear("service.started")
    system.hear("plain output")
    path = system.state / "logs" / "worker.jsonl"
    wait_for(lambda: len(path.read_text().splitlines()) == 2, "two lines in the file")
    structured, plain = map(json.loads, path.read_text().splitlines())
    assert structured["event"] == "service.started"
    assert {key: plain[key] for key in ("level", "service", "event", "message")} == {
        "level": "INFO",
        "service": "worker",
        "event": "output",
        "message": "plain output",
    }
