"""The sealed cookie: a restart signs nobody out, and nobody else can make or change one."""

import base64
import os
import stat
import time
from pathlib import Path

import pytest

from sluice_frontend.sessions import COOKIE, Session, SessionSeal, decode_key, load_key


def test_a_sealed_session_opens_with_the_same_key_in_another_process(tmp_path: Path) -> None:
    session = Session.begin("token", 60)
    cookie = SessionSeal(load_key(tmp_path / "keys" / "k")).seal(session)
    assert SessionSeal(load_key(tmp_path / "keys" / "k")).open({COOKIE: cookie}) == session


def test_the_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    load_key(tmp_path / "keys" / "k")
    assert stat.S_IMODE((tmp_path / "keys" / "k").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["k"]


def test_the_token_cannot_be_read_from_the_cookie() -> None:
    assert "bearer" not in SessionSeal(os.urandom(32)).seal(Session.begin("bearer", 60))


@pytest.mark.parametrize("position", [0, 20, -8])
def test_a_changed_cookie_does_not_open(position: int) -> None:
    seal = SessionSeal(os.urandom(32))
    cookie = list(seal.seal(Session.begin("token", 60)))
    cookie[position] = "A" if cookie[position] != "A" else "B"
    assert seal.open({COOKIE: "".join(cookie)}) is None


@pytest.mark.parametrize("value", ["", "x", "%%%", "é", "A" * 200])
def test_what_was_never_sealed_does_not_open(value: str) -> None:
    assert SessionSeal(os.urandom(32)).open({COOKIE: value}) is None


def test_a_cookie_of_another_key_does_not_open() -> None:
    cookie = SessionSeal(os.urandom(32)).seal(Session.begin("token", 60))
    assert SessionSeal(os.urandom(32)).open({COOKIE: cookie}) is None


def test_an_expired_session_does_not_open() -> None:
    seal = SessionSeal(os.urandom(32))
    assert seal.open({COOKIE: seal.seal(Session("id", "token", int(time.time()) - 1))}) is None


def test_a_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        decode_key("c2hvcnQ=")


def test_a_key_that_could_be_guessed_is_refused() -> None:
    """case 21: no start."""
    with pytest.raises(ValueError, match="random"):
        decode_key(base64.b64encode(b"a" * 32).decode())
