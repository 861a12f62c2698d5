"""Which blobs belong to which rows."""

import pytest

from sluice.cli.backup.holdings import Holding, Holdings

WHOLE = ("original", "chunks/00000", "complete")


def holdings(state: str, level: str = "internal", generation: int = 2) -> Holdings:
    row = {("acme", "one"): Holding(level, state, generation)}
    return Holdings(documents=row, fixes=row)


def kept(rows: Holdings, *paths: str) -> list[str]:
    return [path for path in paths if rows.keeps(path)]


BEFORE, NOW, LATER = (f"internal/acme/documents/one/{generation}/complete" for generation in (1, 2, 3))
BELOW = "external/acme/documents/one/1/complete"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("done", [NOW]),
        ("pending", [BELOW, BEFORE, NOW]),  # it is carried over from there, or still found until the new one is
        ("failed", [BELOW, BEFORE, NOW]),
        ("deleting", []),
    ],
)
def test_a_document_keeps_what_its_row_can_go_on_with(state: str, expected: list[str]) -> None:
    assert kept(holdings(state), BELOW, BEFORE, NOW, LATER) == expected


def test_what_a_document_was_at_another_level_is_left_out_once_it_is_done() -> None:
    rows = holdings("done")
    assert not rows.keeps("external/acme/documents/one/2/complete")
    assert not rows.keeps("internal/other/documents/one/2/complete")


@pytest.mark.parametrize(("state", "expected"), [("done", ["1", "2"]), ("deleting", ["1", "2", "3"])])
def test_the_mark_of_a_deletion_that_came_later_is_left_out(state: str, expected: list[str]) -> None:
    marks = [f"external/acme/generations/one/{number}" for number in (1, 2, 3)]
    assert [path[-1] for path in kept(holdings(state), *marks)] == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [("active", ["taught"]), ("pending", ["taught"]), ("withdrawing", ["withdrawn"]), ("failed", [])],
)
def test_a_fix_keeps_what_its_state_means(state: str, expected: list[str]) -> None:
    paths = [f"internal/acme/fixes/one/{name}" for name in ("taught", "withdrawn")]
    assert [path.rpartition("/")[2] for path in kept(holdings(state), *paths)] == expected
    assert kept(holdings(state, "external"), *paths) == []


def test_blobs_of_another_use_are_kept() -> None:
    assert holdings("done").keeps("internal/acme/elsewhere/one")


def test_only_what_a_row_says_is_there_counts_as_lacking() -> None:
    documents = {("acme", name): Holding("internal", state, 1) for name, state in (("a", "done"), ("b", "pending"))}
    fixes = {("acme", name): Holding("external", state) for name, state in (("c", "active"), ("d", "withdrawing"))}
    rows = Holdings(documents=documents, fixes=fixes)
    assert list(rows.lacking([])) == ["internal/acme/documents/a/1", "external/acme/fixes/c"]
    there = [f"internal/acme/documents/a/1/{name}" for name in WHOLE]
    assert list(rows.lacking([*there, "external/acme/fixes/c/taught"])) == []
