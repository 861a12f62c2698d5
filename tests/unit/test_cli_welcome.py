"""The last lines of a start."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from sluice.cli.settings import CliSettings
from sluice.cli.terminal import Terminal
from sluice.cli.welcome import welcome


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliSettings:
    monkeypatch.chdir(tmp_path)
    settings = CliSettings.model_validate({"state_dir": tmp_path, "page_port": 7999, "gateway_port": 8999})
    settings.state.create()
    settings.state.gateway.mkdir()
    return settings


def shown(settings: CliSettings, *, terminal: bool) -> str:
    output = io.StringIO()
    welcome(Terminal(Console(file=output, force_terminal=terminal, no_color=True, width=200), []), settings)
    return output.getvalue()


def test_it_says_where_to_click(settings: CliSettings) -> None:
    said = shown(settings, terminal=False)
    assert "http://127.0.0.1:7999" in said
    assert "http://127.0.0.1:8999/docs" in said
    assert "password" not in said


def test_a_person_is_shown_the_one_time_password_once(settings: CliSettings) -> None:
    settings.state.first_admin_password.write_text("plum-otter-42")
    said = shown(settings, terminal=True)
    assert "plum-otter-42" in said
    assert settings.admin_email in said
    assert not settings.state.first_admin_password.exists()


def test_where_nobody_looks_the_password_stays_in_its_file(settings: CliSettings) -> None:
    """Standard output may be a log that others read."""
    settings.state.first_admin_password.write_text("plum-otter-42")
    said = shown(settings, terminal=False)
    assert "plum-otter-42" not in said
    assert str(settings.state.first_admin_password) in said
    assert settings.state.first_admin_password.exists()
