"""What the ingest-worker reads from its environment."""

import pytest
from pydantic import ValidationError

from ingest_worker.settings import IngestSettings

EXTERNAL = {"SLUICE_LANE": "EXTERNAL", "SLUICE_EXTERNAL_KEY_FILE": "e", "SLUICE_CHROMA_EXTERNAL_URL": "http://e"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in EXTERNAL.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_limits_reach_the_parser_and_the_web(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SLUICE_MAX_PAGES", "7")
    environment.setenv("SLUICE_URL_MAX_BYTES", "1000")
    settings = IngestSettings()
    assert settings.parser_limits.pages == 7
    assert (settings.parser_limits.file_bytes, settings.parser_limits.seconds) == (50_000_000, 60)
    assert (settings.web_limits.body_bytes, settings.web_limits.seconds) == (1000, 30)


def test_no_private_network_is_open_unless_it_is_named_with_its_port(environment: pytest.MonkeyPatch) -> None:
    assert IngestSettings().url_allowed_networks == ()
    environment.setenv("SLUICE_URL_ALLOWED_NETWORKS", "127.0.0.0/8:8080, [::1/128]:9090")
    opened = IngestSettings().url_allowed_networks
    assert [(str(entry.network), entry.port) for entry in opened] == [("127.0.0.0/8", 8080), ("::1/128", 9090)]
    environment.setenv("SLUICE_URL_ALLOWED_NETWORKS", "127.0.0.0/8")
    with pytest.raises(ValidationError, match="NETWORK:PORT"):
        IngestSettings()
