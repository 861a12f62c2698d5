"""Redis over TLS: through the pool that everything uses, and through FastStream, which reads the streams."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from sluice.access import Level
from sluice.broker import Arrival, Broker
from sluice.connection import connect
from sluice.errors import ConfigurationError
from sluice.messages import IndexDamaged, IndexPart
from sluice.settings import CommonSettings
from tests.conftest import needs
from tests.support.identity import Office
from tests.support.keys import keyring
from tests.support.redis_tls import TlsRedis, tls_redis
from tests.support.servers import running
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    binary = shutil.which("redis-server")
    needs("redis-server, openssl", binary and shutil.which("openssl"))
    with running(tls_redis(tmp_path_factory.mktemp("tls"), str(binary))) as made:
        yield made


def settings(url: str, ca_file: Path | None) -> CommonSettings:
    return CommonSettings(port=1, redis_url=SecretStr(url), redis_ca_file=ca_file)


async def test_a_message_is_published_and_taken_over_tls(server: TlsRedis, office: Office, tmp_path: Path) -> None:
    common = settings(server.url, server.ca_file)
    broker = Broker(common, service="gateway", verifier=office.verifier, keyring=keyring(tmp_path))
    seen: list[str] = []

    async def on_damaged(message: IndexDamaged, _: Arrival) -> None:
        seen.append(message.tenant)

    broker.consume_unsigned(IndexDamaged, on_damaged)
    await broker.start()
    try:
        await broker.publish_unsigned(
            IndexDamaged(tenant="acme", part=IndexPart(access_level=Level.EXTERNAL, kind="chunks")), "m-1"
        )
        await until(lambda: seen == ["acme"])
    finally:
        await broker.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_that_cannot_prove_its_name_is_not_spoken_to(server: TlsRedis, host: str) -> None:
    """By address without its CA; with its CA under a name that its certificate has not."""
    ca_file = server.ca_file if host == "localhost" else None
    redis = connect(settings(server.url.replace("127.0.0.1", host), ca_file).redis_url)
    with pytest.raises(RedisConnectionError, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
        await redis.ping()
    await redis.aclose()


def test_a_ca_without_tls_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="begins with rediss://"):
        settings("redis://127.0.0.1/0", Path("ca.pem"))
