"""The llm-router's settings, and the tiers that they make."""

import pytest

from llm_router.adapters.http import create_client
from llm_router.adapters.models import create_models
from llm_router.app import create_chain
from llm_router.settings import LlmRouterSettings
from sluice.errors import ConfigurationError

GEMINI = {"GEMINI_API_KEY": "gemini-secret"}
AZURE = {"AZURE_OPENAI_API_KEY": "azure-secret", "AZURE_OPENAI_ENDPOINT": "https://name.openai.azure.com"}
PRO, FLASH, GPT, QUOTES = "gemini-2.5-pro", "gemini-2.5-flash", "azure/gpt-4o", "extractive"


@pytest.fixture(autouse=True)
def only_a_lane_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*GEMINI, *AZURE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLUICE_LANE", "EXTERNAL")
    monkeypatch.setenv("SLUICE_EXTERNAL_KEY_FILE", "e.key")


def settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> LlmRouterSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return LlmRouterSettings()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("environment", "tiers", "follow_up"),
    [
        ({}, (QUOTES,), None),
        (GEMINI, (PRO, FLASH, QUOTES), FLASH),
        (AZURE, (GPT, QUOTES), GPT),
        (GEMINI | AZURE, (PRO, FLASH, GPT, QUOTES), FLASH),
        ({"GEMINI_API_KEY": "", "AZURE_OPENAI_API_KEY": " ", "AZURE_OPENAI_ENDPOINT": ""}, (QUOTES,), None),
        (GEMINI | {"SLUICE_GEMINI_PRO_MODEL": "gemini-3-pro"}, ("gemini-3-pro", FLASH, QUOTES), FLASH),
        (AZURE | {"SLUICE_AZURE_OPENAI_DEPLOYMENT": "mine"}, ("azure/mine", QUOTES), "azure/mine"),
    ],
)
async def test_a_tier_is_in_use_when_its_key_is_set(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], tiers: tuple[str, ...], follow_up: str | None
) -> None:
    """An empty key is none; the last tier is always there; the cheapest model makes follow-ups stand alone."""
    given = settings(monkeypatch, environment)
    async with create_client(connect_seconds=1, read_seconds=1) as http:
        models, follow_up_model = create_models(given, http)
    assert create_chain(given, models).names == tiers
    assert (follow_up_model.name if follow_up_model else None) == follow_up


@pytest.mark.parametrize("name", list(AZURE))
async def test_an_azure_that_is_set_by_half_does_not_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given = settings(monkeypatch, {name: AZURE[name]})
    async with create_client(connect_seconds=1, read_seconds=1) as http:
        with pytest.raises(ConfigurationError, match="set both or neither"):
            create_models(given, http)


def test_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(monkeypatch, GEMINI | AZURE)
    assert "secret" not in f"{given!r} {given.model_dump_json()}"
