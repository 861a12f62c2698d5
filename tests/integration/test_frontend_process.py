"""The page as a process of its own: started from its settings, it writes JSON lines, and stops with a tab open."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import httpx2

from tests.support.page import Stage, Visitor
from tests.support.ports import free_port
from tests.support.serving import serving
from tests.support.waiting import until


def started(environment: dict[str, str], output: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "sluice_frontend"], env=environment, stdout=output, stderr=output)


async def test_the_page_stops_at_once_although_a_tab_is_open(tmp_path: Path) -> None:
    """A tab keeps a heartbeat open for as long as it lives; stopping must not wait for it."""
    gateway_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    stage = Stage(url, f"http://127.0.0.1:{gateway_port}", tmp_path)
    stage.new_gateway()
    settings = {"GATEWAY_URL": stage.gateway_url, "PAGE_PORT": str(port), "STATE_DIR": str(tmp_path)}
    environment = os.environ | {f"SLUICE_{name}": value for name, value in settings.items()}
    log = tmp_path / "log"
    with serving(stage, gateway_port), log.open("wb") as output:
        process = started(environment, output)
        try:
            await until(lambda: httpx2.get(f"{url}/readyz", trust_env=False).is_success, seconds=60, what="the page")
            visitor = Visitor(url)
            visitor.sign_in()
            with visitor.http.stream("GET", "/gradio_api/heartbeat/tab1") as tab:
                beats = tab.iter_text()
                next(beats)
                process.send_signal(signal.SIGTERM)
                begun = time.monotonic()
                process.wait(timeout=15)
                assert time.monotonic() - begun < 10
        finally:
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"time", "level", "service", "event"} <= set(lines[0])
    assert [line for line in lines if line["level"] == "ERROR"] == []
