"""The state folder, its keys and its lock."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluice.cli.keys import create_keys
from sluice.cli.lock import AlreadyRunningError, held
from sluice.cli.state import StateFolder


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


def test_the_state_folder_and_its_keys_are_their_owners_alone(state: StateFolder) -> None:
    create_keys(state.keys)
    assert state.root.stat().st_mode & 0o777 == 0o700
    assert state.keys.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in state.keys.iterdir()} == {0o600}


def test_the_public_key_belongs_to_the_private_one_and_level_keys_differ(state: StateFolder) -> None:
    create_keys(state.keys)
    private = Ed25519PrivateKey.from_private_bytes((state.keys / "passport.key").read_bytes())
    assert private.public_key().public_bytes_raw() == (state.keys / "passport.pub").read_bytes()
    internal, external = ((state.keys / f"level-{level}.key").read_bytes() for level in ("internal", "external"))
    assert len(internal) == len(external) == 32
    assert internal != external


def test_keys_are_never_overwritten_and_a_lost_public_key_is_made_again(state: StateFolder) -> None:
    create_keys(state.keys)
    before = {file.name: file.read_bytes() for file in state.keys.iterdir()}
    (state.keys / "passport.pub").unlink()
    assert create_keys(state.keys) == ["passport.pub"]
    assert {file.name: file.read_bytes() for file in state.keys.iterdir()} == before


def test_the_lock_is_free_again_after_its_holder(state: StateFolder) -> None:
    with held(state.lock), pytest.raises(AlreadyRunningError), held(state.lock):
        pass
    with held(state.lock):
        pass


def test_the_holders_pid_is_not_told_when_the_file_holds_an_earlier_one(state: StateFolder) -> None:
    """Between taking the lock and writing the pid, the file still names a process that is gone."""
    with held(state.lock):
        state.lock.write_text("1 another-boot:7")
        with pytest.raises(AlreadyRunningError) as refused, held(state.lock):
            pass
    assert refused.value.pid == 0
