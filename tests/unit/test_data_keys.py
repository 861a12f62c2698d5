"""Data keys: made once, rotated, and wrapped anew."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from sluice.access import Level
from sluice.errors import AccessDeniedError, DataKeyUnavailableError, PermanentError, SealBrokenError
from sluice.sealing import DataKeys, KeyFile, Keyring
from tests.support.keys import KEYS, EveryTenant, keyring

INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL
OLD, NEW = KeyFile(os.urandom(32)), KeyFile(os.urandom(32))
ROW: dict[str, Any] = {"tenant": "tenant-a", "level": INTERNAL, "row_id": "row"}

places = st.tuples(st.sampled_from(["tenant-a", "tenant-b", "tenant"]), st.sampled_from(Level), st.text(max_size=20))


def keys_of(folder: Path, *wrappers: KeyFile) -> DataKeys:
    return DataKeys({INTERNAL: wrappers}, folder)


def rewrap_all(keys: DataKeys) -> None:
    for info in list(keys.all()):
        keys.rewrap(info)


def holders(folder: Path) -> list[tuple[str, ...]]:
    return [info.key_ids for info in DataKeys({}, folder).all()]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=200), here=places, there=places, flipped=st.integers(min_value=0), bit=st.integers(0, 7))
def test_what_was_sealed_opens_at_its_own_place_alone_and_only_unchanged(
    tmp_path: Path, text: bytes, here: tuple[str, Level, str], there: tuple[str, Level, str], flipped: int, bit: int
) -> None:
    assume(here != there)
    keys = keyring(tmp_path)
    tenant, level, row_id = here
    sealed = keys.seal(text, tenant=tenant, level=level, row_id=row_id)
    keys.seal(b"", tenant=there[0], level=there[1], row_id=there[2])  # its data key is there
    assert keyring(tmp_path).open(sealed, tenant=tenant, level=level, row_id=row_id) == text
    with pytest.raises(SealBrokenError):
        keys.open(sealed, tenant=there[0], level=there[1], row_id=there[2])
    changed = bytearray(sealed)
    changed[flipped % len(sealed)] ^= 1 << bit  # also the version and the number of the key
    with pytest.raises((SealBrokenError, DataKeyUnavailableError)):
        keys.open(bytes(changed), tenant=tenant, level=level, row_id=row_id)


def test_a_row_says_which_key_sealed_it_and_opens_with_no_other(tmp_path: Path) -> None:
    keys, row = DataKeys({INTERNAL: [OLD]}, tmp_path), EveryTenant({INTERNAL: [OLD]}, tmp_path)
    before = row.seal(b"text", **ROW)
    assert keys.rotate("tenant-a", INTERNAL) == 2
    after = row.seal(b"text", **ROW)  # the process that was running heeds it at once
    assert [int.from_bytes(sealed[1:5], "big") for sealed in (before, after)] == [1, 2]
    assert row.open(before, **ROW) == row.open(after, **ROW) == b"text"
    for sealed, other in ((before, 2), (after, 1)):
        with pytest.raises(SealBrokenError):
            row.open(sealed[:1] + other.to_bytes(4, "big") + sealed[5:], **ROW)


def test_processes_that_make_a_key_at_the_same_moment_make_the_same(tmp_path: Path) -> None:
    rings = [EveryTenant({INTERNAL: [OLD]}, tmp_path) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        sealed = list(pool.map(lambda ring: ring.seal(b"text", **ROW), rings))
    assert {ring.open(row, **ROW) for ring in rings for row in sealed} == {b"text"}
    assert [file.name for file in (tmp_path / "internal" / "tenant-a").iterdir()] == ["1.json"]


def test_a_wrapped_key_tells_nothing_and_opens_at_no_other_place(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, OLD)
    keys.begin("tenant-a")
    key, file = keys.key("tenant-a", INTERNAL, "1"), tmp_path / "internal" / "tenant-a" / "1.json"
    assert key not in file.read_bytes()
    for place in (("internal", "tenant-b", "1"), ("internal", "tenant-a", "2"), ("external", "tenant-a", "1")):
        target = tmp_path.joinpath(*place).with_suffix(".json")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
        with pytest.raises(DataKeyUnavailableError):
            DataKeys({level: [OLD] for level in Level}, tmp_path).key(place[1], Level(place[0].upper()), place[2])


def test_a_process_without_the_key_of_a_level_opens_and_makes_nothing_of_it(tmp_path: Path) -> None:
    """It has the whole data folder; a key of its own does not help either."""
    sealed = keyring(tmp_path).seal(b"text", **ROW)
    with pytest.raises(AccessDeniedError, match="no INTERNAL key"):
        keyring(tmp_path, {EXTERNAL: KEYS[EXTERNAL]}).open(sealed, **ROW)
    with pytest.raises(AccessDeniedError, match="no INTERNAL key"):
        keyring(tmp_path, {EXTERNAL: KEYS[EXTERNAL]}).seal(b"text", **ROW)
    with pytest.raises(DataKeyUnavailableError, match="another INTERNAL key"):
        keyring(tmp_path, {INTERNAL: KEYS[EXTERNAL]}).open(sealed, **ROW)


def test_while_the_level_key_is_changed_the_old_and_the_new_one_open_what_is_made(tmp_path: Path) -> None:
    sealed = EveryTenant({INTERNAL: [OLD]}, tmp_path).seal(b"before", **ROW)
    both = EveryTenant({INTERNAL: [OLD, NEW]}, tmp_path)
    meanwhile = both.seal(b"meanwhile", **{**ROW, "tenant": "tenant-b"})
    for one in (OLD, NEW):
        ring = EveryTenant({INTERNAL: [one]}, tmp_path)
        assert ring.open(meanwhile, **{**ROW, "tenant": "tenant-b"}) == b"meanwhile"
    rewrap_all(keys_of(tmp_path, NEW, OLD))
    assert set(holders(tmp_path)) == {(NEW.key_id,)}
    for ring in (both, EveryTenant({INTERNAL: [NEW, OLD]}, tmp_path), EveryTenant({INTERNAL: [NEW]}, tmp_path)):
        assert ring.open(sealed, **ROW) == b"before"
    with pytest.raises(DataKeyUnavailableError, match="another INTERNAL key"):
        EveryTenant({INTERNAL: [OLD]}, tmp_path).open(sealed, **ROW)


def test_while_processes_take_up_another_level_key_in_turn_each_opens_what_each_one_sealed(tmp_path: Path) -> None:
    """The steps of docs/operations.md, with two processes that are never stopped together."""
    running, tenants = [EveryTenant({INTERNAL: [OLD]}, tmp_path) for _ in range(2)], count()
    all_sealed: list[tuple[bytes, dict[str, Any]]] = []

    def check() -> None:
        for ring in running:
            for tenant in ("tenant-a", f"tenant-{next(tenants)}"):  # an old data key, and one that it makes now
                place = {**ROW, "tenant": tenant}
                all_sealed.append((ring.seal(b"text", **place), place))
        fresh = [EveryTenant(ring, tmp_path) for ring in held]  # knows nothing from before
        assert {ring.open(sealed, **place) for ring in fresh for sealed, place in all_sealed} == {b"text"}

    held: list[dict[Level, list[KeyFile]]] = [{INTERNAL: [OLD]}, {INTERNAL: [OLD]}]
    check()
    for step in ([OLD, NEW], [NEW]):
        for process in range(2):
            held[process] = {INTERNAL: step}
            running[process] = EveryTenant(held[process], tmp_path)
            check()
        rewrap_all(keys_of(tmp_path, NEW, OLD))
        check()
    assert set(holders(tmp_path)) == {(NEW.key_id,)}


CUT_OFF = """
import os, sys
from itertools import count
from pathlib import Path
from typing import Any
from sluice.access import Level
from sluice.sealing import DataKeys, KeyFile, Keyring
folder, new, old, before = Path(sys.argv[1]), *(bytes.fromhex(key) for key in sys.argv[2:4]), int(sys.argv[4])
calls = 0
def counted(call):
    def instead(*arguments, **options):
        global calls
        calls += 1
        if calls > before:
            os.kill(os.getpid(), 9)
        return call(*arguments, **options)
    return instead
