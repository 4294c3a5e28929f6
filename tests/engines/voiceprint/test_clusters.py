import time

import numpy as np
import pytest

from rhapsode.engines.base import Canceled
from rhapsode.engines.voiceprint.clusters import Bounds, centroids, cluster


def _crowd(people: int, each: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around `people` directions, in turn, and whose they are."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(people, 64))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    owners = np.arange(people * each) % people
    vectors = middles[owners] + random.normal(0, 0.06, (len(owners), 64))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), owners


def _same(labels: np.ndarray, owners: np.ndarray) -> bool:
    pairs = set(zip(labels.tolist(), owners.tolist(), strict=True))
    return len(pairs) == len(set(labels.tolist())) == len(set(owners.tolist()))


@pytest.mark.parametrize(("people", "each"), [(1, 5), (2, 1), (5, 40), (30, 10)])
def test_each_direction_is_a_cluster(people: int, each: int) -> None:
    vectors, owners = _crowd(people, each)
    assert _same(cluster(vectors, np.ones(len(vectors)), 0.5, Bounds()), owners)


def test_more_vectors_than_a_portion_come_to_the_same() -> None:
    vectors, owners = _crowd(6, 700)
    assert _same(cluster(vectors, np.ones(len(vectors)), 0.5, Bounds()), owners)


def test_bounds_win_over_likeness() -> None:
    vectors, _ = _crowd(4, 10)
    ones = np.ones(len(vectors))
    for bounds, count in ((Bounds(most=2), 2), (Bounds(least=7), 7), (Bounds(3, 3), 3)):
        assert len(set(cluster(vectors, ones, 0.5, bounds).tolist())) == count


def test_no_more_clusters_than_vectors() -> None:
    vectors, _ = _crowd(3, 1)
    assert sorted(cluster(vectors, np.ones(3), 0.5, Bounds(least=30)).tolist()) == [0, 1, 2]


def test_weights_pull_a_centroid() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]])
    (middle,) = centroids(vectors, np.array([3.0, 1.0]), np.array([0, 0]))
    assert middle.tolist() == pytest.approx([3 / 10**0.5, 1 / 10**0.5])


def test_it_can_be_called_off() -> None:
    vectors, _ = _crowd(30, 30)
    with pytest.raises(Canceled):
        cluster(vectors, np.ones(len(vectors)), 0.5, Bounds(), lambda: True)


@pytest.mark.slow
def test_ten_hours_of_vectors_take_seconds() -> None:
    vectors, owners = _crowd(8, 2500)
    started = time.monotonic()
    assert _same(cluster(vectors, np.ones(len(vectors)), 0.5, Bounds()), owners)
    assert time.monotonic() - started < 60
