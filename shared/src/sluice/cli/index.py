"""`sluice index`: the index compared with the blob store, and made anew from it, by the running system."""

import json
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sluice.access import Level
from sluice.cli.gateway import Gateway, gateway, operator_token
from sluice.cli.settings import CliSettings
from sluice.cli.terminal import printable

_PAUSE_SECONDS = 0.3
_COUNTS = ("rows", "missing", "extra", "unusable")
AtLevel = Annotated[Level | None, typer.Option("--level", help="Both when not given.")]


def index_verify(
    tenant: Annotated[str | None, typer.Option(help="One tenant, by its short name; all when not given.")] = None,
    level: AtLevel = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare what can be found with what the blob store holds; exit 1 if anything differs."""
    with _operator() as api:
        ended = _ended(api, api.post("/indexes/verify", {"tenant": tenant, "access_level": level})["tasks"])
    wrong = [task for task in ended if task["state"] == "failed" or any(task[name] for name in _COUNTS[1:])]
    if as_json:
        _console().print(json.dumps({"collections": ended, "wrong": len(wrong)}))
    else:
        _show(ended)
        _console().print(f"{len(ended)} collections, {len(wrong)} wrong")
    if wrong:
        raise typer.Exit(1)


def index_rebuild(
    tenant: Annotated[str, typer.Option(help="The tenant's short name.")],
    level: AtLevel = None,
) -> None:
    """Make a tenant's collections anew from the blob store; exit 1 if one could not be."""
    with _operator() as api:
        ended = _ended(api, api.post("/indexes/rebuild", {"tenant": tenant, "access_level": level})["tasks"])
    _show(ended)
    if any(task["state"] == "failed" or task["unusable"] for task in ended):
        raise typer.Exit(1)


def _ended(api: Gateway, tasks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks when all have ended; Ctrl-C stops the waiting, not the work."""
    ended: list[dict[str, Any]] = []
    for task in tasks:
        while task["state"] not in ("done", "failed"):
            time.sleep(_PAUSE_SECONDS)
            task = api.get(f"/indexes/tasks/{task['id']}")  # noqa: PLW2901
        ended.append(task)
    return ended


def _show(tasks: Iterable[dict[str, Any]]) -> None:
    table = Table("tenant", "level", "kind", *_COUNTS, "state")
    for task in tasks:
        state = task["error"] or task["state"]
        names = (task["tenant"], task["access_level"], task["kind"])
        table.add_row(*names, *(str(task[name]) for name in _COUNTS), printable(state))
    _console().print(table)


@contextmanager
def _operator() -> Generator[Gateway]:
    settings = CliSettings()
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        yield api


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
