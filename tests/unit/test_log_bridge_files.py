"""Following a folder of growing log files."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from log_bridge.local_server.files import MAX_LINE, LogFolder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[LogFolder]:
    folder = LogFolder(tmp_path)
    yield folder
    folder.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def read(folder: LogFolder) -> list[str]:
    return [line.decode() for line in folder.new_lines()]


def test_each_line_is_given_once(folder: LogFolder, tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", "1\n2\n")
    assert read(folder) == ["1", "2"]
    assert read(folder) == []
    append(tmp_path / "a.jsonl", "3\n")
    append(tmp_path / "b.jsonl", "4\n")
    assert read(folder) == ["3", "4"]


def test_a_line_is_given_when_it_has_ended(folder: LogFolder, tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", "1\n2")
    assert read(folder) == ["1"]
    append(tmp_path / "a.jsonl", "2\n")
    assert read(folder) == ["22"]


def test_a_folder_may_be_made_later(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path / "logs")
    assert read(folder) == []
    (tmp_path / "logs").mkdir()
    append(tmp_path / "logs" / "a.jsonl", "1\n")
    assert read(folder) == ["1"]


def test_other_files_are_not_read(folder: LogFolder, tmp_path: Path) -> None:
    for name in ("a.log", "a.jsonl.gz", "a.jsonl~"):
        append(tmp_path / name, "1\n")
    assert read(folder) == []


@pytest.mark.parametrize("rotated", ["a.1.jsonl", "a.jsonl.1", "a.old"])
def test_a_renamed_file_is_read_to_its_end_and_no_line_twice(folder: LogFolder, tmp_path: Path, rotated: str) -> None:
    append(tmp_path / "a.jsonl", "1\n")
    assert read(folder) == ["1"]
    append(tmp_path / "a.jsonl", "2\n")
    (tmp_path / "a.jsonl").rename(tmp_path / rotated)
    append(tmp_path / "a.jsonl", "3\n")
    assert sorted(read(folder)) == ["2", "3"]
    append(tmp_path / "a.jsonl", "4\n")
    assert read(folder) == ["4"]


def test_what_was_written_before_a_file_was_deleted_is_read(folder: LogFolder, tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", "1\n")
    assert read(folder) == ["1"]
    append(tmp_path / "a.jsonl", "2\n")
    (tmp_path / "a.jsonl").unlink()
    assert read(folder) == ["2"]


@pytest.mark.parametrize("after", ["3\n", "3 and much more than before\n"])
def test_a_truncated_file_begins_again(folder: LogFolder, tmp_path: Path, after: str) -> None:
    append(tmp_path / "a.jsonl", "1\n2\n")
    assert read(folder) == ["1", "2"]
    (tmp_path / "a.jsonl").write_text(after)
    assert read(folder) == [after.strip()]


def test_a_file_copied_and_truncated_is_not_read_twice(folder: LogFolder, tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", "1\n")
    assert read(folder) == ["1"]
    append(tmp_path / "a.jsonl", "2\n")
    shutil.copy(tmp_path / "a.jsonl", tmp_path / "a.jsonl.1")
    (tmp_path / "a.jsonl").write_text("3\n")
    assert sorted(read(folder)) == ["2", "3"]


def test_a_line_that_is_too_long_is_left_out_alone(folder: LogFolder, tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", "1\n" + "x" * (MAX_LINE + 5))
    assert read(folder) == ["1"]
    append(tmp_path / "a.jsonl", "x" * (2 * MAX_LINE))
    assert read(folder) == []
    append(tmp_path / "a.jsonl", "x\n2\n" + "y" * 3 * MAX_LINE + "\n3\n")
    assert read(folder) == ["2", "3"]
