"""All that the front end reads from its environment."""

import os
from pathlib import Path

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The names carry the prefix `SLUICE_`."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", extra="ignore")

    gateway_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("http://127.0.0.1:8000"), description="The gateway that the page calls."
    )
    public_url: AnyHttpUrl = Field(
        default=AnyHttpUrl("http://127.0.0.1:7860"),
        description="Where browsers find the page; with https its cookies are for this host and TLS alone.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the page's port is bound to.")
    page_port: int = Field(default=7860, ge=0, le=65535, description="Port of the page.")
    state_dir: Path = Field(default=Path(".sluice"), description="Folder of all state: keys, data, logs, run.")
    log_level: str = Field(default="INFO", description="Least level logged.")
    shutdown_grace_seconds: float = Field(
        default=20, ge=0, description="How long started work may go on after SIGTERM."
    )
    page_cookie_key: SecretStr | None = Field(
        default=None,
        description="32 bytes in base64, for several replicas; else the key is kept in `<state>/keys/page-cookie.key`.",
    )
    page_concurrency: int = Field(
        default=200, ge=1, description="Answers, searches and uploads that one process of the page follows at a time."
    )
    page_examples: tuple[str, ...] = Field(
        default=(
            "How long does a refund take?",
            "How do I close my account?",
            "What does support need to know when I report a failed payment?",
        ),
        description="Example questions of an empty chat, as JSON.",
    )

    @property
    def cookie_key_file(self) -> Path:
        return self.state_dir / "keys" / "page-cookie.key"


def silence_gradio() -> None:
    """Gradio asks its environment, at several places, whether it may report to its makers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
