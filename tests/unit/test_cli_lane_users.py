"""The system users of the lanes: who may be one, who runs as whom, and whose the state folder is."""

import os
import pwd
from pathlib import Path

import pytest

from sluice.access import Level
from sluice.cli.lane_users import LaneUsers, SystemUser, lane_users, own
from sluice.cli.programs import as_users, table
from sluice.cli.settings import CliSettings
from sluice.cli.state import StateFolder
from sluice.errors import ConfigurationError

USERS = LaneUsers(
    SystemUser("outside", 2001, 2001, "/var/outside"), SystemUser("inside", 2002, 2002, "/var/inside", (2001,))
)


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def known(monkeypatch: pytest.MonkeyPatch, **groups: tuple[int, int, list[int]]) -> None:
    """The users of this machine: uid, gid, and all groups."""

    def entry(name: str) -> pwd.struct_passwd:
        uid, gid, _ = groups[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", f"/var/{name}", "/bin/false"))

    monkeypatch.setattr(pwd, "getpwnam", entry)
    monkeypatch.setattr(os, "getgrouplist", lambda name, _gid: groups[name][2])  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


def settings(external: str | None, internal: str | None) -> CliSettings:
    return CliSettings(external_user=external, internal_user=internal)


def test_without_them_everything_runs_as_its_caller(tmp_path: Path) -> None:
    assert lane_users(settings(None, None)) is None
    programs = table(CliSettings(state_dir=_made(tmp_path).root), {})
    assert as_users(programs, None) == programs
    assert {program.user for program in programs} == {None}


def test_two_users_are_found_and_the_internal_one_is_of_the_others_group(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, outside=(2001, 2001, [2001]), inside=(2002, 2002, [2002]))
    assert lane_users(settings("outside", "inside")) == USERS


@pytest.mark.parametrize(
    ("external", "internal", "why"),
    [
        ("outside", None, "go together"),
        (None, "inside", "go together"),
        ("outside", "outside", "two users"),
        ("root", "inside", "neither root"),
        ("outside", "root", "neither root"),
        ("member", "inside", "must not be in the group of inside"),
        ("sharing", "inside", "must not be in the group of inside"),
        ("nobody-knows", "inside", "no system user nobody-knows"),
    ],
)
def test_users_that_do_not_keep_the_lanes_apart_are_refused(
    monkeypatch: pytest.MonkeyPatch, external: str | None, internal: str | None, why: str
) -> None:
    known(
        monkeypatch,
        root=(0, 0, [0]),
        outside=(2001, 2001, [2001]),
        inside=(2002, 2002, [2002]),
        member=(2003, 2003, [2003, 2002]),
        sharing=(2004, 2002, [2002]),
    )
    with pytest.raises(ConfigurationError, match=why):
        lane_users(settings(external, internal))


def test_only_root_can_start_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigurationError, match="only root"):
        lane_users(settings("outside", "inside"))


def test_the_external_lane_and_its_chroma_are_the_external_users_and_nothing_else(tmp_path: Path) -> None:
    programs = as_users(table(CliSettings(state_dir=_made(tmp_path).root), {}), USERS)
    theirs = {program.name for program in programs if program.user is USERS.external}
    assert theirs == {"chroma-external", "ingest-worker-external", "retriever-external", "llm-router-external"}
    assert {program.user for program in programs} == {USERS.external, USERS.internal}
    assert {program.environment["HOME"] for program in programs if program.lane is Level.EXTERNAL} == {"/var/outside"}


def test_a_folder_that_was_open_is_closed_again_without_them(tmp_path: Path) -> None:
    state = _made(tmp_path)
    state.root.chmod(0o711)
    state.keys.chmod(0o755)
    own(state, None, {})
    assert {folder.stat().st_mode & 0o777 for folder in (state.root, state.keys)} == {0o700}


def _made(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.create()
    return state
