"""A backup of a running system, restored into an empty folder and asked there."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import People, System, Vendors
from tests.support import documents
from tests.support import system as running
from tests.support.api import Person
from tests.support.system import PASSWORD
from tests.support.waiting import wait_for

FIX = {"question": "Who tends the beacon?", "answer": "The beacon is tended by Runa.", "access_level": "EXTERNAL"}
CHURNED = 4


def run(system: System, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        system.sluice(*words), check=False, env=system.environment, cwd=system.folder, capture_output=True, text=True
    )


@contextmanager
def churning(person: Person, folder: Path) -> Iterator[None]:
    """Somebody uploads, replaces and deletes without a pause."""
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            file = documents.text(folder / f"churn-{number % CHURNED}.txt", f"The tide of turn {number} is high.\n")
            [job] = person.upload(file, level="EXTERNAL")
            if number % 2:
                person.http.delete(f"/api/v1/knowledge/documents/{job['document_id']}")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def listed(person: Person) -> list[Any]:
    return person.http.get("/api/v1/knowledge/documents", params={"limit": 100}).json()["items"]


@pytest.mark.timeout(600)
def test_what_was_backed_up_while_everything_ran_is_answered_from_an_empty_folder(
    system: System, people: People, vendors: Vendors, tmp_path: Path
) -> None:
    """The restored system answers as the one before did, and EXTERNAL people are still shown nothing INTERNAL."""
    vendors.fail_all()
    public = documents.text(tmp_path / "harbour.txt", "The harbour master of Skagen answers at extension 4711.\n")
    secret = documents.text(tmp_path / "vault.txt", "The vault of Skagen opens with the word quillfeather.\n")
    moved = documents.text(tmp_path / "moved.txt", "The cellar of Skagen holds nine barrels of amber.\n")
    people.internal.upload(public, level="EXTERNAL")
    people.internal.upload(secret)
    [job] = people.internal.upload(moved, level="EXTERNAL")
    people.internal.http.patch(f"/api/v1/knowledge/documents/{job['document_id']}", json={"access_level": "INTERNAL"})
    fix = people.internal.http.post("/api/v1/knowledge/fixes", json=FIX).json()
    taught = f"/api/v1/knowledge/fixes/{fix['id']}"
    wait_for(lambda: people.internal.http.get(taught).json()["state"] == "active", "the fix", seconds=60)
    tenant = people.internal.http.get("/api/v1/me").json()["tenant"]
    backup, keys = tmp_path / "backup", tmp_path / "sluice.keys"
    with churning(people.internal, tmp_path):
        made = run(system, "backup", str(backup), "--keys", str(keys))
    assert made.returncode == 0, made.stdout + made.stderr
    assert json.loads((backup / "manifest.json").read_text())["lost"] == []
    assert keys.stat().st_mode & 0o777 == 0o600

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    other = System(running.settings(folder, vendors.script.base_url), folder)
    restored = run(other, "restore", str(backup), "--into", str(other.state), "--keys", str(keys))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert people.internal.http.get("/api/v1/me").status_code == 200
    other.start()
    try:
        ask_there(other, people, tenant)
    finally:
        other.stop()


def ask_there(system: System, before: People, tenant: Any) -> None:
    slug = tenant if isinstance(tenant, str) else tenant["slug"]
    asha = Person.sign_in(system.url, "asha@razorpay.com", PASSWORD, tenant=slug)
    carl = Person.sign_in(system.url, "carl@example.com", PASSWORD, tenant=slug)
    old = {"Authorization": before.internal.http.headers["Authorization"]}
    assert asha.http.get("/api/v1/me", headers=old).status_code == 401  # a session is not restored
    wait_for(lambda: "extension 4711" in carl.ask("Who answers at the harbour of Skagen?").text, "it", seconds=120)
    wait_for(lambda: "quillfeather" in asha.ask("What word opens the vault of Skagen?").text, "it", seconds=120)
    wait_for(lambda: "Runa" in carl.ask(FIX["question"]).text, "the fix", seconds=120)
    for question in ("What word opens the vault of Skagen?", "What does the cellar of Skagen hold?"):
        assert not {"quillfeather", "amber"} & set(carl.ask(question).text.replace(".", "").split())
    wait_for(lambda: all(item["state"] == "done" for item in listed(asha)), "what was under way", seconds=180)
    wait_for(lambda: whole(system, slug), "an index of what the blob store has", seconds=120)
    assert {item["chunk_count"] for item in listed(asha)} == {1}
    verified = run(system, "audit", "verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def whole(system: System, tenant: str) -> bool:
    return run(system, "index", "verify", "--tenant", tenant).returncode == 0
