"""All that the command `sluice` reads from its environment."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from sluice.access import Level
from sluice.acl import OPERATOR_USER
from sluice.cli.state import StateFolder
from sluice.redis_address import address, read_password
from sluice.settings import KeySettings, RedisSettings

DOTENV = Path(".env")


class CliSettings(RedisSettings, KeySettings):
    """Ports and places of a system on one machine. The `.env` of the current folder yields to the environment."""

    model_config = SettingsConfigDict(env_file=DOTENV)

    state_dir: Path = Field(default=Path(".sluice"), description="Folder of all state: keys, data, logs, run.")
    host: str = Field(default="127.0.0.1", description="The address that the gateway and the page listen on.")
    redis_url: SecretStr | None = Field(default=None, description="Redis or Valkey to use; none starts one here.")
    redis_users: bool = Field(
        default=False, description="Whether that Redis has the users of `sluice redis acl`; one started here has them."
    )
    chroma_external_url: str | None = Field(default=None, description="Chroma of EXTERNAL documents; none starts one.")
    chroma_internal_url: str | None = Field(default=None, description="Chroma of INTERNAL documents; none starts one.")
    gateway_url: str | None = Field(
        default=None, description="Where the commands find the gateway; by default on its port here."
    )

    api_key: SecretStr | None = Field(default=None, description="The API key that `sluice ingest` offers files with.")
    admin_email: str = Field(default="admin@razorpay.com", description="The first admin, in the tenant `default`.")

    external_user: str | None = Field(
        default=None,
        description="System user of the EXTERNAL lane and its Chroma, when `sluice up` is run by root; else everything"
        " runs as its caller.",
    )
    internal_user: str | None = Field(default=None, description="System user of everything else then.")

    gateway_port: int = Field(default=8000, description="Port of the HTTP API.")
    page_port: int = Field(default=7860, description="The page.")
    valkey_port: int = Field(default=8100, description="The embedded Valkey.")
    chroma_external_port: int = Field(default=8101, description="The embedded Chroma of EXTERNAL documents.")
    chroma_internal_port: int = Field(default=8102, description="The embedded Chroma of INTERNAL documents.")
    ingest_worker_external_port: int = Field(default=8111, description="Health and metrics.")
    ingest_worker_internal_port: int = Field(default=8112, description="Health and metrics.")
    retriever_external_port: int = Field(default=8121, description="Health and metrics.")
    retriever_internal_port: int = Field(default=8122, description="Health and metrics.")
    llm_router_external_port: int = Field(default=8131, description="Health and metrics.")
    llm_router_internal_port: int = Field(default=8132, description="Health and metrics.")
    log_bridge_port: int = Field(default=8141, description="Health and metrics.")

    chroma_file_bytes: int = Field(
        default=8 * 2**30,
        gt=0,
        description="How large a file of the embedded Chroma may become: some two million chunks of all tenants.",
    )
    job_deadline_seconds: float = Field(default=6 * 3600, gt=0, description="When an unfinished job is given up.")
    start_timeout_seconds: float = Field(default=90, gt=0, description="How long a process may take to be ready.")
    shutdown_grace_seconds: float = Field(
        default=20, gt=0, description="How long started work may go on after SIGTERM."
    )

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.state_dir.absolute())

    @property
    def key_files(self) -> dict[Level, tuple[Path, ...]]:
        """Of both levels; by default they lie where `sluice up` makes them."""
        made = {level: (self.state.keys / f"level-{level.lower()}.key",) for level in Level}
        return made | self.level_key_files

    @property
    def gateway(self) -> str:
        """The gateway's address as seen from this machine."""
        return self.gateway_url or f"http://{self.reachable_host}:{self.gateway_port}"

    @property
    def reachable_host(self) -> str:
        """The address to call for what listens on `host`."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104  # compared, not bound

    @property
    def redis(self) -> str:
        """Redis for the commands of who operates it."""
        return self.redis_of(OPERATOR_USER)

    def redis_of(self, user: str) -> str:
        """Redis for one of its users. Raises ConfigurationError: this machine has no password of that user."""
        if self.redis_url is not None and not self.redis_users:
            return self.redis_address(self.redis_url.get_secret_value())
        url = self.redis_url.get_secret_value() if self.redis_url else f"redis://127.0.0.1:{self.valkey_port}/0"
        password = read_password(self.state.redis_password(user))
        return address(url, user=user, password=password, ca_file=self.redis_ca_file)

    @property
    def chroma_external(self) -> str:
        return self.chroma_external_url or f"http://127.0.0.1:{self.chroma_external_port}"

    @property
    def chroma_internal(self) -> str:
        return self.chroma_internal_url or f"http://127.0.0.1:{self.chroma_internal_port}"

    @property
    def gateway_is_local(self) -> bool:
        return urlsplit(self.gateway).hostname in ("127.0.0.1", "localhost", "::1")


def environment() -> dict[str, str]:
    """The environment, over the `.env` of the current folder if there is one; an empty variable counts as not set."""
    written = dotenv_values(DOTENV)
    return {name: value for name, value in [*written.items(), *os.environ.items()] if value}
