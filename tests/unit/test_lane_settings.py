"""A lane starts with the servers and keys of its levels, all of them and no others."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from ingest_worker.settings import IngestSettings
from retriever.settings import RetrieverSettings
from sluice.settings import StoreSettings

EXTERNAL = {"SLUICE_CHROMA_EXTERNAL_URL": "http://e", "SLUICE_EXTERNAL_KEY_FILE": "e.key"}
INTERNAL = {"SLUICE_CHROMA_INTERNAL_URL": "http://i", "SLUICE_INTERNAL_KEY_FILE": "i.key"}


@pytest.fixture(params=[IngestSettings, RetrieverSettings])
def settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[StoreSettings]:
    for name in (*EXTERNAL, *INTERNAL, "SLUICE_LANE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_STATE_DIR", str(tmp_path))
    return request.param


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_each_lane_starts_with_its_own(settings: type[StoreSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SLUICE_LANE="EXTERNAL", **EXTERNAL)
    assert set(settings().level_key_files) == {"EXTERNAL"}  # pyright: ignore[reportCallIssue]
    given(monkeypatch, SLUICE_LANE="INTERNAL", **INTERNAL)
    assert set(settings().chroma_urls) == {"EXTERNAL", "INTERNAL"}  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", INTERNAL)
def test_an_external_lane_that_was_given_something_internal_does_not_start(
    settings: type[StoreSettings], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given(monkeypatch, SLUICE_LANE="EXTERNAL", **EXTERNAL, **{name: INTERNAL[name]})
    with pytest.raises(ValidationError, match=f"the EXTERNAL lane must not be given {name}"):
        settings()  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", [*EXTERNAL, *INTERNAL])
def test_a_lane_without_a_server_or_key_of_its_levels_does_not_start(
    settings: type[StoreSettings], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given(monkeypatch, SLUICE_LANE="INTERNAL", **{**EXTERNAL, **INTERNAL, name: ""})
    with pytest.raises(ValidationError, match=f"the INTERNAL lane needs {name}"):
        settings()  # pyright: ignore[reportCallIssue]
