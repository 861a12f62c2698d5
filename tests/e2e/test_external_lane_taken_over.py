"""Whoever takes over the EXTERNAL lane, with all that it has and a copy of the data folder, opens nothing INTERNAL.

Where it can, the lanes run under system users of their own, as `SLUICE_EXTERNAL_USER` sets them.
"""

import base64
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import redis

from sluice.access import Level
from sluice.cli.pidfiles import PidFiles
from sluice.messages import MESSAGES
from tests.conftest import needs
from tests.providers import RemoteScript
from tests.support import system as whole
from tests.support.intruder import Sealed, keys_of, opened, stored_in_chroma, unwrapped
from tests.support.system import System, people_of
from tests.support.waiting import wait_for

EXTERNAL_USER, INTERNAL_USER = "news", "backup"
"""Any two that a Debian has, and that nobody uses."""
CHECKOUT = Path(__file__).parents[2]
PLANTED = ("The vault of Kestrel opens at seven past nine.", "Kestrel pays its guards in amber.")
ENCODED = [base64.b64encode(sentence.encode())[4:-4] for sentence in PLANTED]
LANE = ("ingest-worker-external", "retriever-external", "llm-router-external")


def _apart() -> bool:
    """Whether this machine lets processes run as those users: as root, with a Python that others reach."""
    if os.geteuid() != 0 or not all(_exists(name) for name in (EXTERNAL_USER, INTERNAL_USER)):
        return False
    return _as_external([sys.executable, "-c", "import sluice, tests"]).returncode == 0


def _as_external(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(EXTERNAL_USER)
    try:
        return subprocess.run(
            command,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            **more,
        )
    except PermissionError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error))


def _as_ourselves(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, **more)


