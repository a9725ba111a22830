"""Ridge: least squares on ±1 with an L2 penalty, of rows at hand or from sums over blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from sklearn.linear_model import RidgeClassifier
from sklearn.utils.class_weight import compute_class_weight

from featx.arrays import Labels
from featx.heads.search import LinearFit, Search, search_linear, spread_classes
from featx.storage.blocks import Blocks, Samples, average_classes

Sums = npt.NDArray[np.float64]


def search_ridge(
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    class_weight: str | None = None,
    origin: Labels | None = None,
) -> Search:
    """Choose alpha and fit least squares on ±1 with an L2 penalty, in closed form.

    Parameters
    ----------
    X, y, val, seed, origin
        See `search_grid`.
    grid : sequence of float
        Descending values of alpha: from the simplest.
    class_weight : {"balanced"}, optional
    """

    def make(alpha: float) -> Any:
        return RidgeClassifier(alpha=alpha, class_weight=class_weight)

    def fit_blocks(X: Blocks, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        for coef, intercept in solve_ridge(X, y, grid, class_weight):
            yield LinearFit(*spread_classes(coef, intercept))

    return search_linear(
        make, X, y, val, grid, default=1000.0, seed=seed, origin=origin, fit_blocks=fit_blocks
    )


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
