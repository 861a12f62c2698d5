"""Which files of a folder are offered, and under which names and keys."""

from pathlib import Path

from sluice.access import Level
from sluice.cli.ingest.files import find, shown_name, stable_key


def test_files_of_one_name_in_two_folders_have_two_names(tmp_path: Path) -> None:
    names = {shown_name(tmp_path / place, tmp_path) for place in ("a.md", "x/a.md", "y/a.md")}
    assert names == {"a.md", "x › a.md", "y › a.md"}


def test_long_names_stay_apart_within_200_characters(tmp_path: Path) -> None:
    long = "folder" * 30
    names = {shown_name(tmp_path / start / long / long / "a.md", tmp_path) for start in ("x", "y")}
    assert len(names) == 2
    assert all(len(name) <= 200 and name.endswith(" › a.md") for name in names)


def test_a_key_changes_with_place_content_and_level_and_with_nothing_else(tmp_path: Path) -> None:
    def key(place: str = "a.md", content: bytes = b"x", level: Level = Level.INTERNAL, folder: Path = tmp_path) -> str:
        return stable_key(folder / place, folder, level, content)

    assert key() == key(folder=tmp_path / "moved")
    assert len({key(), key("b.md"), key(content=b"y"), key(level=Level.EXTERNAL)}) == 4


def test_a_file_name_that_is_no_text_is_offered_all_the_same(tmp_path: Path) -> None:
    path = Path(f"{tmp_path}/caf\udce9.txt")
    assert shown_name(path, tmp_path) == "caf\ufffd.txt"
    assert stable_key(path, tmp_path, Level.INTERNAL, b"x").startswith("ingest-")


def test_links_hidden_files_and_other_kinds_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("a.txt", "B.PDF", "deep/er/c.html", ".git/d.txt", ".e.txt", "f.exe", "deep/g"):
        (tmp_path / name).touch()
    (tmp_path / "outside").symlink_to("/etc", target_is_directory=True)
    (tmp_path / "passwd.txt").symlink_to("/etc/passwd")
    found = find(tmp_path, recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in found.files] == ["B.PDF", "a.txt", "deep/er/c.html"]
    assert found.others == 2
    assert len(find(tmp_path, recursive=False).files) == 2