def _exists(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


APART = _apart()


@dataclass(frozen=True)
class Loot:
    """What the test knows of the system, and what the intruder came to."""

    system: System
    rows: list[Sealed]
    internal_keys: list[bytes]
    external_keys: list[bytes]
    copy: Path
    report: dict[str, Any]

    @property
    def pids(self) -> list[int]:
        return [orphan.pid for orphan in PidFiles(self.system.state / "run" / "pids").orphans() if orphan.name in LANE]


@pytest.fixture(scope="module")
def loot(vendor_process: RemoteScript) -> Iterator[Loot]:
    vendor_process.reset()
    folder = Path(mkdtemp(prefix="sluice-lanes-"))  # pytest's own is closed to other users
    folder.chmod(0o711)
    users = {"SLUICE_EXTERNAL_USER": EXTERNAL_USER, "SLUICE_INTERNAL_USER": INTERNAL_USER} if APART else {}
    system = System(whole.settings(folder, vendor_process.base_url) | users, folder)
    system.start()
    try:
        yield _taken(system)
    finally:
        system.stop()
        shutil.rmtree(folder)


def _taken(system: System) -> Loot:
    """A document a level, a question and a fix of each side; then the lane is taken over."""
    people = people_of(system)
    secret, known = system.folder / "kestrel.txt", system.folder / "hours.txt"
    secret.write_text(" ".join(PLANTED))
    known.write_text("The office opens at nine. Guests ring the bell.")
    assert [job["state"] for job in people.internal.upload(secret)] == ["done"]
    assert [job["state"] for job in people.internal.upload(known, level="EXTERNAL")] == ["done"]
    assert people.internal.ask("When does the vault of Kestrel open?").cited
    fix = {"question": "Who guards Kestrel?", "answer": PLANTED[1], "access_level": "INTERNAL"}
    taught = people.internal.http.post("/api/v1/knowledge/fixes", json=fix).json()
    path = f"/api/v1/knowledge/fixes/{taught['id']}"
    wait_for(lambda: people.internal.http.get(path).json()["state"] == "active", "the fix")
    assert not any("Kestrel" in source["text"] for source in people.external.ask("When does it open?").sources)

    copy = system.folder / "copy"
    shutil.copytree(system.state / "data", copy)
    for part, _, files in os.walk(copy):
        Path(part).chmod(0o755)
        for name in files:
            Path(part, name).chmod(0o644)
    keys = system.state / "keys"
    tenants = [folder.name for folder in (copy / "keys" / "internal").iterdir()]
    rows = [*_blobs(copy / "blobs"), *_cells(copy / "sluice.db", tenants), *_events(system, tenants)]
    found = [orphan for orphan in PidFiles(system.state / "run" / "pids").orphans() if orphan.name in LANE]
    everything = [system.state, *system.state.rglob("*")]
    given = {
        "pids": [orphan.pid for orphan in found],
        "files": [str(path) for path in everything if path.is_file()],
        "folders": [str(path) for path in everything if path.is_dir()],
        "copy": str(copy),
        "chroma": int(system.environment["SLUICE_CHROMA_INTERNAL_PORT"]),
        "streams": [f"{kind.stream}.internal" for kind in MESSAGES],
        "logs": _logs(system),
        "rows": [asdict(row) for row in rows],
    }
    run = _as_external if APART else _as_ourselves
    done = run([sys.executable, "-m", "tests.support.intruder"], input=json.dumps(given), timeout=120)
    assert done.returncode == 0, done.stderr
    return Loot(
        system,
        [*rows, *stored_in_chroma(given["chroma"])],
        keys_of(copy / "keys", [keys / "level-internal.key"], Level.INTERNAL),
        keys_of(copy / "keys", [keys / "level-external.key"], Level.EXTERNAL),
        copy,
        json.loads(done.stdout),
    )


def _blobs(folder: Path) -> list[Sealed]:
    files = [file for file in (folder / "internal").rglob("*") if file.is_file()]
    parts = [(file, file.relative_to(folder / "internal").parts) for file in files]
    return [Sealed(f"blob {file}", _encoded(file), tenant, "/".join(path)) for file, (tenant, *path) in parts]


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _cells(database: Path, tenants: list[str]) -> list[Sealed]:
    """Every text of every table that looks sealed, in the place where it stands, for each tenant."""
    found: list[Sealed] = []
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        tables = [row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # a name that SQLite gave
                columns = dict(row)
                places = {f"{table}/{columns.get('id')}/{name}": name for name in columns}
                found += [
                    Sealed(f"{table}.{name}", columns[name], tenant, place)
                    for place, name in places.items()
                    if _looks_sealed(columns[name])
                    for tenant in tenants
                ]
    return found


def _looks_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith("AQAAA") and len(value) > 40


def _logs(system: System) -> list[str]:
    """The reply logs of the INTERNAL lane."""
    with redis.Redis.from_url(system.redis_url, decode_responses=True) as connection:
        return [key for key in map(str, connection.scan_iter("reply:{internal:*")) if key.endswith("}")]


def _events(system: System, tenants: list[str]) -> list[Sealed]:
    found: list[Sealed] = []
    with redis.Redis.from_url(system.redis_url, decode_responses=True) as connection:
        for log in _logs(system):
            request_id = log.removeprefix("reply:{internal:").removesuffix("}")
            entries: Any = connection.xrange(log)
            for entry_id, entry in entries:
                place = f"reply/{request_id}/{entry_id.split('-')[0]}/{entry['event']}"
                found += [Sealed(f"event {log}", entry["data"], tenant, place) for tenant in tenants]
    return found


def test_nothing_internal_opens_with_what_the_lane_has(loot: Loot) -> None:
    """Neither a row nor a wrapped data key; what opens them is found by the same search where the key is there."""
    assert loot.report["opened"] == []
    assert loot.report["unwrapped"] == []
    assert loot.report["rows"] == len(loot.rows)
    found = opened(loot.rows, loot.internal_keys)
    kinds = {what.split(" ")[0] for what in found}
    assert kinds >= {"blob", "chroma", "event", "turns.question", "turns.answer", "fixes.answer"}
    assert unwrapped(loot.copy / "keys", Level.INTERNAL, loot.internal_keys)


def test_the_lane_holds_no_key_and_no_password_of_the_other(loot: Loot) -> None:
    """Its variables name none; no process of it has the bytes of one in its memory, but those of its own level."""
    assert not [name for name in loot.report["variables"] if "INTERNAL" in name]
    memory = [_memory(pid) for pid in loot.pids]
    assert len(memory) == len(LANE)
    assert not any(key in held for key in loot.internal_keys for held in memory)
    assert any(key in held for key in loot.external_keys for held in memory), "the search finds what is there"


def _memory(pid: int) -> bytes:
    """All that the process may write to."""
    held: list[bytes] = []
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(x, 16) for x in area.split("-"))
            memory.seek(start)
            try:
                held.append(memory.read(end - start))
            except OSError:  # a page of a device
                continue
    return b"".join(held)


def test_redis_lets_its_users_do_nothing_in_the_internal_lane(loot: Loot) -> None:
    assert loot.report["redis_users"] == len(LANE)
    assert loot.report["allowed"] == []


def test_no_internal_sentence_stands_in_any_file(loot: Loot) -> None:
    """case 45 in part: data, logs and keys, Chroma's, Valkey's and SQLite's files among them."""
    words = [*(sentence.encode() for sentence in PLANTED), *ENCODED]
    files = [file for file in loot.system.state.rglob("*") if file.is_file()]
    assert {"chroma-internal", "valkey", "blobs"} <= {part for file in files for part in file.parts}
    assert [file for file in files if any(word in file.read_bytes() for word in words)] == []
    planted = (loot.system.folder / "kestrel.txt").read_bytes()
    assert all(word in planted for word in words[: len(PLANTED)]), "the search finds what is there"


def test_the_folder_is_closed_to_the_external_user(loot: Loot) -> None:
    """Of the state folder it reads public keys, its level's key and rows, its passwords; it writes to its rows."""
    needs("root, the users news and backup, and a Python that other users reach", APART)
    state = loot.system.state
    assert loot.report["user"] == pwd.getpwnam(EXTERNAL_USER).pw_uid
    allowed = {
        *(state / "keys").glob("passport*.pub"),
        state / "keys" / "level-external.key",
        *(state / "keys" / "redis" / f"{name}.password" for name in LANE),
    }
    shared = [state / "data" / name for name in ("blobs/external", "keys/external", "chroma-external")]
    read = {Path(file) for file in loot.report["readable"]}
    assert {file for file in read if not any(folder in file.parents for folder in shared)} == allowed
    assert all(any(folder in (path, *path.parents) for folder in shared) for path in map(Path, loot.report["writable"]))
    assert loot.report["writable"]
