"""The command: what is looked at, how far it is, and what failed."""

import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sluice.access import Level, Right
from sluice.acl import PRODUCER_USER
from sluice.cli.gateway import gateway
from sluice.cli.ingest.files import find
from sluice.cli.ingest.run import Result, Run
from sluice.cli.ingest.sending import Patience, Sender
from sluice.cli.settings import CliSettings
from sluice.cli.terminal import printable
from sluice.errors import ConfigurationError, PermanentError
from sluice.offers import key_id_of

_LARGEST_OFFER = 4 * 1024 * 1024
_LINE_SECONDS = 10.0
_INTERRUPTED = 130


def ingest(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder whose files are offered.")],
    access_level: Annotated[Level, typer.Option(help="Who may read them: INTERNAL is staff alone.")],
    recursive: Annotated[bool, typer.Option(help="Its folders too.")] = True,
    redis_url: Annotated[str | None, typer.Option(help="The system's Redis; by default SLUICE_REDIS_URL.")] = None,
    gateway_url: Annotated[str | None, typer.Option("--gateway", help="By default SLUICE_GATEWAY_URL.")] = None,
    outstanding: Annotated[int, typer.Option(min=1, max=5000, help="Most files under way at once.")] = 200,
    largest_offer: Annotated[
        int, typer.Option(min=0, help="Bytes above which a file goes over HTTP instead of the stream.")
    ] = _LARGEST_OFFER,
    give_up_after: Annotated[float, typer.Option(min=1, help="Seconds without any news after which it ends.")] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one line of JSON.")] = False,
) -> None:
    """Offer a folder's files, and wait until each is done or has failed.

    The API key comes from SLUICE_API_KEY. A run that was stopped goes on with the next one: what is done is not sent
    again. Exit status 1 if any file failed.
    """
    given = CliSettings()
    settings = given.model_copy(update={"gateway_url": gateway_url or given.gateway_url})
    api_key, console = _api_key(settings), Console(stderr=as_json, highlight=False, soft_wrap=True)
    began, found = time.monotonic(), find(folder, recursive=recursive)
    with gateway(settings, api_key) as api:
        _check(api.get("/me"), access_level)
        sender = Sender(api_key, access_level, api, redis_url or settings.redis_of(PRODUCER_USER), largest_offer)
        with _progress(console, len(found.files)) as (step, say):
            run = Run(folder, access_level, api=api, sender=sender, patience=Patience(say), outstanding=outstanding)
            try:
                result = run(found.files, step, give_up_after)
            except KeyboardInterrupt:
                console.print("stopped; what was offered goes on. Run this again to see its end and to offer the rest")
                sys.exit(_INTERRUPTED)
            finally:
                sender.close()
    _tell(console, result, found.others, time.monotonic() - began, as_json=as_json)
    sys.exit(1 if result.failed else 0)


def _api_key(settings: CliSettings) -> str:
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if key_id_of(key) is None:
        raise ConfigurationError("set SLUICE_API_KEY to an API key, sluice_key-..._...; an admin makes one")
    return key


def _check(me: dict[str, Any], level: Level) -> None:
    """Told once, before every single file is refused."""
    if Right.UPLOAD not in me["rights"]:
        raise PermanentError(f"the API key {me['id']} has not the right {Right.UPLOAD}")
    if level not in Level(me["clearance"]).readable:
        raise PermanentError(f"the API key {me['id']} may not write {level} documents")


@contextmanager
def _progress(console: Console, total: int) -> Generator[tuple[Callable[[Result], None], Callable[[str], None]]]:
    """How far it is: a bar for a person, a line now and then for a log."""
    if not console.is_terminal:
        yield _lines(console), lambda message: console.print(message, markup=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("files", total=total)

        def step(result: Result) -> None:
            failed = f", {len(result.failed)} failed" if result.failed else ""
            bar.update(task, completed=result.ended, description=f"files{failed}")

        yield step, lambda message: bar.console.print(message, markup=False)


def _lines(console: Console) -> Callable[[Result], None]:
    told = time.monotonic()

    def step(result: Result) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_SECONDS:
            told = time.monotonic()
            console.print(f"{result.ended} of {result.files} files, {len(result.failed)} failed", markup=False)

    return step


def _tell(console: Console, result: Result, others: int, seconds: float, *, as_json: bool) -> None:
    if as_json:
        failed = [{"file": file, "reason": reason} for file, reason in sorted(result.failed.items())]
        counts = {"files": result.files, "done": result.done, "already_done": result.already, "other_files": others}
        print(json.dumps({**counts, "failed": failed, "seconds": round(seconds, 1)}), flush=True)
        return
    for file, reason in sorted(result.failed.items()):
        console.print(f"failed: {printable(file)}: {printable(reason)}", markup=False)
    console.print(
        f"{result.files} files: {result.done} done, {result.already} were done before, {len(result.failed)} failed;"
        f" {others} of other kinds left out; {seconds:.1f} s",
        markup=False,
    )
