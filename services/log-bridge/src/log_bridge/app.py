"""Puts the service together."""

from collections.abc import Callable

from starlette.applications import Starlette

from log_bridge.adapters.log_tools import McpLogSearch, choose_tool
from log_bridge.adapters.luqum_parser import parse_query
from log_bridge.adapters.mcp_stdio import ChildSettings, McpStdioClient
from log_bridge.handlers import register
from log_bridge.redaction import redact_text
from log_bridge.search import SearchLogs
from log_bridge.settings import LogBridgeSettings
from sluice.broker import Broker
from sluice.service import create_worker_app


def create_app(settings: LogBridgeSettings, broker: Broker) -> Starlette:
    """The child process starts and ends with the app; /readyz fails while it cannot be started."""
    child = ChildSettings(
        command=settings.child_command,
        environment=settings.child_environment,
        start_timeout=settings.log_search_start_seconds,
    )
    redact = _redactor(settings)
    client = McpStdioClient(child, choose_tool, redact)
    search = SearchLogs(
        McpLogSearch(client, redact),
        parse_query,
        tenant_field=settings.log_search_tenant_field,
        timeout_seconds=settings.log_search_timeout_seconds,
    )
    register(broker, search, concurrency=settings.log_search_concurrency)

    async def check_child() -> None:
        await client.start()  # the app checks once before it takes the first message
        await client.check()

    return create_worker_app(broker, checks=[check_child], closers=[client.close])


def _redactor(settings: LogBridgeSettings) -> Callable[[str], str]:
    """What the child says may repeat its own token, in whatever form that has."""
    token = settings.cora_auth_token.get_secret_value() if settings.cora_auth_token else ""
    return lambda text: redact_text(text.replace(token, "[redacted:token]") if token else text)
