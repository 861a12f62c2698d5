"""Settings that two or more services share, read from the environment once, at start."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sluice.access import Level
from sluice.errors import ConfigurationError
from sluice.messages import MESSAGES, UNSIGNED
from sluice.redis_address import address, read_password


class Environment(BaseSettings):
    """Environment variables begin with `SLUICE_`, but for the providers' usual names; an empty one is not set."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", extra="ignore", env_ignore_empty=True, populate_by_name=True
    )


class RetryRule(BaseModel):
    """When a failed message is tried again: after `first_seconds`, then twice as long each time, jittered."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    attempts: int = Field(default=5, ge=1)
    first_seconds: float = Field(default=0.5, gt=0)
    longest_seconds: float = Field(default=60, gt=0)

    def pause(self, failures: int) -> timedelta:
        """The pause after so many failures before this one, with jitter between a half and the whole."""
        whole = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures, 60))
        return timedelta(seconds=whole * random.uniform(0.5, 1.0))  # noqa: S311


class RedisSettings(Environment):
    """Who a process is for Redis, and whom it takes for Redis."""

    redis_user: str | None = Field(default=None, description="User of Redis, when the URL names none.")
    redis_password_file: Path | None = Field(default=None, description="File with the password of SLUICE_REDIS_USER.")
    redis_ca_file: Path | None = Field(
        default=None,
        description="CA that a `rediss://` server's certificate is signed by, when the system knows it not.",
    )

    def redis_address(self, url: str) -> str:
        """Raises ConfigurationError: these settings do not belong together, or there is no such password."""
        if (self.redis_user is None) is not (self.redis_password_file is None):
            raise ConfigurationError("SLUICE_REDIS_USER and SLUICE_REDIS_PASSWORD_FILE go together")
        password = read_password(self.redis_password_file) if self.redis_password_file else ""
        return address(url, user=self.redis_user, password=password, ca_file=self.redis_ca_file)


class CommonSettings(RedisSettings):
    """What every service reads."""

    state_dir: Path = Field(default=Path(".sluice"), description="Folder of all state: keys, data, logs, run.")
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="Redis 7 or Valkey, `rediss://` for TLS."
    )
    host: str = Field(default="127.0.0.1", description="Address that the service's own HTTP port is bound to.")
    port: int = Field(description="Port of /healthz, /readyz and /metrics.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="OpenTelemetry collector (OTLP over HTTP) that spans are sent to, `http://HOST:4318`; none: no"
        " spans. The SDK's other variables (sampling, timeouts, resource) count too.",
    )
    otlp_headers: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS"),
        description="What the collector wants to be told with them, as `name=value,name=value`.",
    )
    lease_seconds: float = Field(
        default=15, gt=0, description="How long a taken message stays a worker's without renewal."
    )
    retry: RetryRule = Field(
        default=RetryRule(),
        description="How a failed message is tried again, as JSON: `attempts` until it is a dead letter,"
        " `first_seconds` and `longest_seconds` between two.",
    )
    retry_streams: dict[str, RetryRule] = Field(
        default={},
        description='The same for single streams, as JSON: `{"documents.submitted.v1": {"attempts": 8}}`.',
    )
    max_crashes: int = Field(default=3, ge=1, description="Worker deaths after which a message is a dead letter.")
    shutdown_grace_seconds: float = Field(
        default=20, gt=0, description="How long started work may go on after SIGTERM."
    )
    passport_public_keys: Path | None = Field(
        default=None,
        description="Folder whose `passport*.pub` are the Ed25519 public keys that passports are verified with, or one"
        " such file; `<state>/keys`.",
    )

    @model_validator(mode="after")
    def _redis_is_complete(self) -> Self:
        self.redis_url = SecretStr(self.redis_address(self.redis_url.get_secret_value()))
        return self

    @field_validator("retry_streams")
    @classmethod
    def _streams_are_ours(cls, value: dict[str, RetryRule]) -> dict[str, RetryRule]:
        if unknown := sorted(set(value) - {kind.stream for kind in (*MESSAGES, *UNSIGNED)}):
            raise ValueError(f"there is no stream {unknown[0]}; name it without its lane, as docs/architecture.md does")
        return value

    def retry_rule(self, stream: str) -> RetryRule:
        """By the stream's name without its lane."""
        return self.retry_streams.get(stream, self.retry)

    @property
    def keys_dir(self) -> Path:
        return self.state_dir / "keys"

    @property
    def data_dir(self) -> Path:
        return self.state_dir / "data"

    @property
    def data_keys_dir(self) -> Path:
        """Of the wrapped data keys; what wraps them lies elsewhere."""
        return self.data_dir / "keys"

    @property
    def passport_public_keys_path(self) -> Path:
        return self.passport_public_keys or self.keys_dir


