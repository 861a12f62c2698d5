"""Files that are hard on whoever reads them: each ends as it should, soon and small, and the next one is read."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_file import HostileFile
from tests.support.hostile_files import hostile_files

FILES = hostile_files()
SECONDS = 10
BYTES = 512 * 1024 * 1024
_READER = [sys.executable, "-m", "tests.support.hostile_reader"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """How each file ended, by its name; the memory under the empty name."""
    folder = tmp_path_factory.mktemp("hostile")
    for file in FILES:
        (folder / file.name).write_bytes(file.data)
    run = subprocess.run([*_READER, str(folder)], capture_output=True, text=True, check=True)
    return {line.get("name", ""): line for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_hostile_file_ends_as_it_should_and_soon(file: HostileFile, ended: dict[str, dict[str, Any]]) -> None:
    """cases 31, 32, 33, 35: in one process, which goes on to the next file."""
    told = ended[file.name]
    assert told["seconds"] < SECONDS
    if file.refused is not None:
        assert file.refused in told["refused"]
    else:
        assert file.reads is not None
        assert file.reads in told.get("text", told)
        assert file.never is None or file.never not in told["text"]


def test_no_hostile_file_takes_more_memory_than_it_may(ended: dict[str, dict[str, Any]]) -> None:
    """cases 32, 33: in the reading process beyond what it has when idle, and in any of its children."""
    memory = ended[""]
    assert memory["grown"] + memory["child"] < BYTES
    assert set(ended) == {file.name for file in FILES} | {""}


def test_nothing_here_writes_a_table_for_a_spreadsheet() -> None:
    """case 35: formulas are kept as text; whoever makes an export of tables has to make them harmless there."""
    root = Path(__file__).parents[2]
    sources = [file for folder in ("shared", "frontend", "services") for file in (root / folder).rglob("*.py")]
    knows_tables = re.compile(r"^\s*(?:import|from) (?:csv|openpyxl|xlsxwriter|pandas)\b", re.M)
    assert {file.name for file in sources if knows_tables.search(file.read_text())} == {"table.py"}
    assert "csv.writer" not in "".join(file.read_text() for file in sources)
