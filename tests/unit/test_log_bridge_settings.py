"""What the log-bridge reads from its environment."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from log_bridge.settings import LogBridgeSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CORA_AUTH_TOKEN", "SLUICE_LOG_SEARCH_COMMAND", "SLUICE_LOG_SEARCH_DIR", "SLUICE_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


def settings(**values: Any) -> LogBridgeSettings:
    return LogBridgeSettings(**values)


def test_without_a_token_the_child_is_sluices_own() -> None:
    child = settings(state_dir=Path("/s")).child_command
    assert child == [sys.executable, "-m", "log_bridge.local_server", "--logs", "/s/logs"]
    assert settings(log_search_dir=Path("/l")).child_command[-1] == "/l"


def test_with_a_token_it_is_coralogixs_proxy_and_the_token_not_on_its_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CORA_AUTH_TOKEN", "cxtp_secret")
    child = settings(coralogix_domain="ap1.coralogix.com")
    assert child.child_command == [
        "npx",
        "-y",
        "mcp-remote",
        "https://api.ap1.coralogix.com/mgmt/api/v1/mcp",
        "--header",
        "Authorization:Bearer ${CORA_AUTH_TOKEN}",
        "--header",
        "mcp-version:v2",
    ]
    assert child.child_environment["CORA_AUTH_TOKEN"] == "cxtp_secret"
    assert "cxtp_secret" not in repr(child)


def test_the_operators_command_is_split_and_seen_by_no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 39: the child's command comes from the operator's settings alone."""
    monkeypatch.setenv("SLUICE_LOG_SEARCH_COMMAND", "/opt/coralogix-mcp --name 'a b' $(id) ; ls")
    assert settings().child_command == ["/opt/coralogix-mcp", "--name", "a b", "$(id)", ";", "ls"]


def test_the_child_is_given_path_home_and_language_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "SLUICE_REDIS_URL", "LD_PRELOAD"):
        monkeypatch.setenv(name, "redis://x")
    assert set(settings().child_environment) <= {"PATH", "HOME", "LANG"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_search_command": "  "},
        {"log_search_command": "a 'b"},
        {"log_search_timeout_seconds": 0},
        {"log_search_tenant_field": "tenant:x OR y"},
        {"log_search_tenant_field": ""},
    ],
)
def test_a_wrong_setting_fails_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
