"""Killing any one process leaves a system that works and has lost nothing that it accepted."""

import json
import os
import signal
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import People, System, Vendors
from tests.support import documents
from tests.support.waiting import wait_for

PROGRAMS = [
    "valkey",
    "chroma-external",
    "chroma-internal",
    "gateway",
    "ingest-worker-internal",
    "retriever-external",
    "retriever-internal",
    "llm-router-external",
    "llm-router-internal",
    "log-bridge",
    "frontend",
]
DOCUMENTS = 6


def kill(system: System, program: str) -> None:
    """kill -9, and the supervisor has started it again."""
    file = system.state / "run" / "pids" / f"{program}.json"
    pid = json.loads(file.read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: file.exists() and json.loads(file.read_text())["pid"] != pid, f"{program} again", seconds=60)
    wait_for(lambda: all_answer(system), "the gateway and the page", seconds=60)


def all_answer(system: System) -> bool:
    try:
        addresses = (f"{system.url}/readyz", f"{system.page}/readyz")
        return all(httpx2.get(url, trust_env=False).status_code == 200 for url in addresses)
    except httpx2.HTTPError:
        return False


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_was_accepted_before_a_process_is_killed_is_done_after_it(
    system: System, people: People, vendors: Vendors, tmp_path: Path, program: str
) -> None:
    """Documents are on their way when the process dies; all of them end in done, and both people get their answer."""
    vendors.fail_all()
    files = [
        documents.text(tmp_path / f"{n}.txt", f"The parking garage number {n} opens at {n + 5} in the morning.\n")
        for n in range(DOCUMENTS)
    ]
    parts = [("files", (file.name, file.read_bytes())) for file in files]
    accepted = people.internal.http.post(
        "/api/v1/knowledge/documents", files=[*parts, ("access_level", (None, "EXTERNAL"))]
    )
    assert accepted.status_code == 202
    kill(system, program)
    jobs = [people.internal.wait(job["job_id"], seconds=120) for job in accepted.json()["jobs"]]
    assert [(job["state"], job["error"]) for job in jobs] == [("done", None)] * DOCUMENTS
    for person in (people.internal, people.external):
        answer = wait_for(lambda person=person: person.ask("When does parking garage number 3 open?"), "an answer")
        assert "number 3 opens at 8" in answer.text
    listed = people.internal.http.get("/api/v1/knowledge/documents").json()["items"]
    assert sorted(item["title"] for item in listed) == sorted(file.name for file in files)
    assert all(item["chunk_count"] == 1 for item in listed)


@pytest.mark.timeout(300)
def test_a_second_start_finds_everything_again(
    system: System, people: People, vendors: Vendors, tmp_path: Path
) -> None:
    """Ctrl-C with work on the queue: it stops, leaves no process behind, and the next start finishes the work."""
    vendors.fail_all()
    file = documents.text(tmp_path / "hours.txt", "The lighthouse shop opens at nine and closes at five.\n")
    [job] = people.internal.upload(file, level="EXTERNAL")
    assert job["state"] == "done"
    more = people.internal.http.post(
        "/api/v1/knowledge/documents",
        files=[("files", ("late.txt", b"The lighthouse keeper is called Edda.")), ("access_level", (None, "EXTERNAL"))],
    )
    pids = [json.loads(f.read_text())["pid"] for f in (system.state / "run" / "pids").glob("*.json")]
    assert len(pids) >= len(PROGRAMS)
    system.stop()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    system.start()
    assert people.internal.wait(more.json()["jobs"][0]["job_id"])["state"] == "done"
    assert "opens at nine" in people.external.ask("When does the lighthouse shop open?").text
    assert "Edda" in people.external.ask("What is the lighthouse keeper called?").text
