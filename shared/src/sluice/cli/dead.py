"""`sluice dead`: the dead letters, asked of the running gateway with the operator's token."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from sluice.cli.gateway import Gateway, RefusedError, gateway, operator_token
from sluice.cli.settings import CliSettings
from sluice.cli.terminal import printable
from sluice.errors import PermanentError

_PATH = "/dead-letters"
_PAGE = 100
_NOT_FOUND = 404
Letter = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it, or STREAM/ID.")]
MaybeLetter = Annotated[str | None, typer.Argument(metavar="ID", help="As the list shows it, or STREAM/ID.")]
Stream = Annotated[str | None, typer.Option(help="One stream, by its whole name; of all when not given.")]
All = Annotated[bool, typer.Option("--all", help="All letters of the stream, or of all streams.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def dead_list(
    stream: Stream = None,
    limit: Annotated[int, typer.Option(min=1, help="As many as are shown, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the dead letters, the newest first."""
    with _operator() as api:
        items, counts = _listed(api, stream, limit)
    if as_json:
        _console().print(json.dumps({"items": items, "counts": counts}))
        return
    table = Table("id", "stream", "died", "tries", "error", "reason", "tenant")
    for item in items:
        names = ("id", "stream", "died_at", "attempts", "error", "detail", "tenant")
        table.add_row(*(_shown(item[name]) for name in names))
    _console().print(table)
    total = sum(count for name, count in counts.items() if stream in (None, name))
    _console().print(f"{len(items)} of {total} shown")


def dead_show(letter: Letter, stream: Stream = None, as_json: AsJson = False) -> None:
    """Show all that is known of one letter; what people wrote is not shown."""
    with _operator() as api:
        found = _find(api, letter, stream)
    if as_json:
        _console().print(json.dumps(found))
        return
    for name, value in _flat(found):
        _console().print(f"{name}: {_shown(value)}")


def dead_replay(letter: MaybeLetter = None, stream: Stream = None, everything: All = False) -> None:
    """Put a letter's work on its way again, keeping its job; exit 1 if any was refused."""
    with _operator() as api:
        if _one(letter, everything):
            api.post(f"{_path_of(_find(api, letter or '', stream))}/replay", {})
            _console().print("replayed")
            return
        parts = list(_parts(lambda cursor: api.post(f"{_PATH}/replay", _given(stream=stream, cursor=cursor))))
    refused = [refusal for part in parts for refusal in part["refused"]]
    for refusal in refused:
        _console().print(f"{refusal['stream']}/{refusal['id']}: {_shown(refusal['reason'])}")
    _console().print(f"{sum(part['replayed'] for part in parts)} replayed, {len(refused)} refused")
    if refused:
        raise typer.Exit(1)


def dead_discard(letter: MaybeLetter = None, stream: Stream = None, everything: All = False) -> None:
    """Delete a letter, or all of them, for good."""
    with _operator() as api:
        if _one(letter, everything):
            api.delete(_path_of(_find(api, letter or "", stream)))
            _console().print("discarded")
            return
        wanted = _given(stream=stream, all="true")
        parts = list(_parts(lambda cursor: api.delete(_PATH, **wanted, **_given(cursor=cursor))))
    _console().print(f"{sum(part['discarded'] for part in parts)} discarded")


@contextmanager
def _operator() -> Generator[Gateway]:
    settings = CliSettings()
    with gateway(settings, operator_token(settings.state.operator_token)) as api:
        yield api


def _one(letter: str | None, everything: bool) -> bool:
    if (letter is None) is not everything:
        raise typer.BadParameter("give either an ID or --all")
    return letter is not None


def _listed(api: Gateway, stream: str | None, limit: int) -> tuple[list[Any], dict[str, int]]:
    items: list[Any] = []
    cursor: str | None = None
    while True:
        size = min(_PAGE, limit - len(items))
        answer = api.get(_PATH, **_given(stream=stream, cursor=cursor), limit=size)
        items += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None or len(items) >= limit:
            return items, answer["counts"]


def _parts(call: Callable[[str | None], Any]) -> Iterator[Any]:
    """The gateway takes on some hundred letters a call, and tells where the next one goes on."""
    cursor: str | None = None
    while True:
        part = call(cursor)
        yield part
        cursor = part["next_cursor"]
        if cursor is None:
            return


def _find(api: Gateway, letter: str, stream: str | None) -> Any:
    """The letter by its id alone, if no other stream has one of this id."""
    named, _, letter_id = letter.rpartition("/")
    streams = [named or stream] if named or stream else api.get(_PATH, limit=1)["counts"]
    found = [answer for name in streams if (answer := _get(api, str(name), letter_id))]
    if not found:
        raise PermanentError(f"there is no dead letter {printable(letter)}")
    if len(found) > 1:
        raise PermanentError(f"more than one stream has a letter {printable(letter)}: give --stream")
    return found[0]


def _get(api: Gateway, stream: str, letter_id: str) -> Any:
    try:
        return api.get(_path_of({"stream": stream, "id": letter_id}))
    except RefusedError as error:
        if error.code != _NOT_FOUND:
            raise
        return None


def _path_of(letter: Any) -> str:
    return f"{_PATH}/{quote(letter['stream'], safe='')}/{quote(letter['id'], safe='')}"


def _given(**query: str | None) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _flat(found: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType]
        elif value is not None:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    """A producer from outside may have written it."""
    return "" if value is None else printable(str(value))


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False)
