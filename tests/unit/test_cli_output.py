"""Log lines: kept raw, wrapped when they are not JSON, shown without harm."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sluice.cli.logs import LogFile, parse
from sluice.cli.supervised import lines
from sluice.cli.terminal import Terminal, render


def test_a_json_line_is_kept_as_it_is() -> None:
    line = '{"time": "2026-01-01T00:00:00Z", "level": "INFO",   "event": "document.indexed", "title": "Zoë"}'
    record, kept = parse(line.encode(), service="gateway", lane=None)
    assert kept == line
    assert record["title"] == "Zoë"


@pytest.mark.parametrize(
    "line", [b"Traceback (most recent call last):", b'{"no": "log line"}', b"{broken", b"\xff\xfe"]
)
def test_any_other_line_becomes_an_output_record(line: bytes) -> None:
    record, kept = parse(line, service="retriever", lane="EXTERNAL")
    assert json.loads(kept) == record
    assert (record["event"], record["service"], record["lane"]) == ("output", "retriever", "EXTERNAL")
    assert record["message"] == line.decode(errors="replace")


def test_a_full_log_file_moves_on_without_losing_a_line_between(tmp_path: Path) -> None:
    file = LogFile(tmp_path, "gateway", max_bytes=2_000)
    for number in range(200):
        file.append(json.dumps({"event": "e", "n": number, "text": "100% %s"}))
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["gateway.jsonl", "gateway.jsonl.1", "gateway.jsonl.2", "gateway.jsonl.3"]
    newest = [json.loads(line)["n"] for line in (tmp_path / "gateway.jsonl").read_text().splitlines()]
    before = [json.loads(line)["n"] for line in (tmp_path / "gateway.jsonl.1").read_text().splitlines()]
    assert newest[-1] == 199
    assert before[-1] + 1 == newest[0]


def test_a_record_is_shown_with_level_event_and_the_start_of_its_request_id() -> None:
    record = {
        "time": "2026-01-01T00:00:00Z",
        "level": "ERROR",
        "service": "gateway",
        "event": "chat.failed",
        "request_id": "0123456789abcdef",
        "logger": "gateway.ask",
        "reason": "timeout",
    }
    assert render(record).plain == "ERROR chat.failed 01234567 reason=timeout"


def test_what_is_logged_cannot_steer_the_terminal() -> None:
    """A document's name may hold escape sequences; so may a line that claims to be markup."""
    output = io.StringIO()
    terminal = Terminal(Console(file=output, force_terminal=False, width=200), ["gateway"])
    terminal.record("gateway", {"event": "upload\x1b[2J\x07", "name": "a\nb [bold]c[/bold]", "message": "\x9b31m"})
    assert "\x1b" not in output.getvalue()
    assert "\x9b" not in output.getvalue()
    assert output.getvalue().count("\n") == 1
    assert "[bold]c[/bold]" in output.getvalue()


async def test_a_line_without_end_is_cut_into_pieces_and_nothing_is_lost() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"first\n" + b"x" * 600_000 + b"\n\nlast")
    stream.feed_eof()
    found = [line async for line in lines(stream)]
    assert (found[0], found[-1]) == (b"first", b"last")
    assert sum(map(len, found[1:-1])) == 600_000
    assert max(map(len, found)) < 400_000
