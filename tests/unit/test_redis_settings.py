"""Who a process is for Redis."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from sluice.errors import ConfigurationError
from sluice.settings import CommonSettings


def url(**given: object) -> str:
    settings = CommonSettings.model_validate({"port": 1, "redis_url": SecretStr("redis://redis:6379/0"), **given})
    return settings.redis_url.get_secret_value()


def test_user_and_password_of_the_file_become_part_of_the_address(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a/b@c-0123456789-xyz\n")
    given = {"redis_user": "gateway", "redis_password_file": file}
    assert url(**given) == "redis://gateway:a%2Fb%40c-0123456789-xyz@redis:6379/0"
    another = url(**given, redis_url=SecretStr("rediss://me:mine@redis:1/2"), redis_ca_file=Path("/ca.pem"))
    assert another == "rediss://gateway:a%2Fb%40c-0123456789-xyz@redis:1/2?ssl_ca_certs=%2Fca.pem"


def test_an_address_that_says_all_stays_as_it_is() -> None:
    assert url() == "redis://redis:6379/0"
    assert url(redis_url=SecretStr("rediss://me:mine@redis/0")) == "rediss://me:mine@redis/0"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"redis_user": "gateway"}, "go together"),
        ({"redis_password_file": Path("/nowhere")}, "go together"),
        ({"redis_user": "gateway", "redis_password_file": Path("/nowhere")}, "no password of Redis at /nowhere"),
        ({"redis_user": "gateway", "redis_password_file": Path("/dev/null")}, "is empty"),
    ],
)
def test_what_does_not_belong_together_stops_the_start(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        url(**given)


@pytest.mark.parametrize("password", ["redis", "fifteen letters", "a" * 64])
def test_a_password_of_redis_that_could_be_guessed_stops_the_start(password: str, tmp_path: Path) -> None:
    """case 21: the file is named, the password is not."""
    file = tmp_path / "secret-of-redis"
    file.write_text(password)
    with pytest.raises(ConfigurationError, match="too short") as refused:
        url(redis_user="gateway", redis_password_file=file)
    assert str(file) in refused.value.detail
    assert f" {password}" not in refused.value.detail.lower().replace("password of redis", "")
