"""The nearest of the classes' means, which may shrink towards the mean of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestCentroid

from featx.arrays import Labels
from featx.config import CENTROID_GRID
from featx.heads.kind import Grid, Kind, Learned, Memory
from featx.heads.search import LinearFit, Search, Task, Way, choose, search_grid
from featx.storage.blocks import Blocks, Samples, average_classes


def search_centroid(task: Task) -> Search:
    """Choose how far the classes' means shrink, and fit the nearest of them.

    The squared distance to a mean m is |x|² - 2 m·x + |m|², and |x|² is the same for all classes:
    the scores 2 m·x - |m|² are linear.

    Parameters
    ----------
    task : Task
        With thresholds of shrinking (Tibshirani et al. 2002), 0 for none; descending.
    """
    return search_grid(find_way(task), task)


def find_way(task: Task) -> Way:
    """How it goes through its grid; see `search_centroid`."""

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        if isinstance(X, Blocks):
            for means in shrink_centroids(X, y, grid):
                yield LinearFit(2 * means, -(means**2).sum(axis=1))
            return
        X = X.astype(np.float64)
        plain = average_classes(X, y)
        # Shrinking divides by a feature's deviation within the classes.
        varies = (X[np.unique(y, return_index=True)[1]][y] != X).any(axis=0)
        for threshold in grid:
            means = plain.copy()
            if threshold and varies.any():
                shrunk = NearestCentroid(shrink_threshold=threshold).fit(X[:, varies], y)
                means[:, varies] = shrunk.centroids_
            yield LinearFit(2 * means, -(means**2).sum(axis=1))

    return Way(fit_path=fit_path, default=0.0, tempered=True)


def shrink_centroids(
    X: Blocks, y: Labels, grid: Sequence[float]
) -> Iterator[npt.NDArray[np.float64]]:
    """The centroids of scikit-learn's NearestCentroid for each threshold, 0 for the plain means.

    Tibshirani et al. 2002: how far a class's mean is from that of all, in units of the feature's
    deviation within the classes plus the median of those, shrinks by the threshold. Features that
    never vary within a class stay as they are.

    Parameters
    ----------
    X : Blocks of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    grid : sequence of float

    Yields
    ------
    ndarray of shape (n_classes, n_features)
    """
    plain = average_classes(X, y)
    counts = np.bincount(y)
    squares, varies = np.zeros(X.shape[1]), np.zeros(X.shape[1], dtype=bool)
    first = np.full_like(plain, np.nan)  # row of each class: a mean of equal values is rounded
    if any(grid):
        for here, block in X:
            new = [k for k in np.unique(y[here]) if np.isnan(first[k, 0])]
            first[new] = block[[int(np.argmax(y[here] == k)) for k in new]]
            varies |= (block != first[y[here]]).any(axis=0)
            off = plain[y[here]]
            off -= block
            squares += np.einsum("ij,ij->j", off, off)
    if not varies.any():
        yield from (plain for _ in grid)
        return
    within = np.sqrt(squares[varies] / (len(y) - len(counts)))
    mean = counts @ plain[:, varies] / len(y)
    unit = np.sqrt(1 / counts - 1 / len(y))[:, None] * (within + np.median(within))
    deviation = (plain[:, varies] - mean) / unit
    for threshold in grid:
        centroids = plain.copy()
        shrunk = np.sign(deviation) * np.maximum(np.abs(deviation) - threshold, 0)
        if threshold:
            centroids[:, varies] = mean + unit * shrunk
        yield centroids


KIND = Kind(
    name="centroid",
    train=lambda task: Learned(search_centroid(task)),
    choose=lambda task: choose(find_way(task), task),
    grid=Grid("shrink", CENTROID_GRID),
    memory=Memory(copies=41, tried=12),
)
