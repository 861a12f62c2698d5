"""The child process that reads one document: `python -I -m ingest_worker.parser`.

On stdin: a line of JSON `{"name", "limits"}`, then the file's bytes. On stdout: a line of JSON a section
`{"text", "page"}`, then `{"kind", "title", "unreadable_pages"}`; or `{"error"}` alone. Nothing else comes out.
"""

import json
import os
import resource
import sys
from dataclasses import asdict
from typing import IO, Any

from ingest_worker.confinement import confine
from ingest_worker.documents import NOT_ISOLATED, ParsedDocument, ParserLimits
from ingest_worker.isolation import isolate
from ingest_worker.kinds import kind_of
from ingest_worker.parsers import parser_for
from sluice.errors import UnreadableDocumentError

_OPEN_FILES = 64


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    job = json.loads(sys.stdin.buffer.readline())
    limits = ParserLimits(**job["limits"])
    _limit_myself(limits)
    try:
        isolate()
        confine()
    except OSError:
        os._exit(NOT_ISOLATED)
    try:
        document = _read(sys.stdin.buffer.read(), job["name"], limits)
    except UnreadableDocumentError as error:
        _answer(answers, {"error": error.detail})
    else:
        for section in document.sections:
            _answer(answers, asdict(section))
        _answer(
            answers, {"kind": document.kind, "title": document.title, "unreadable_pages": document.unreadable_pages}
        )
    answers.close()
    os._exit(0)  # tearing down a large heap can take longer than reading the document


def _limit_myself(limits: ParserLimits) -> None:
    seconds = int(limits.seconds) + 1
    for kind, limit in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.unpacked_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.nice(5)  # questions go first


def _read(data: bytes, name: str, limits: ParserLimits) -> ParsedDocument:
    """Raises UnreadableDocumentError, whatever the parser met; its own words may quote the document and are dropped."""
    kind = "file"
    try:
        kind = kind_of(data, name)
        document = parser_for(kind)(data, limits)
    except UnreadableDocumentError:
        raise
    except MemoryError as error:
        raise UnreadableDocumentError(
            f"reading the {kind} took more than {limits.memory_bytes // 1_000_000} MB of memory: split it"
        ) from error
    except Exception as error:
        raise UnreadableDocumentError(f"the {kind} is damaged ({type(error).__name__}): save it anew") from error
    if sum(len(section.text) for section in document.sections) > limits.text_characters:
        raise UnreadableDocumentError(f"the {kind} holds more than {limits.text_characters:,} characters: split it")
    return document


def _answer(answers: IO[bytes], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    main()
