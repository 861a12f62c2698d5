"""A parser whose child runs another program."""

from pathlib import Path

from ingest_worker.adapters.parser_process import ParserProcess
from ingest_worker.documents import ParserLimits


def child(tmp_path: Path, program: str) -> ParserProcess:
    """A parser whose child runs this program instead; it notes its process id first."""
    note = f"import os, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
    (tmp_path / "child.py").write_text(note + program)
    limits = ParserLimits(seconds=2, text_characters=1000)
    return ParserProcess(limits, child=(str(tmp_path / "child.py"),))
