"""Vectors turned by a secret matrix."""

from pathlib import Path

import numpy as np
import pytest

from sluice.access import Level
from sluice.errors import AccessDeniedError, DataKeyUnavailableError
from sluice.index.turning import Turning, orthogonal
from tests.support.identity import passport
from tests.support.keys import KEYS, keyring

INTERNAL, EXTERNAL = Level.INTERNAL, Level.EXTERNAL
SCOPE = passport(clearance=INTERNAL).scope
VECTORS = np.random.default_rng(7).standard_normal((300, 384)).astype(np.float32)


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


async def test_turned_vectors_keep_their_distances_and_so_their_neighbours(tmp_path: Path) -> None:
    turned = np.asarray(await Turning(keyring(tmp_path)).turn(SCOPE, INTERNAL, VECTORS.tolist(), make=True))
    plain, after = cosines(VECTORS), cosines(turned)
    assert np.abs(plain - after).max() < 1e-5
    assert (np.argsort(-plain, axis=1)[:, :10] == np.argsort(-after, axis=1)[:, :10]).all()
    assert np.abs(VECTORS - turned).max(axis=1).min() > 1


async def test_each_tenant_and_level_is_turned_elsewhere_and_every_process_alike(tmp_path: Path) -> None:
    one, two = VECTORS[:1].tolist(), passport(tenant="tenant-b", clearance=INTERNAL).scope
    turning = Turning(keyring(tmp_path))
    places = ((SCOPE, INTERNAL), (SCOPE, EXTERNAL), (two, INTERNAL))
    turned = [await turning.turn(*place, one, make=True) for place in places]
    assert len({tuple(row[0][:4]) for row in turned}) == 3
    assert await Turning(keyring(tmp_path)).turn(SCOPE, INTERNAL, one, make=False) == turned[0]


async def test_without_the_secret_or_the_key_of_the_level_nothing_is_turned(tmp_path: Path) -> None:
    turning = Turning(keyring(tmp_path))
    with pytest.raises(DataKeyUnavailableError):
        await turning.turn(SCOPE, INTERNAL, [[1.0, 0.0]], make=False)
    await turning.turn(SCOPE, INTERNAL, [[1.0, 0.0]], make=True)
    lane = Turning(keyring(tmp_path, {EXTERNAL: KEYS[EXTERNAL]}))
    with pytest.raises(AccessDeniedError):
        await lane.turn(SCOPE, INTERNAL, [[1.0, 0.0]], make=False)
    with pytest.raises(AccessDeniedError):
        await turning.turn(passport(clearance=EXTERNAL).scope, INTERNAL, [[1.0, 0.0]], make=False)


def test_the_matrix_of_a_secret_never_changes_and_is_orthogonal() -> None:
    """Stored vectors depend on it: another matrix would mean that every index has to be rebuilt."""
    matrix = orthogonal(bytes(range(32)), 4)
    assert np.allclose(matrix @ matrix.T, np.eye(4), atol=1e-6)
    assert np.allclose(matrix[0], [-0.66504025, -0.74249768, -0.02485921, -0.07616230], atol=1e-6)


def test_signs_are_spread_as_the_uniform_distribution_over_rotations_wants() -> None:
    """Without R's diagonal made positive the first column's first entry would have one sign in all of them."""
    first = np.array([orthogonal(n.to_bytes(32, "big"), 3)[0, 0] for n in range(200)])
    assert 70 < (first > 0).sum() < 130
    assert abs(first.mean()) < 0.15
