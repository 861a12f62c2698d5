"""The benchmark of isolation, as small as it can be: it is right, whatever it measures."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from benchmarks.indexes import OneCollection, ServerALevel
from benchmarks.isolation import DIMENSIONS, SEED, measure
from benchmarks.made_up import make
from sluice.access import Level

ROWS, SHARE = 600, 0.05


def test_both_ways_find_what_is_near_and_nothing_that_the_asker_may_not_see(tmp_path: Path) -> None:
    corpus = make(ROWS, DIMENSIONS, SHARE, 8, SEED)
    with ExitStack() as stack:
        contenders = [ServerALevel(tmp_path, stack), OneCollection(tmp_path, stack)]
        figures = asyncio.run(measure([*contenders], corpus, rounds=1, askers=4))
    assert len(figures) == 2
    for each in figures.values():
        for askers in ("external_askers", "internal_askers"):
            assert each[askers]["outside"] == 0
            assert each[askers]["recall_at_10"] > 0.9
            assert 0 < each[askers]["p50_ms"] <= each[askers]["p95_ms"]
        assert each["server_mb"] > 0


def test_the_truth_is_what_lies_nearest_among_the_visible_rows() -> None:
    """Else the recall would be measured against anything."""
    corpus = make(ROWS, DIMENSIONS, SHARE, 2, SEED)
    assert len(corpus.external) == ROWS * SHARE
    for clearance in Level:
        visible = [row for row in range(ROWS) if corpus.level(row) in clearance.readable]
        for question, nearest in zip(corpus.questions, corpus.nearest(clearance, 10), strict=True):
            closeness = {row: float(corpus.vectors[row] @ question) for row in visible}
            assert nearest == set(sorted(visible, key=lambda row: -closeness[row])[:10])
