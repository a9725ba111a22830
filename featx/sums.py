"""Ridge and shrunken centroids from sums over blocks of rows: all that they need of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from sklearn.utils.class_weight import compute_class_weight

from featx.arrays import Labels
from featx.storage.blocks import Blocks, average_classes

Sums = npt.NDArray[np.float64]


def solve_ridge(
    X: Blocks, y: Labels, grid: Sequence[float], class_weight: str | None = None
) -> Iterator[tuple[Sums, Sums]]:
    """What scikit-learn's RidgeClassifier finds, for each alpha, from one eigendecomposition.

    With weighted rows, columns and targets ±1 centred by their weighted means the coefficients are
    (XᵀX + alpha)^-1 Xᵀy: with XᵀX = V · diag(s) · Vᵀ that is V · diag(1/(s + alpha)) · Vᵀ Xᵀy.

    Parameters
    ----------
    X : Blocks of shape (n_samples, n_features)
        Centred columns: the weighted mean, which is taken off the sums, is small then.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    grid : sequence of float
        Values of alpha.
    class_weight : {"balanced"}, optional

    Yields
    ------
    coef : ndarray of shape (n_classes, n_features), of two classes (1, n_features)
    intercept : ndarray of shape (n_classes,), of two classes (1,)
    """
    counts = np.bincount(y)
    weight = compute_class_weight(class_weight, classes=np.arange(len(counts)), y=y)
    root = np.sqrt(weight)
    squares = np.zeros((X.shape[1], X.shape[1]))
    for here, block in X:
        weighted = block * root[y[here], None]  # float64
        squares += weighted.T @ weighted
    each = weight * counts  # what the rows of each class weigh
    total = each.sum()
    by_class = average_classes(X, y) * each[:, None]
    mean = by_class.sum(axis=0) / total
    target = 2 * each / total - 1  # its mean
    products = 2 * by_class - (1 + target)[:, None] * by_class.sum(axis=0)
    squares -= np.outer(total * mean, mean)
    s, V = eigh(squares, overwrite_a=True)
    if len(counts) == 2:
        products, target = products[1:], target[1:]
    rotated = products @ V
    for alpha in grid:
        coef = (rotated / (np.maximum(s, 0) + alpha)) @ V.T
        yield coef, target - coef @ mean


def shrink_centroids(X: Blocks, y: Labels, grid: Sequence[float]) -> Iterator[Sums]:
    """The centroids of scikit-learn's NearestCentroid for each threshold, 0 for the plain means.

    Tibshirani et al. 2002: how far a class's mean is from that of all, in units of the feature's
    deviation within the classes plus the median of those, shrinks by the threshold. Features that
    never vary within a class stay as they are.

    Parameters
    ----------
    X, y
        See `solve_ridge`; the columns need not be centred.
    grid : sequence of float

    Yields
    ------
    ndarray of shape (n_classes, n_features)
    """
    plain = average_classes(X, y)
    counts = np.bincount(y)
    squares, varies = np.zeros(X.shape[1]), np.zeros(X.shape[1], dtype=bool)
    if any(grid):
        for here, block in X:
            off = plain[y[here]]
            off -= block
            varies |= off.any(axis=0)
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
