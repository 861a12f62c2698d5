"""Reads the files of a folder as the ingest-worker does, one after the other, in a process of its own.

A line of JSON a file: its name, its text or why it was refused, and the seconds; the last line tells the memory.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.chunking import CHUNK_CHARACTERS, split
from ingest_worker.documents import ParserLimits
from sluice.errors import UnreadableDocumentError


def main() -> None:
    parse = ParserProcess(ParserLimits())
    idle = _peak(resource.RUSAGE_SELF)
    for file in sorted(Path(sys.argv[1]).iterdir()):
        began = time.monotonic()
        ended = asyncio.run(_read(parse, file.read_bytes(), file.name))
        print(json.dumps({"name": file.name, "seconds": time.monotonic() - began, **ended}), flush=True)
    print(json.dumps({"grown": _peak(resource.RUSAGE_SELF) - idle, "child": _peak(resource.RUSAGE_CHILDREN)}))


async def _read(parse: ParserProcess, data: bytes, name: str) -> dict[str, Any]:
    try:
        document = await parse(data, name)
        chunks = await asyncio.to_thread(split, document.sections)
    except UnreadableDocumentError as error:
        return {"refused": error.detail}
    if not chunks:
        return {"refused": "no text found"}
    assert max(len(chunk.text) for chunk in chunks) <= CHUNK_CHARACTERS
    return {"text": "\n".join(section.text for section in document.sections)}


def _peak(who: int) -> int:
    """The most bytes that the process, or the largest of its children, ever held."""
    return resource.getrusage(who).ru_maxrss * 1024


if __name__ == "__main__":
    main()
