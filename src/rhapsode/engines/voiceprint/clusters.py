"""Which voices are one: agglomerative clustering of voice vectors, of any number of them.

The likeness of two clusters is the mean cosine between their members (average linkage). With
vectors of length 1 that is the product of the clusters' sums over the product of their
weights, so a cluster can stand for its members exactly, and clustering in portions costs
memory for one portion only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import Canceled, Canceling

PORTION = 1000
"""Vectors that are compared with each other at once."""

_TIGHTER = 0.12
"""Within a portion only what is this much more alike than needed is joined, so that what
belongs elsewhere can still go there."""

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many clusters there may be."""

    least: int = 1
    most: int | None = None


def cluster(
    vectors: Matrix,
    weights: Matrix,
    alike: float,
    bounds: Bounds,
    canceled: Canceling = lambda: False,
) -> Labels:
    """A cluster for each vector (of length 1), numbered from 0 without gaps.

    Clusters whose mean cosine is at least `alike` are one, unless the bounds forbid it.
    Raises Canceled once it is called off.
    """
    labels = np.arange(len(vectors))
    sums, totals = vectors * weights[:, None], weights.astype(np.float64)
    if len(vectors) > PORTION:
        labels = _portioned(sums, totals, alike, bounds.least, canceled)
        sums, totals = _summed(sums, totals, labels)
    return _joined(sums, totals, alike, bounds, canceled)[labels]


def _portioned(
    sums: Matrix, totals: Matrix, alike: float, least: int, canceled: Canceling
) -> Labels:
    """Close groups within portions; again over the groups while they are too many."""
    labels = np.arange(len(sums))
    while len(sums) > PORTION:
        found = np.zeros(len(sums), np.int64)
        first = 0
        for part in _portions(len(sums)):
            bounds = Bounds(least=min(max(least, 2), part.stop - part.start))
            found[part] = first + _joined(
                sums[part], totals[part], alike + _TIGHTER, bounds, canceled
            )
            first = int(found[part].max()) + 1
        labels = found[labels]
        if first > 0.9 * len(sums):
            alike -= 0.1
        sums, totals = _summed(sums, totals, found)
    return labels


def _portions(count: int) -> Iterator[slice]:
    for start in range(0, count, PORTION):
        yield slice(start, min(start + PORTION, count))


def _summed(sums: Matrix, totals: Matrix, labels: Labels) -> tuple[Matrix, Matrix]:
    count = int(labels.max()) + 1
    out, weights = np.zeros((count, sums.shape[1])), np.zeros(count)
    np.add.at(out, labels, sums)
    np.add.at(weights, labels, totals)
    return out, weights


def _joined(
    sums: Matrix, totals: Matrix, alike: float, bounds: Bounds, canceled: Canceling
) -> Labels:
    """Joins the two most alike clusters for as long as that is wanted."""
    owner = np.arange(len(sums))
    sums, totals = sums.copy(), totals.copy()
    likeness = (sums @ sums.T) / np.outer(totals, totals)
    np.fill_diagonal(likeness, -np.inf)
    for left in range(len(sums), max(1, bounds.least), -1):
        if canceled():
            raise Canceled
        one, other = np.unravel_index(int(likeness.argmax()), likeness.shape)
        too_many = bounds.most is not None and left > bounds.most
        if likeness[one, other] < alike and not too_many:
            break
        sums[one] += sums[other]
        totals[one] += totals[other]
        owner[owner == other] = one
        row = (sums @ sums[one]) / (totals * totals[one])
        row[np.isneginf(likeness[one])] = -np.inf
        likeness[one], likeness[:, one] = row, row
        likeness[other], likeness[:, other] = -np.inf, -np.inf
    return np.unique(owner, return_inverse=True)[1]


def centroids(vectors: Matrix, weights: Matrix, labels: Labels) -> Matrix:
    """The direction of each cluster, at length 1."""
    sums, _ = _summed(vectors * weights[:, None], weights, labels)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))
