"""Structured logs: one JSON object a line on stdout, with request id, tenant and trace, never with content."""

import json
import logging
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.access import Level
from sluice.errors import SluiceError
from sluice.tracing import trace_ids

_context: ContextVar[dict[str, str] | None] = ContextVar("sluice_log_context", default=None)
_FRAMES = 8
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


@contextmanager
def log_context(**values: str) -> Generator[None]:
    """Adds fields (request_id, tenant) to every record that is logged inside."""
    token = _context.set({**(_context.get() or {}), **values})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "service", "lane", "event", ...}`; an exception is told by type and place alone."""

    def __init__(self, service: str, lane: Level | None) -> None:
        super().__init__()
        self._fixed = {"service": service} | ({"lane": lane} if lane else {})

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            **self._fixed,
            "event": record.getMessage(),
            "logger": record.name,
            **(_context.get() or {}),
            **trace_ids(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= _describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def _describe(error: BaseException) -> dict[str, str]:
    """Type and places, innermost first; the message of a foreign error may hold what people wrote."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    place = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    detail = {"detail": error.detail} if isinstance(error, SluiceError) else {}
    return {"error": type(error).__name__, "place": place, **detail}


def configure_logging(service: str, lane: Level | None = None, level: str = "INFO") -> None:
    """Sends every logger's records to stdout as JSON lines; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, lane))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("sluice", service.replace("-", "_")):
        logging.getLogger(name).setLevel(level)
    logging.getLogger("sluice.faststream").setLevel(logging.WARNING)  # else a line a message
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
