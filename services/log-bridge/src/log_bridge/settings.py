"""All that the log-bridge reads from its environment."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, field_validator

from sluice.settings import CommonSettings

_PASSED_ON = ("PATH", "HOME", "LANG")


class LogBridgeSettings(CommonSettings):
    port: int = Field(default=8141, description="Port of /healthz, /readyz and /metrics.")
    cora_auth_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("cora_auth_token", "CORA_AUTH_TOKEN"),
        description="Coralogix API key; without it Sluice's own logs are searched.",
    )
    coralogix_domain: str = Field(default="eu1.coralogix.com", description="Domain of the Coralogix account's region.")
    log_search_command: str | None = Field(
        default=None,
        description="Command of another MCP server over stdio with search_logs, query_dataprime or query_lucene; "
        "no shell reads it. It finds CORA_AUTH_TOKEN in its environment.",
    )
    log_search_dir: Path | None = Field(
        default=None, description="Folder of the *.jsonl logs that Sluice's own server searches; `<state>/logs`."
    )
    log_search_tenant_field: str = Field(
        default="tenant", pattern=r"^[\w@$][\w@$.-]*$", description="Field of a log record that names its tenant."
    )
    log_search_timeout_seconds: float = Field(default=20, gt=0, description="How long a log search may take.")
    log_search_start_seconds: float = Field(default=60, gt=0, description="How long the log server may take to start.")
    log_search_concurrency: int = Field(default=4, ge=1, description="Log searches at once.")

    @field_validator("log_search_command")
    @classmethod
    def _is_a_command(cls, value: str | None) -> str | None:
        if value is not None and not shlex.split(value):
            raise ValueError("it names no program")
        return value

    @property
    def child_command(self) -> list[str]:
        if self.log_search_command is not None:
            return shlex.split(self.log_search_command)
        if self.cora_auth_token is not None:
            return self._coralogix_proxy
        folder = self.log_search_dir or self.state_dir / "logs"
        return [sys.executable, "-m", "log_bridge.local_server", "--logs", str(folder)]

    @property
    def child_environment(self) -> Mapping[str, str]:
        """Nothing but these: the child never sees a key of ours."""
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        if self.cora_auth_token is None:
            return passed
        return {**passed, "CORA_AUTH_TOKEN": self.cora_auth_token.get_secret_value()}

    @property
    def _coralogix_proxy(self) -> list[str]:
        """Coralogix's documented proxy, which itself puts the token from its environment into the header."""
        headers = ("Authorization:Bearer ${CORA_AUTH_TOKEN}", "mcp-version:v2")
        url = f"https://api.{self.coralogix_domain}/mgmt/api/v1/mcp"
        return ["npx", "-y", "mcp-remote", url, *(part for header in headers for part in ("--header", header))]