for name in ("open", "fsync", "rename", "replace", "unlink", "link"):
    setattr(os, name, counted(getattr(os, name)))
keys = DataKeys({Level.INTERNAL: [KeyFile(new), KeyFile(old)]}, folder)
for info in list(keys.all()):
    keys.rewrap(info)
"""


def test_re_wrapping_that_is_cut_off_anywhere_leaves_every_key_whole(tmp_path: Path) -> None:
    """Killed before each of its system calls in turn: the old or the new key opens the data key, and it goes on."""
    new, old = os.urandom(32), os.urandom(32)
    both = DataKeys({INTERNAL: [KeyFile(new), KeyFile(old)]}, tmp_path)
    made = DataKeys({INTERNAL: [KeyFile(old)]}, tmp_path)
    made.begin("tenant-a")
    key = made.key("tenant-a", INTERNAL, "1")
    killed, before = True, 0
    while killed:
        arguments = [str(tmp_path), new.hex(), old.hex(), str(before)]
        killed = subprocess.run([sys.executable, "-c", CUT_OFF, *arguments], check=False).returncode == -9
        before += 1
        whole = DataKeys({INTERNAL: [KeyFile(new), KeyFile(old)]}, tmp_path)
        assert whole.key("tenant-a", INTERNAL, "1") == key
    assert before > 4
    rewrap_all(both)
    assert set(holders(tmp_path)) == {(KeyFile(new).key_id,)}


@pytest.mark.parametrize("tenant", ["..", "a/b", "", ".", "a\0b"])
def test_a_tenants_name_that_is_no_plain_name_makes_no_file(tmp_path: Path, tenant: str) -> None:
    """case 30: names with `..`, absolute or UNC reach no file."""
    with pytest.raises(PermanentError):
        keyring(tmp_path).seal(b"text", **{**ROW, "tenant": tenant})
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"wrapped": {"x": 1}}', b'{"wrapped": {}}'])
def test_a_damaged_key_file_is_told_and_never_made_anew(tmp_path: Path, content: bytes) -> None:
    keyring(tmp_path).seal(b"text", **ROW)
    [file] = tmp_path.rglob("internal/*/1.json")
    file.write_bytes(content)
    with pytest.raises(DataKeyUnavailableError):
        keyring(tmp_path).seal(b"text", **ROW)
    assert file.read_bytes() == content


def test_each_seal_counts_for_its_level(tmp_path: Path) -> None:
    before = {level: REGISTRY.get_sample_value("sluice_seals_total", {"level": level}) or 0 for level in Level}
    for _ in range(3):
        keyring(tmp_path).seal(b"text", **ROW)
    after = {level: REGISTRY.get_sample_value("sluice_seals_total", {"level": level}) for level in Level}
    assert after == {INTERNAL: before[INTERNAL] + 3, EXTERNAL: before[EXTERNAL]}


def test_keys_that_are_away_are_never_made_anew_and_open_everything_when_they_are_back(tmp_path: Path) -> None:
    sealed = keyring(tmp_path).seal(b"text", **ROW)
    (tmp_path / "data-keys").rename(tmp_path / "elsewhere")
    process = Keyring({level: [KeyFile(key)] for level, key in KEYS.items()}, tmp_path / "data-keys")
    away = REGISTRY.get_sample_value("sluice_data_keys_away_total", {"level": "INTERNAL"}) or 0
    for use in (
        lambda: process.seal(b"text", **ROW),
        lambda: process.open(sealed, **ROW),
        lambda: process.secret("vectors", tenant="tenant-a", level=INTERNAL, make=True),
    ):
        with pytest.raises(DataKeyUnavailableError):
            use()
    assert REGISTRY.get_sample_value("sluice_data_keys_away_total", {"level": "INTERNAL"}) == away + 3
    assert not (tmp_path / "data-keys").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "data-keys")
    assert process.open(sealed, **ROW) == b"text"


def test_a_key_file_that_may_not_be_read_is_told_as_one_that_is_away(tmp_path: Path) -> None:
    sealed = keyring(tmp_path).seal(b"text", **ROW)
    [file] = tmp_path.rglob("internal/*/1.json")
    file.unlink()
    file.mkdir()  # also root cannot read this
    with pytest.raises(DataKeyUnavailableError, match="cannot be read"):
        keyring(tmp_path).open(sealed, **ROW)
