"""The language models whose keys are set.

A vendor's SDK takes seconds and 25 MB to import: only what is in use is.
"""

import httpx2

from llm_router.ports import Model
from llm_router.settings import LlmRouterSettings


def create_models(settings: LlmRouterSettings, http: httpx2.AsyncClient) -> tuple[list[Model], Model | None]:
    """Those who answer, in order of preference, and the one that makes follow-ups stand alone: the cheapest there is.

    Raises:
        ConfigurationError: a provider is set by half.
    """
    settings.check()
    gemini, azure = _gemini(settings, http), _azure(settings, http)
    pro, flash = gemini[:1], gemini[1:]
    return [*pro, *flash, *azure], next(iter([*flash, *azure, *pro]), None)


def _gemini(settings: LlmRouterSettings, http: httpx2.AsyncClient) -> list[Model]:
    """Pro, which thinks as it likes, and Flash, which is there to be quick: 2.5 Flash can be told not to think."""
    if settings.gemini_api_key is None:
        return []
    from llm_router.adapters.gemini import Gemini, create_gemini_client  # noqa: PLC0415

    client = create_gemini_client(settings.gemini_api_key.get_secret_value(), http, settings.gemini_base_url)
    thinking = 0 if settings.gemini_flash_model.startswith("gemini-2.5-flash") else None
    return [
        Gemini(client, settings.gemini_pro_model),
        Gemini(client, settings.gemini_flash_model, thinking_tokens=thinking),
    ]


def _azure(settings: LlmRouterSettings, http: httpx2.AsyncClient) -> list[Model]:
    if settings.azure_openai_api_key is None or settings.azure_openai_endpoint is None:
        return []
    from llm_router.adapters.azure_openai import AzureOpenAI, create_azure_client  # noqa: PLC0415

    key = settings.azure_openai_api_key.get_secret_value()
    client = create_azure_client(key, settings.azure_openai_endpoint, settings.azure_openai_api_version, http)
    return [AzureOpenAI(client, settings.azure_openai_deployment)]
