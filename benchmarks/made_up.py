"""Vectors as embeddings of documents lie: in clusters, each near others of its subject. Seeded, so always the same."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sluice.access import Level

_ROWS_A_SUBJECT = 200
_SPREAD = 0.8


@dataclass(frozen=True)
class Corpus:
    """Row numbers name the rows; `external` are the numbers of those that everybody may see."""

    vectors: Any
    external: frozenset[int]
    questions: Any

    def level(self, row: int) -> Level:
        return Level.EXTERNAL if row in self.external else Level.INTERNAL

    def nearest(self, clearance: Level, limit: int) -> list[set[int]]:
        """For each question, by looking at every row that the clearance may see."""
        everything = clearance is Level.INTERNAL
        rows = np.arange(len(self.vectors)) if everything else np.array(sorted(self.external))
        visible = self.vectors[rows]
        return [{int(row) for row in rows[np.argsort(-(visible @ asked))[:limit]]} for asked in self.questions]


def make(rows: int, dimensions: int, share: float, questions: int, seed: int) -> Corpus:
    """EXTERNAL rows lie scattered over all subjects, which is the hard case for a filter."""
    random = np.random.default_rng(seed)
    subjects = _unit(random.normal(size=(rows // _ROWS_A_SUBJECT + 8, dimensions)))

    def scattered(count: int) -> Any:
        around = subjects[random.integers(len(subjects), size=count)]
        return _unit(around + random.normal(size=(count, dimensions)) * (_SPREAD / dimensions**0.5))

    external = random.permutation(rows)[: max(1, round(rows * share))]
    return Corpus(scattered(rows), frozenset(map(int, external)), scattered(questions))


def _unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
