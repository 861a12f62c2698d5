"""The services' output: kept raw in files that rotate, and wrapped as JSON where it is not."""

import json
import logging
import re
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

_FILE_BYTES = 10_000_000
_OLD_FILES = 3
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


def parse(line: bytes, *, service: str, lane: str | None) -> tuple[dict[str, Any], str]:
    """The record of one line, and the line to keep; what is no JSON log line becomes the event `output`."""
    text = line.decode(errors="replace").strip()
    record = _json(text) or _wrap(_ANSI.sub("", text), service=service, lane=lane)
    return record, text if record.get("event") != "output" else json.dumps(record, ensure_ascii=False)


def _json(text: str) -> dict[str, Any] | None:
    try:
        record: Any = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    return cast("dict[str, Any]", record) if isinstance(record, dict) and "event" in record else None


def _wrap(message: str, *, service: str, lane: str | None) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": "INFO",
        "service": service,
        **({"lane": lane} if lane else {}),
        "event": "output",
        "message": message,
    }


class LogFile:
    """`<name>.jsonl`; when full it moves on to `<name>.jsonl.1`, and so on."""

    def __init__(self, folder: Path, name: str, *, max_bytes: int = _FILE_BYTES) -> None:
        self._handler = RotatingFileHandler(
            folder / f"{name}.jsonl", maxBytes=max_bytes, backupCount=_OLD_FILES, encoding="utf-8", delay=True
        )

    def append(self, line: str) -> None:
        """Logging's own handler does the work: a full disk is reported on stderr and stops nothing."""
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        self._handler.close()