def _split(value: Any) -> Any:
    if isinstance(value, str | Path):
        return tuple(part.strip() for part in str(value).split(",") if part.strip())
    return value or ()


KeyFiles = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]


class KeySettings(Environment):
    """The key-encryption key of each level; an EXTERNAL lane is given the EXTERNAL one alone."""

    external_key_file: KeyFiles = Field(
        default=(),
        description="32-byte key that wraps the data keys of EXTERNAL rows; while it is changed two, with a comma.",
    )
    internal_key_file: KeyFiles = Field(default=(), description="The same for INTERNAL rows; not for EXTERNAL lanes.")

    @property
    def level_key_files(self) -> dict[Level, tuple[Path, ...]]:
        files = {Level.EXTERNAL: self.external_key_file, Level.INTERNAL: self.internal_key_file}
        return {level: paths for level, paths in files.items() if paths}


class IndexSettings(Environment):
    """The Chroma server of each level; an EXTERNAL lane is given the EXTERNAL one alone."""

    chroma_external_url: str | None = Field(default=None, description="Chroma server of EXTERNAL chunks.")
    chroma_internal_url: str | None = Field(default=None, description="The same for INTERNAL; not for EXTERNAL lanes.")

    @property
    def chroma_urls(self) -> dict[Level, str]:
        urls = {Level.EXTERNAL: self.chroma_external_url, Level.INTERNAL: self.chroma_internal_url}
        return {level: url for level, url in urls.items() if url is not None}


class EmbeddingSettings(Environment):
    """Which embedding model; all that read or write one index must name the same."""

    embedding_provider: Literal["local", "gemini", "azure"] = Field(
        default="local", description="`local` (all-MiniLM-L6-v2, English, in the package), `gemini` or `azure`."
    )
    embedding_model: str | None = Field(
        default=None, description="Model or deployment: gemini-embedding-001, text-embedding-3-small."
    )
    embedding_threads: int = Field(default=2, ge=1, description="CPU threads of the local embedding model.")
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("gemini_api_key", "GEMINI_API_KEY"),
        description="Google Gemini API key.",
    )
    gemini_base_url: str | None = Field(default=None, description="Another address of the Gemini API.")
    azure_openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("azure_openai_api_key", "AZURE_OPENAI_API_KEY"),
        description="Azure OpenAI key.",
    )
    azure_openai_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("azure_openai_endpoint", "AZURE_OPENAI_ENDPOINT"),
        description="Azure OpenAI endpoint, https://NAME.openai.azure.com.",
    )

    @model_validator(mode="after")
    def _provider_has_its_key(self) -> Self:
        if self.embedding_provider == "gemini" and not self.gemini_api_key:
            raise ValueError("SLUICE_EMBEDDING_PROVIDER=gemini needs GEMINI_API_KEY")
        if self.embedding_provider == "azure" and not (self.azure_openai_api_key and self.azure_openai_endpoint):
            raise ValueError("SLUICE_EMBEDDING_PROVIDER=azure needs AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT")
        return self


class LaneSettings(CommonSettings):
    """A service that runs once a lane: the INTERNAL lane serves INTERNAL people and reads both levels."""

    lane: Level = Field(description="EXTERNAL or INTERNAL: whose requests this process serves.")


class SealingSettings(LaneSettings, KeySettings):
    """A lane that seals and opens: it has the keys of its levels, all of them and no others."""

    @model_validator(mode="after")
    def _lane_has_its_levels(self) -> Self:
        for level in Level:
            for name, present in self._given(level).items():
                if present is not (level in self.lane.readable):
                    raise ValueError(f"the {self.lane} lane {'must not be given' if present else 'needs'} {name}")
        return self

    def _given(self, level: Level) -> dict[str, bool]:
        """The settings that are a level's, and whether they are set."""
        return {f"SLUICE_{level}_KEY_FILE": level in self.level_key_files}


class StoreSettings(SealingSettings, IndexSettings, EmbeddingSettings):
    """A lane that reads or writes documents: it has the servers of its levels too."""

    def _given(self, level: Level) -> dict[str, bool]:
        return {f"SLUICE_CHROMA_{level}_URL": level in self.chroma_urls, **super()._given(level)}
