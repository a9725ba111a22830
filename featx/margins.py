"""Linear heads whose scores are no logits: support vectors, ridge, nearest centroid.

All of them are scikit-learn's, or of Blocks what scikit-learn's would be by the sums of
`sums`. What they give becomes probabilities by one temperature, which held-out images decide.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC

from featx.arrays import Labels
from featx.config import MAX_ITER
from featx.errors import BudgetError
from featx.search import LinearFit, Search, search_grid, search_in_span, spread_classes
from featx.storage.blocks import Blocks, Samples, average_classes
from featx.sums import shrink_centroids, solve_ridge


def search_svm(
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    class_weight: str | None = None,
    origin: Labels | None = None,
) -> Search:
    """Choose C and fit a linear support vector machine, one class against the rest.

    Squared hinge, by liblinear's dual coordinate descent on the rows' span around their mean; the
    columns are centred since liblinear penalises the intercept.

    Parameters
    ----------
    X, y, val, seed, origin
        See `search_grid`.
    grid : sequence of float
        Ascending values of C.
    class_weight : {"balanced"}, optional

    Raises
    ------
    BudgetError
        X is Blocks: liblinear needs all rows at hand.
    """
    if isinstance(X, Blocks):
        raise BudgetError("svm cannot read its features in blocks: take logreg or ridge")

    def make(C: float) -> Any:
        return LinearSVC(
            C=C, dual=True, class_weight=class_weight, max_iter=MAX_ITER, random_state=seed
        )

    return _search_linear(make, X, y, val, grid, default=0.01, seed=seed, origin=origin)


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
    X, y, val, seed, class_weight, origin
        See `search_svm`.
    grid : sequence of float
        Descending values of alpha: from the simplest.
    """

    def make(alpha: float) -> Any:
        return RidgeClassifier(alpha=alpha, class_weight=class_weight)

    def fit_blocks(X: Blocks, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        for coef, intercept in solve_ridge(X, y, grid, class_weight):
            yield LinearFit(*spread_classes(coef, intercept))

    return _search_linear(
        make, X, y, val, grid, default=1000.0, seed=seed, origin=origin, fit_blocks=fit_blocks
    )


def search_centroid(
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    origin: Labels | None = None,
) -> Search:
    """Choose how far the classes' means shrink, and fit the nearest of them.

    The squared distance to a mean m is |x|² - 2 m·x + |m|², and |x|² is the same for all classes:
    the scores 2 m·x - |m|² are linear.

    Parameters
    ----------
    X, y, val, seed, origin
        See `search_grid`.
    grid : sequence of float
        Thresholds of shrinking (Tibshirani et al. 2002), 0 for none; descending.
    """

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        if isinstance(X, Blocks):
            for means in shrink_centroids(X, y, grid):
                yield LinearFit(2 * means, -(means**2).sum(axis=1))
            return
        X = X.astype(np.float64)
        plain = average_classes(X, y)
        # Shrinking divides by a feature's deviation within the classes.
        varies = (plain[y] != X).any(axis=0)
        for threshold in grid:
            means = plain.copy()
            if threshold and varies.any():
                shrunk = NearestCentroid(shrink_threshold=threshold).fit(X[:, varies], y)
                means[:, varies] = shrunk.centroids_
            yield LinearFit(2 * means, -(means**2).sum(axis=1))

    return search_grid(
        fit_path, X, y, val, grid, default=0.0, seed=seed, tempered=True, origin=origin
    )


def _search_linear(
    make: Callable[[float], Any],
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    *,
    default: float,
    seed: int,
    origin: Labels | None,
    fit_blocks: Callable[[Blocks, Labels, Sequence[float]], Iterator[LinearFit]] | None = None,
) -> Search:
    """Search for an estimator of scikit-learn's with coef_ and intercept_, in the rows' span."""

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        if isinstance(X, Blocks):
            assert fit_blocks is not None
            yield from fit_blocks(X, y, grid)
            return
        for value in grid:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                estimator = make(value).fit(X, y)
            converged = not any(issubclass(w.category, ConvergenceWarning) for w in said)
            for warning in said:
                if not issubclass(warning.category, ConvergenceWarning):
                    warnings.warn(str(warning.message), warning.category, stacklevel=2)
            coef, intercept = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
            n_iter = int(np.max(estimator.n_iter_ if estimator.n_iter_ is not None else 0))
            yield LinearFit(*spread_classes(coef, intercept), converged, n_iter)

    return search_in_span(
        fit_path, X, y, val, grid, default=default, seed=seed, tempered=True, origin=origin
    )
