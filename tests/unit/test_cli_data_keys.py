"""`sluice keys status`, `rotate` and `rewrap`."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice.access import Level
from sluice.cli.app import create_app
from sluice.cli.keys import create_keys
from sluice.errors import ConfigurationError, DataKeyUnavailableError
from sluice.sealing import KeyFile
from tests.support.keys import EveryTenant

INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with its keys; the developer's own settings are not read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path))
    for level in Level:
        monkeypatch.delenv(f"SLUICE_{level}_KEY_FILE", raising=False)
    (tmp_path / "keys").mkdir()
    create_keys(tmp_path / "keys")
    return tmp_path


def ring(state: Path, *names: str) -> EveryTenant:
    given = names or ("level-internal.key",)
    external = (state / "keys" / "level-external.key",)
    return EveryTenant.from_files(
        {INTERNAL: [state / "keys" / name for name in given], EXTERNAL: external}, state / "data" / "keys"
    )


def place(tenant: str, level: Level = INTERNAL) -> dict[str, Any]:
    return {"tenant": tenant, "level": level, "row_id": "row"}


def sluice(*arguments: str) -> str:
    """What it prints; an error of the command is raised."""
    result = CliRunner().invoke(create_app(), ["keys", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def number(sealed: bytes) -> int:
    return int.from_bytes(sealed[1:5], "big")


def test_rotating_concerns_the_tenant_and_level_that_were_named_and_what_was_sealed_before_opens(state: Path) -> None:
    keys = ring(state)
    places = [place("a"), place("a", EXTERNAL), place("b")]
    before = [keys.seal(b"text", **each) for each in places]
    assert sluice("rotate", "--tenant", "a", "--level", "INTERNAL").count("data key 2") == 1
    assert [number(keys.seal(b"text", **each)) for each in places] == [2, 1, 1]
    sluice("rotate")
    assert [number(keys.seal(b"text", **each)) for each in places] == [3, 2, 2]
    assert {ring(state).open(sealed, **each) for sealed, each in zip(before, places, strict=True)} == {b"text"}
    with pytest.raises(ConfigurationError, match="no data key"):
        sluice("rotate", "--tenant", "nobody")


def test_keys_that_were_lost_for_good_begin_again_only_when_tenant_and_level_are_named(state: Path) -> None:
    assert "data key 1" in sluice("rotate", "--tenant", "a", "--level", "INTERNAL")
    assert number(ring(state).seal(b"text", **place("a"))) == 1


def test_the_status_tells_how_many_keys_there_are_and_what_wraps_them_and_no_secret(state: Path) -> None:
    ring(state).seal(b"text", **place("a"))
    sluice("rotate")
    told = sluice("status")
    [row] = [line.split("│")[1:-1] for line in told.splitlines() if "INTERNAL" in line]
    level_key = (state / "keys" / "level-internal.key").read_bytes()
    assert [cell.strip() for cell in row] == ["a", "INTERNAL", "2", KeyFile(level_key).key_id, "yes"]
    (state / "keys" / "level-internal.key").write_bytes(os.urandom(32))
    assert " no " in sluice("status")


def test_the_level_key_is_changed_once_every_process_was_given_the_new_one(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = state / "keys" / "new.key"
    new.write_bytes(os.urandom(32))
    sealed, external = ring(state).seal(b"text", **place("a")), ring(state).seal(b"text", **place("a", EXTERNAL))
    with pytest.raises(ConfigurationError, match=r"first name .* in SLUICE_INTERNAL_KEY_FILE"):
        sluice("rewrap", "--level", "INTERNAL", "--new-key", str(new))
    assert ring(state).open(sealed, **place("a")) == b"text"
    monkeypatch.setenv("SLUICE_INTERNAL_KEY_FILE", f"{state / 'keys' / 'level-internal.key'}, {new}")
    assert "1 data keys" in sluice("rewrap", "--level", "INTERNAL", "--new-key", "keys/new.key")
    assert "0 data keys" in sluice("rewrap", "--level", "INTERNAL", "--new-key", str(new))
    assert ring(state, "new.key").open(sealed, **place("a")) == b"text"
    assert ring(state).open(external, **place("a", EXTERNAL)) == b"text"
    with pytest.raises(DataKeyUnavailableError):
        ring(state).open(sealed, **place("a"))


def test_without_a_command_the_keys_that_are_missing_are_made(state: Path) -> None:
    (state / "keys" / "level-internal.key").unlink()
    assert "made level-internal.key" in sluice()
