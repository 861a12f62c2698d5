"""All that the front end reads from its environment."""

import os
from pathlib import Path

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The names carry the prefix `SLUICE_`."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", extra="ignore")

    gateway_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:8000")
    host: str = "127.0.0.1"
    page_port: int = Field(default=7860, ge=0, le=65535)
    state_dir: Path = Path(".sluice")
    log_level: str = "INFO"
    shutdown_grace_seconds: float = Field(default=20, ge=0)
    page_cookie_key: SecretStr | None = None
    """32 bytes in base64, for several replicas; without it the key is kept in `<state_dir>/keys/page-cookie.key`."""
    page_concurrency: int = Field(default=200, ge=1)
    """How many answers, searches and uploads one process of the page follows at a time."""
    page_examples: tuple[str, ...] = (
        "How long does a refund take?",
        "How do I close my account?",
        "What does support need to know when I report a failed payment?",
    )

    @property
    def cookie_key_file(self) -> Path:
        return self.state_dir / "keys" / "page-cookie.key"


def silence_gradio() -> None:
    """Gradio asks its environment, at several places, whether it may report to its makers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
