"""What must not start, and where things lie."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from gateway.settings import GatewaySettings
from gateway.tokens import read_operator_token
from sluice.access import Level
from sluice.errors import ConfigurationError


def _settings(**values: Any) -> GatewaySettings:
    return GatewaySettings(**values)


@pytest.mark.parametrize("password", ["short", "elevenchars", "x" * 129, "aaaaaaaaaaaa", "admin@razorpay.com"])
def test_a_short_or_guessable_admin_password_is_refused_without_being_repeated(password: str) -> None:
    """case 21: no start."""
    with pytest.raises(ValidationError) as refused:
        _settings(admin_password=SecretStr(password))
    assert "SLUICE_ADMIN_PASSWORD" in str(refused.value)
    assert f"'{password}'" not in str(refused.value)


@pytest.mark.parametrize("token", ["", "short", "a" * 64])
def test_an_operators_token_that_could_be_guessed_is_refused(tmp_path: Path, token: str) -> None:
    """case 21: no start."""
    file = tmp_path / "operator.token"
    file.write_text(token)
    with pytest.raises(ConfigurationError) as refused:
        read_operator_token(file)
    assert str(file) in refused.value.detail


def test_a_missing_operators_token_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sluice up"):
        read_operator_token(tmp_path / "operator.token")


def test_the_first_admin_is_one_person_in_whatever_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ADMIN_EMAIL", "Admin@RazorPay.com")
    assert _settings().admin_email == "admin@razorpay.com"


def test_port_and_database_are_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _settings(state_dir=tmp_path).sql_url == f"sqlite+aiosqlite:///{tmp_path}/data/sluice.db"
    monkeypatch.setenv("SLUICE_GATEWAY_PORT", "8123")
    monkeypatch.setenv("SLUICE_DATABASE_URL", "postgresql+asyncpg://sluice:secret@db/sluice")
    settings = _settings()
    assert settings.port == 8123
    assert settings.sql_url.startswith("postgresql+asyncpg://")
    assert "secret" not in repr(settings)


def test_the_gateway_has_the_keys_of_both_levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_EXTERNAL_KEY_FILE", str(tmp_path / "other.key"))
    assert _settings(state_dir=tmp_path).both_key_files == {
        Level.EXTERNAL: (tmp_path / "other.key",),
        Level.INTERNAL: (tmp_path / "keys" / "level-internal.key",),
    }


def test_the_self_tests_command_and_environment_are_read_as_json_and_shown_in_no_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLUICE_SELFTEST_COMMAND", '["sluice", "selftest", "a b; id"]')
    monkeypatch.setenv("SLUICE_SELFTEST_ENVIRONMENT", '{"SLUICE_REDIS_URL": "redis://:secret@here/0"}')
    settings = GatewaySettings()
    assert settings.selftest_command == ("sluice", "selftest", "a b; id")
    assert settings.selftest_child_environment == {"SLUICE_REDIS_URL": "redis://:secret@here/0"}
    assert "secret@here" not in repr(settings)


def test_without_a_command_there_is_no_self_test_to_start() -> None:
    assert GatewaySettings().selftest_command == ()
    assert GatewaySettings().selftest_child_environment == {}


_ISSUER: dict[str, Any] = {
    "name": "acme",
    "issuer": "https://acme.okta.com",
    "client_id": "sluice",
    "client_secret": "the-secret-of-a-client",
    "tenants": ["default"],
}
_OUTSIDE = "https://support.example.com"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"oidc_issuers": [_ISSUER | {"issuer": "http://acme.okta.com"}]}, "https"),
        ({"oidc_issuers": [_ISSUER | {"issuer": "https://somebody@acme.okta.com"}]}, "https"),
        ({"oidc_issuers": [_ISSUER | {"issuer": "https://acme.okta.com?x=1"}]}, "https"),
        ({"oidc_issuers": [_ISSUER | {"tenants": []}]}, "tenants"),
        ({"oidc_issuers": [{"name": "acme", "client_secret": "the-secret-of-a-client"}]}, "client_id"),
        ({"oidc_issuers": [_ISSUER | {"name": "../acme"}]}, "name"),
        ({"oidc_issuers": [_ISSUER | {"client_secret_file": "/secret"}]}, "not both"),
        ({"oidc_issuers": [_ISSUER | {"domains": ["acme.com"]}]}, "domains"),
        ({"oidc_issuers": [_ISSUER, _ISSUER | {"issuer": "https://b.example"}]}, "same name"),
        ({"oidc_issuers": [_ISSUER, _ISSUER | {"name": "b"}]}, "same issuer"),
        ({"oidc_issuers": [_ISSUER], "public_url": "http://support.example.com"}, "SLUICE_PUBLIC_URL"),
        ({"public_url": "support.example.com"}, "public_url"),
        ({"smtp_url": "smtp://mail.example.com"}, "SLUICE_SMTP_FROM"),
        ({"smtp_from": "sluice@example.com"}, "SLUICE_SMTP_URL"),
        ({"smtp_url": "http://mail.example.com", "smtp_from": "a@example.com"}, "smtps://"),
        ({"smtp_url": "smtp://a:b@mail.example.com", "smtp_from": "a@example.com"}, "in a file"),
    ],
)
def test_ways_in_that_are_set_up_wrongly_stop_the_start(wrong: dict[str, Any], said: str) -> None:
    """And no secret is repeated."""
    with pytest.raises(ValidationError) as refused:
        _settings(**{"public_url": _OUTSIDE, **wrong})
    assert said in str(refused.value)
    assert "secret-of" not in str(refused.value)
    assert "input_value" not in str(refused.value), "pydantic cuts what it shows somewhere in the middle"


def test_an_issuers_secret_is_read_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    told = {name: value for name, value in _ISSUER.items() if name != "client_secret"}
    monkeypatch.setenv("SLUICE_OIDC_ISSUERS", json.dumps([told | {"client_secret_file": str(file)}]))
    [issuer] = _settings(public_url=_OUTSIDE).oidc_issuers
    for secret in ("first", "second"):
        file.write_text(f"{secret}\n")
        assert issuer.secret() == secret
    assert (issuer.shown_as, issuer.may_join) == ("Acme", False)
