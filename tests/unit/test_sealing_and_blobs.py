"""Sealed rows and the blob store."""

from pathlib import Path

import pytest

from sluice.access import Level
from sluice.blobs import BlobMissingError, BlobStore
from sluice.errors import AccessDeniedError, ConfigurationError, PermanentError, SealBrokenError, TransientError
from sluice.sealing import read_key
from tests.support.identity import passport
from tests.support.keys import KEYS, keyring

PATH = ("documents", "d1", "1", "original")
INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL


def files_below(folder: Path) -> list[Path]:
    """But for the keys."""
    return [file for file in folder.rglob("*") if file.is_file() and "data-keys" not in file.parts]


def test_a_row_opens_at_its_own_tenant_level_and_id_alone(tmp_path: Path) -> None:
    keys = keyring(tmp_path)
    sealed = keys.seal(b"text", tenant="a", level=INTERNAL, row_id="1")
    keys.begin("b")
    assert keys.open(sealed, tenant="a", level=INTERNAL, row_id="1") == b"text"
    for place in (("b", INTERNAL, "1"), ("a", EXTERNAL, "1"), ("a", INTERNAL, "2")):
        with pytest.raises(SealBrokenError):
            keys.open(sealed, tenant=place[0], level=place[1], row_id=place[2])
    for changed in (sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b""):
        with pytest.raises(SealBrokenError):
            keys.open(changed, tenant="a", level=INTERNAL, row_id="1")


def test_the_same_text_is_sealed_differently_each_time(tmp_path: Path) -> None:
    keys = keyring(tmp_path)
    assert len({keys.seal(b"text", tenant="a", level=INTERNAL, row_id="1") for _ in range(100)}) == 100


def test_without_the_key_of_a_level_nothing_of_it_opens(tmp_path: Path) -> None:
    sealed = keyring(tmp_path).seal(b"text", tenant="a", level=INTERNAL, row_id="1")
    with pytest.raises(AccessDeniedError, match="no INTERNAL key"):
        keyring(tmp_path, {EXTERNAL: KEYS[EXTERNAL]}).open(sealed, tenant="a", level=INTERNAL, row_id="1")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_file_of_another_length_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{len(content)} bytes, not 32"):
        read_key(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path / "none")


async def test_a_blob_is_sealed_on_disk_and_comes_back_whole(tmp_path: Path) -> None:
    blobs, scope = BlobStore(tmp_path / "root", keyring(tmp_path)), passport(clearance=INTERNAL).scope
    await blobs.put(scope, INTERNAL, PATH, b"The vault code is guillemot")
    assert await blobs.get(scope, INTERNAL, PATH) == b"The vault code is guillemot"
    [file] = files_below(tmp_path)
    assert b"guillemot" not in file.read_bytes()
    assert await blobs.list(scope, INTERNAL, PATH[:3]) == ["original"]


async def test_a_blob_moved_to_another_tenant_or_level_does_not_open(tmp_path: Path) -> None:
    keys = keyring(tmp_path)
    keys.begin("b")
    blobs = BlobStore(tmp_path / "root", keys)
    await blobs.put(passport(tenant="a", clearance=INTERNAL).scope, INTERNAL, PATH, b"secret")
    [file] = files_below(tmp_path)
    for tenant, level in (("b", INTERNAL), ("a", EXTERNAL)):
        target = tmp_path.joinpath("root", level.lower(), tenant, *PATH)
        target.parent.mkdir(parents=True)
        target.write_bytes(file.read_bytes())
        with pytest.raises(SealBrokenError):
            await blobs.get(passport(tenant=tenant, clearance=level).scope, level, PATH)


async def test_an_external_scope_reads_writes_lists_and_deletes_nothing_internal(tmp_path: Path) -> None:
    blobs, scope = BlobStore(tmp_path / "root", keyring(tmp_path)), passport(clearance=EXTERNAL).scope
    await blobs.put(passport(clearance=INTERNAL).scope, INTERNAL, PATH, b"secret")
    for attempt in (
        blobs.get(scope, INTERNAL, PATH),
        blobs.put(scope, INTERNAL, PATH, b""),
        blobs.list(scope, INTERNAL, PATH[:1]),
        blobs.delete(scope, INTERNAL, PATH[:1]),
    ):
        with pytest.raises(AccessDeniedError):
            await attempt
    assert await blobs.get(passport(clearance=INTERNAL).scope, INTERNAL, PATH) == b"secret"


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "/etc", "a\0b", "..\\x", "é", "x" * 200])
async def test_a_path_is_made_of_plain_names_alone(tmp_path: Path, part: str) -> None:
    """case 30: names with `..`, absolute or UNC reach no file."""
    blobs, scope = BlobStore(tmp_path / "root", keyring(tmp_path)), passport().scope
    with pytest.raises(PermanentError):
        await blobs.put(scope, EXTERNAL, ("documents", part), b"x")
    assert files_below(tmp_path) == []


async def test_deleting_a_folder_removes_all_below_and_a_missing_blob_says_so(tmp_path: Path) -> None:
    blobs, scope = BlobStore(tmp_path / "root", keyring(tmp_path)), passport().scope
    await blobs.put(scope, EXTERNAL, PATH, b"x")
    await blobs.delete(scope, EXTERNAL, PATH[:2])
    await blobs.delete(scope, EXTERNAL, PATH[:2])
    with pytest.raises(BlobMissingError):
        await blobs.get(scope, EXTERNAL, PATH)


async def test_a_folder_that_is_still_there_after_its_deletion_is_not_told_as_deleted(tmp_path: Path) -> None:
    """A link in its place is what no user may remove as a folder, not even root."""
    blobs, scope = BlobStore(tmp_path / "root", keyring(tmp_path)), passport().scope
    await blobs.put(scope, EXTERNAL, PATH, b"x")
    place = tmp_path.joinpath("root", "external", scope.tenant, *PATH[:2])
    elsewhere = place.rename(tmp_path / "elsewhere")
    place.symlink_to(elsewhere)
    with pytest.raises(TransientError, match="could not be deleted"):
        await blobs.delete(scope, EXTERNAL, PATH[:2])
    assert await blobs.get(scope, EXTERNAL, PATH) == b"x"
