"""`sluice backup` and `sluice restore` as they are typed, on a state folder of one tenant."""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.adapters.sql_accounts import SqlAccounts
from gateway.database import Database
from sluice.access import Level
from sluice.blobs import BlobStore, deletions_held
from sluice.cli.keys import create_keys
from sluice.sealing import Keyring
from tests.support.former import Former
from tests.support.gateway import create_database
from tests.support.identity import Office, passport
from tests.support.waiting import wait_for

SLUICE = Path(sys.executable).with_name("sluice")
DONE = "internal/acme/documents/documents-1/2"
SCOPE = passport(tenant="acme", clearance=Level.INTERNAL).scope


@dataclass
class Place:
    """A state folder, and where somebody types beside it."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def blobs(self) -> BlobStore:
        files = {level: (self.state / "keys" / f"level-{level.lower()}.key",) for level in Level}
        keys = Keyring.from_files(files, self.state / "data" / "keys")
        keys.begin("acme")
        return BlobStore(self.state / "data" / "blobs", keys)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "SLUICE_STATE_DIR": str(self.state)}
        return subprocess.run(
            [SLUICE, *words],
            check=False,
            env=given | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def begun(self, *words: str) -> subprocess.Popen[bytes]:
        given = {"PATH": os.environ["PATH"], "SLUICE_STATE_DIR": str(self.state)}
        return subprocess.Popen([SLUICE, *words], env=given, cwd=self.folder)

    def backed_up(self) -> Path:
        made = self.run("backup", "kept", "--keys", "sluice.keys")
        assert made.returncode == 0, made.stderr
        return self.folder / "kept"

    def refused(self, *words: str, **environment: str) -> str:
        """What was said; and nothing was left behind."""
        before = sorted(self.folder.iterdir())
        ended = self.run(*words, **environment)
        assert ended.returncode == 1, ended.stdout
        assert sorted(self.folder.iterdir()) == before
        return ended.stderr

    def restore_refused(self, **environment: str) -> str:
        return self.refused("restore", "kept", "--into", "new", "--keys", "sluice.keys", **environment)


@pytest.fixture
async def place(tmp_path: Path, office: Office) -> Place:
    """With a document that is done and a fix, as the rows of `Former` say."""
    place = Place(tmp_path / "place")
    (place.state / "keys").mkdir(parents=True)
    create_keys(place.state / "keys")
    await Former(tmp_path, office).fill(f"sqlite+aiosqlite:///{place.state}/data/sluice.db", "head")
    for path in ("2/original", "2/chunks/00000", "2/complete"):
        await put(place, Level.INTERNAL, f"documents/documents-1/{path}")
    for level in Level:
        await put(place, level, "generations/documents-1/2")
    await put(place, Level.EXTERNAL, "fixes/fixes-1/taught")
    return place


async def put(place: Place, level: Level, path: str) -> None:
    await place.blobs.put(SCOPE, level, tuple(path.split("/")), path.encode())


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_what_was_kept_is_there_again_byte_by_byte(place: Place) -> None:
    kept = place.backed_up()
    restored = place.run("restore", "kept", "--into", "new", "--keys", "sluice.keys")
    assert restored.returncode == 0, restored.stderr
    for part in ("data/blobs", "data/keys", "keys"):
        assert files_of(place.folder / "new" / part) == files_of(place.state / part)
    assert (place.folder / "new" / "data" / "sluice.db").exists()
    for file in [*kept.rglob("*"), *(place.folder / "new").rglob("*")]:
        assert file.stat().st_mode & 0o077 == 0, file
    again = place.refused("backup", "kept")
    assert "is there already" in again


async def test_no_key_lies_in_a_backup(place: Place) -> None:
    """Who has the backup alone reads nothing that is sealed."""
    made = place.run("backup", "kept")
    assert "the keys in" in made.stdout
    assert "nothing that is sealed ever opens again" in made.stdout
    everything = b"".join(files_of(place.folder / "kept").values())
    for name in ("level-internal.key", "level-external.key", "passport.key", "page-cookie.key", "operator.token"):
        key = (place.state / "keys" / name).read_bytes()
        assert key not in everything
        assert base64.b64encode(key) not in everything


async def test_what_the_loss_of_a_key_means_is_said_where_keys_are_made(place: Place) -> None:
    (place.state / "keys" / "operator.token").unlink()
    said = place.run("keys").stdout
    assert "made operator.token" in said
    assert "without a level key nothing of its level ever opens again" in said
    assert "nothing of its level" not in place.run("keys").stdout


async def test_the_file_of_keys_is_its_owners_alone_and_never_beside_what_it_opens(place: Place) -> None:
    place.backed_up()
    assert (place.folder / "sluice.keys").stat().st_mode & 0o777 == 0o600
    assert "is there already" in place.refused("backup", "other", "--keys", "sluice.keys")
    assert "beside what they open" in place.refused("backup", "other", "--keys", "other/sluice.keys")


async def test_what_the_rows_do_not_know_does_not_come_back(place: Place) -> None:
    """case 45: what was deleted, or was EXTERNAL and is not any more, is not brought back by a restore."""
    await put(place, Level.EXTERNAL, "documents/documents-1/1/complete")
    await put(place, Level.INTERNAL, "documents/documents-1/3/complete")
    await put(place, Level.INTERNAL, "generations/documents-1/3")
    await put(place, Level.EXTERNAL, "documents/documents-9/1/complete")
    await put(place, Level.EXTERNAL, "fixes/fixes-9/taught")
    await put(place, Level.INTERNAL, "fixes/fixes-1/taught")
    kept = files_of(place.backed_up() / "blobs")
    assert sorted(kept) == [
        "external/acme/fixes/fixes-1/taught",
        "external/acme/generations/documents-1/2",
        f"{DONE}/chunks/00000",
        f"{DONE}/complete",
        f"{DONE}/original",
        "internal/acme/generations/documents-1/2",
    ]


async def test_what_the_system_had_lost_itself_is_named(place: Place) -> None:
    await place.blobs.delete(SCOPE, Level.INTERNAL, ("documents", "documents-1"))
    made = place.run("backup", "kept")
    assert made.returncode == 0
    assert f"lost in this system already: {DONE}" in made.stdout
    assert json.loads((place.folder / "kept" / "manifest.json").read_text())["lost"] == [DONE]


async def test_deletions_wait_while_a_backup_holds_and_all_else_goes_on(place: Place) -> None:
    root, path = place.state / "data" / "blobs", ("documents", "documents-1")
    blobs = place.blobs
    with deletions_held(root):
        deletion = asyncio.create_task(blobs.delete(SCOPE, Level.INTERNAL, path))
        await put(place, Level.INTERNAL, "documents/documents-2/1/original")
        assert await blobs.list(SCOPE, Level.INTERNAL, path) == ["2"]
        assert not deletion.done()
    await deletion
    assert await blobs.list(SCOPE, Level.INTERNAL, path) == []


def link(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("x")).name)


def change(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "harm", "found"),
    [
        (f"blobs/{DONE}/complete", change, "is not as it was written"),
        ("sql/tables/people.jsonl", change, "is not as it was written"),
        ("sql/tables/turns.jsonl", lambda file: os.truncate(file, 10), "has 10 bytes, not"),
        ("data-keys/internal/acme/1.json", Path.unlink, "is missing"),
        (f"blobs/{DONE}/original", link, "is a link"),
    ],
    ids=["a blob changed", "rows changed", "rows cut off", "a data key gone", "a blob moved"],
)
async def test_a_damaged_backup_is_refused_and_the_file_named(
    place: Place, name: str, harm: Callable[[Path], None], found: str
) -> None:
    """Nothing is restored from it."""
    harm(place.backed_up() / name)
    said = place.restore_refused()
    assert f"the backup is damaged: {name} {found}" in said


@pytest.mark.parametrize("name", ["files.jsonl", "manifest.json"])
async def test_a_damaged_list_of_files_is_refused(place: Place, name: str) -> None:
    file = place.backed_up() / name
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{name} is not as it was written" in place.restore_refused()


def forge(kept: Path, path: str) -> None:
    """A list that names another file, with a manifest that belongs to it."""
    line = json.dumps({"path": path, "size": 1, "sha256": hashlib.sha256(b"x").hexdigest()})
    (kept / "files.jsonl").write_text(line + "\n")
    manifest = json.loads((kept / "manifest.json").read_text())
    manifest["files_sha256"] = hashlib.sha256((line + "\n").encode()).hexdigest()
    (kept / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "path",
    ["blobs/../../evil", "/tmp/evil", "blobs//evil", "keys/passport.key", "blobs/external/acme/..", "sql/\u2215/evil"],
)
async def test_a_backup_writes_nothing_beside_the_folder(place: Place, path: str) -> None:
    """case 30: a forged list of files names no other place."""
    kept = place.backed_up()
    (place.folder / "evil").write_text("x")
    forge(kept, path)
    assert "names a file that no backup has" in place.restore_refused()
    assert (place.folder / "evil").read_text() == "x"


async def test_a_backup_of_a_newer_version_is_refused(place: Place) -> None:
    manifest = place.backed_up() / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(written | {"revision": "9999"}))
    assert "this version does not know" in place.restore_refused()
    manifest.write_text(json.dumps(written | {"format": 2}))
    assert "restore it with a newer version" in place.restore_refused()


async def test_without_the_right_level_key_nothing_is_restored(place: Place) -> None:
    kept = place.backed_up()
    key_ids = json.loads((kept / "manifest.json").read_text())["level_keys"]
    assert f"the EXTERNAL key ({key_ids['EXTERNAL'][0]})" in place.refused("restore", "kept", "--into", "new")
    keys = json.loads((place.folder / "sluice.keys").read_text())
    keys["keys"]["level-internal.key"] = base64.b64encode(os.urandom(32)).decode()
    (place.folder / "other.keys").write_text(json.dumps(keys))
    said = place.refused("restore", "kept", "--into", "new", "--keys", "other.keys")
    assert f"the INTERNAL key ({key_ids['INTERNAL'][0]})" in said
    (place.folder / "other.keys").write_text("{")
    assert "neither a file of" in place.refused("restore", "kept", "--into", "new", "--keys", "other.keys")


async def test_keys_come_from_a_copy_of_their_folder_too(place: Place) -> None:
    place.backed_up()
    restored = place.run("restore", "kept", "--into", "new", "--keys", str(place.state / "keys"))
    assert restored.returncode == 0, restored.stderr


async def test_a_folder_that_holds_anything_is_refused(place: Place) -> None:
    place.backed_up()
    (place.folder / "new").mkdir()
    (place.folder / "new" / "note").write_text("mine")
    assert "new is not empty (note)" in place.restore_refused()
    assert "is no backup" in place.refused("restore", "new", "--into", "other")


async def test_folders_that_are_there_already_are_filled_in_place_or_left_empty(place: Place) -> None:
    """As the volumes of containers are, with the keys among them."""
    kept = place.backed_up()
    for folder in ("blobs/external", "blobs/internal", "keys/external", "keys/internal"):
        (place.folder / "new" / "data" / folder).mkdir(parents=True)
    (place.state / "keys").rename(place.folder / "new" / "keys")
    change(kept / "blobs" / DONE / "original")
    place.refused("restore", "kept", "--into", "new")
    assert files_of(place.folder / "new" / "data") == {}
    change(kept / "blobs" / DONE / "original")
    restored = place.run("restore", "kept", "--into", "new")
    assert restored.returncode == 0, restored.stderr
    assert files_of(place.folder / "new" / "data" / "blobs") == files_of(place.state / "data" / "blobs")


async def test_rows_in_postgresql_are_kept_and_go_into_an_empty_database_alone(
    place: Place, postgres: str, tmp_path: Path, office: Office
) -> None:
    full, empty = [await create_database(postgres, f"sluice_{uuid4().hex}") for _ in range(2)]
    await Former(tmp_path, office).fill(full, "head")
    (place.state / "data" / "sluice.db").unlink()
    made = place.run("backup", "kept", "--keys", "sluice.keys", SLUICE_DATABASE_URL=full)
    assert made.returncode == 0, made.stderr
    assert "the database is not empty" in place.restore_refused(SLUICE_DATABASE_URL=full)
    words = ("restore", "kept", "--into", "new", "--keys", "sluice.keys")
    restored = place.run(*words, SLUICE_DATABASE_URL=empty)
    assert restored.returncode == 0, restored.stderr
    assert not (place.folder / "new" / "data" / "sluice.db").exists()
    database = Database(empty)
    assert await SqlAccounts(database).tenant("acme") is not None
    await database.close()


async def test_a_backup_that_was_killed_leaves_none(place: Place) -> None:
    """What stands under the name that was asked for is whole; what waited goes on."""
    root = place.state / "data" / "blobs"
    with deletions_held(root):
        process = place.begun("backup", "kept")
        wait_for(lambda: list(place.folder.glob(".kept.*.draft")), "a draft", seconds=60)
        process.kill()
        process.wait()
    assert not (place.folder / "kept").exists()
    await place.blobs.delete(SCOPE, Level.INTERNAL, ("documents", "documents-1"))
