"""What the person at the terminal sees: one line a record, a colour a program."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

_COLOURS = (
    "cyan",
    "green",
    "magenta",
    "yellow",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_magenta",
    "bright_blue",
)
_LEVELS = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}
_SHOWN = ("time", "level", "service", "lane", "event", "message", "logger")
_IDS = ("request_id", "tenant", "trace_id", "span_id")
_KNOWN = {*_SHOWN, *_IDS}
_ID_LENGTH = 8
_LINE_LENGTH = 400


class Terminal:
    """Prints records and the supervisor's own words; a terminal that has gone away stops nothing."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self._console = console
        self._width = max(map(len, [*names, "sluice"]))
        self._colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}

    @property
    def seen_by_a_person(self) -> bool:
        return self._console.is_terminal

    def record(self, name: str, record: dict[str, Any]) -> None:
        self._print(self._head(name, str(record.get("time", ""))) + render(record))

    def say(self, message: str, style: str = "bold") -> None:
        self._print(self._head("sluice", "") + Text(printable(message), style=style))

    def plain(self, text: Text | str) -> None:
        self._print(text if isinstance(text, Text) else Text(text))

    def _head(self, name: str, time: str) -> Text:
        return Text.assemble(
            (_clock(time), "dim"), " ", (name.ljust(self._width), self._colours.get(name, "bold")), " "
        )

    def _print(self, text: Text) -> None:
        with suppress(OSError):
            self._console.print(text, soft_wrap=True, highlight=False)


def render(record: dict[str, Any]) -> Text:
    """Level if it matters, event, the request's first characters, then what else was logged, dimmed."""
    level = str(record.get("level", "INFO")).upper()
    event = str(record.get("event", ""))
    text = Text()
    if level in _LEVELS:
        text.append(f"{level} ", _LEVELS[level])
    if event != "output":
        text.append(printable(event), _LEVELS.get(level, ""))
    if message := record.get("message"):
        text.append((" " if text else "") + printable(str(message)))
    if request := record.get("request_id"):
        text.append(f" {printable(str(request)[:_ID_LENGTH])}", "dim")
    rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in _KNOWN and value is not None)
    if rest:
        text.append(f" {printable(rest)}", "dim")
    text.truncate(_LINE_LENGTH, overflow="ellipsis")
    return text


def printable(text: str) -> str:
    """The text without characters that could steer a terminal: what is logged may come from a stranger."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _clock(time: str) -> str:
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return datetime.now().astimezone().strftime("%H:%M:%S")
