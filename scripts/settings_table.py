"""Writes docs/settings.md from the settings classes; with --check, fails when it is not as it would be written.

usage: python -m scripts.settings_table [--check]
"""

import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

FILE = Path("docs/settings.md")
MODULES = {
    "`sluice`": "sluice.cli.settings",
    "gateway": "gateway.settings",
    "ingest-worker": "ingest_worker.settings",
    "retriever": "retriever.settings",
    "llm-router": "llm_router.settings",
    "log-bridge": "log_bridge.settings",
    "frontend": "sluice_frontend.settings",
}
HEAD = """# Settings

Environment variables, read once at start. `make up` takes them from the environment and from a file `.env` in the
current folder, and hands each process only its own. An empty variable counts as not set. Made by
`python -m scripts.settings_table`; `make check` fails when this page and the code differ.

| Variable | Default | Read by | Meaning |
|---|---|---|---|
"""


def settings_class(module: str) -> type[BaseSettings]:
    """The one settings class that a service's module defines."""
    classes = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    [found] = [c for _, c in classes if issubclass(c, BaseSettings) and c.__module__ == module]
    return found


def variable(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias: Any = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next(choice for choice in alias.choices if isinstance(choice, str) and choice.isupper())
    return alias or f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ("", ()):
        return ""
    value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return f"`{value}`"


def table() -> str:
    rows: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for service, module in MODULES.items():
        settings = settings_class(module)
        for name, field in settings.model_fields.items():
            assert field.description, f"{module}: {name} has no description"
            rows[variable(settings, name, field), default(field), field.description].append(service)
    lines = [f"| `{name}` | {value} | {', '.join(by)} | {text} |" for (name, value, text), by in sorted(rows.items())]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    if "--check" not in sys.argv[1:]:
        FILE.write_text(table())
        return 0
    if FILE.exists() and FILE.read_text() == table():
        return 0
    print(f"{FILE} is not what the settings say: run `python -m scripts.settings_table`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
