"""All that the llm-router reads from its environment."""

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr

from llm_router.ports import Limits
from sluice.errors import ConfigurationError
from sluice.settings import SealingSettings


def _blank_is_unset(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


_Secret = Annotated[SecretStr | None, BeforeValidator(_blank_is_unset)]
_Address = Annotated[str | None, BeforeValidator(_blank_is_unset)]


class LlmRouterSettings(SealingSettings):
    """The tiers in their order: Gemini Pro, Gemini Flash, Azure OpenAI, each where its key is set; then quotations."""

    port: int = Field(default=8131, description="Port of /healthz, /readyz and /metrics.")
    llm_concurrency: int = Field(default=32, ge=1, description="Answers that one router streams at once.")
    gemini_api_key: _Secret = Field(
        default=None,
        validation_alias=AliasChoices("gemini_api_key", "GEMINI_API_KEY"),
        description="Google Gemini API key.",
    )
    gemini_base_url: _Address = Field(default=None, description="Another address of the Gemini API.")
    gemini_pro_model: str = Field(default="gemini-2.5-pro", description="Model of the first tier.")
    gemini_flash_model: str = Field(default="gemini-2.5-flash", description="Model of the second tier.")
    azure_openai_api_key: _Secret = Field(
        default=None,
        validation_alias=AliasChoices("azure_openai_api_key", "AZURE_OPENAI_API_KEY"),
        description="Azure OpenAI key.",
    )
    azure_openai_endpoint: _Address = Field(
        default=None,
        validation_alias=AliasChoices("azure_openai_endpoint", "AZURE_OPENAI_ENDPOINT"),
        description="Azure OpenAI endpoint, https://NAME.openai.azure.com.",
    )
    azure_openai_deployment: str = Field(default="gpt-4o", description="Deployment of the third tier.")
    azure_openai_api_version: str = Field(default="2024-10-21", description="Version of the Azure OpenAI API.")
    llm_connect_seconds: float = Field(default=5, gt=0, description="Longest time to connect to a provider.")
    llm_first_token_seconds: float = Field(default=20, gt=0, description="Longest time to a tier's first text.")
    llm_between_tokens_seconds: float = Field(
        default=10, gt=0, description="Longest silence between two pieces of text."
    )
    llm_total_seconds: float = Field(default=90, gt=0, description="Longest time for a tier's whole answer.")
    llm_reserve_seconds: float = Field(
        default=2, ge=0, description="How long before a request's deadline the last tier is asked at the latest."
    )
    llm_max_output_tokens: int = Field(default=8192, ge=1, description="Longest answer, a model's thinking included.")
    follow_up_seconds: float = Field(
        default=4, gt=0, description="Longest time for a model to make a follow-up stand alone, before the rule does."
    )

    @property
    def limits(self) -> Limits:
        """Of each tier that is a language model."""
        return Limits(self.llm_first_token_seconds, self.llm_between_tokens_seconds, self.llm_total_seconds)

    def check(self) -> None:
        """Raises ConfigurationError where a provider is set by half."""
        if self.azure_openai_api_key and not self.azure_openai_endpoint:
            raise ConfigurationError("AZURE_OPENAI_API_KEY is set, but not AZURE_OPENAI_ENDPOINT: set both or neither")
        if self.azure_openai_endpoint and not self.azure_openai_api_key:
            raise ConfigurationError("AZURE_OPENAI_ENDPOINT is set, but not AZURE_OPENAI_API_KEY: set both or neither")
