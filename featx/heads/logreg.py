"""Logistic regression over a grid of penalties."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from featx.arrays import Labels, Matrix
from featx.config import C_GRID, MAX_ITER, TOLERANCE, TRIAL_C
from featx.heads.kind import Grid, Kind, Learned, Memory, Size
from featx.heads.logreg_blocks import fit_blocks, limit_scipy
from featx.heads.search import (
    LinearFit,
    Search,
    Task,
    Way,
    choose,
    search_grid,
    spread_classes,
    stay_in_span,
)
from featx.storage.blocks import Blocks, Samples


def search_logreg(task: Task) -> Search:
    """Choose C and fit logistic regression on all of X, y.

    The search runs on centred columns: the intercept is not penalised, so a shift of X moves the
    intercept and nothing else, while L-BFGS needs some twenty times fewer steps on ResNet50's
    features, none of which is ever negative. With fewer rows than columns it also runs in the
    rows' own span; see `span_rows`. Of Blocks scikit-learn cannot learn it: there
    `fit_blocks` finds the same optimum.

    Parameters
    ----------
    task : Task
        With ascending values of C.

    Returns
    -------
    Search
        Its fit is a `LinearFit` of X's own columns.
    """
    return search_grid(find_way(task), task)


def find_way(task: Task) -> Way:
    """How it goes through its grid; see `search_logreg`."""

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        yield from fit_penalties(X, y, grid, task.class_weight)

    def try_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        if isinstance(X, Blocks):
            yield from fit_path(X, y, grid)
        else:
            yield from _try_path(X, y, grid, task.class_weight)

    return stay_in_span(Way(fit_path=fit_path, try_path=try_path, default=1.0, ends=True))


def fit_penalties(
    X: Samples, y: Labels, grid: Sequence[float], class_weight: str | None = None
) -> Iterator[LinearFit]:
    """Fit for each C of an ascending grid, each starting from the one before; X is centred."""
    if not isinstance(X, Blocks):
        yield from _fit_path(X, y, grid, class_weight)
        return
    fits = fit_blocks(X, y, grid, class_weight, max_iter=MAX_ITER, tolerance=TOLERANCE)
    for coef, intercept, converged, n_iter in fits:
        yield LinearFit(*spread_classes(coef, intercept), converged, n_iter)


def _try_path(
    X: Matrix, y: Labels, grid: Sequence[float], class_weight: str | None
) -> Iterator[LinearFit]:
    """Fit for each C of an ascending grid as well as choosing asks for, in float32.

    Each starts where the line through the last two, by log C, leads, and ends at a slope that
    leaves about as much of the loss to gain at each C: with the penalty |W|² / (2 C n) a slope g
    leaves at most C n |g|² / 2. Both together make the path some four times shorter.
    """
    model = LogisticRegression(max_iter=MAX_ITER, warm_start=True, class_weight=class_weight)
    X32 = X.astype(np.float32, copy=False)
    passed: list[tuple[float, Matrix, Matrix]] = []
    for C in grid:
        if len(passed) == 2:
            (C0, *older), (C1, *newer) = passed
            ahead = np.float32(np.log(C / C1) / np.log(C1 / C0))
            model.coef_, model.intercept_ = (
                new + ahead * (new - old) for old, new in zip(older, newer, strict=True)
            )
        tolerance = TOLERANCE * max(1.0, TRIAL_C / C) ** 0.5
        with limit_scipy(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=C, tol=tolerance).fit(X32, y)
        passed = [*passed[-1:], (C, model.coef_, model.intercept_)]
        yield LinearFit(*spread_classes(model.coef_.copy(), model.intercept_.copy()))


def _fit_path(
    X: Matrix, y: Labels, grid: Sequence[float], class_weight: str | None
) -> Iterator[LinearFit]:
    """Fit for each C of an ascending grid, each starting from the one before.

    L-BFGS goes most of the way in float32, which moves half the bytes, and the rest, often no step
    at all, in float64: what is kept meets the tolerance in float64.
    """
    rough, exact = (
        LogisticRegression(
            max_iter=MAX_ITER, tol=TOLERANCE, warm_start=True, class_weight=class_weight
        )
        for _ in range(2)
    )
    X32, X64 = X.astype(np.float32), X.astype(np.float64, copy=False)
    for C in grid:
        with limit_scipy(), warnings.catch_warnings():
            # That it stops short of the tolerance, where rounding ends it, is what `exact` mends.
            warnings.simplefilter("ignore", ConvergenceWarning)
            rough.set_params(C=C).fit(X32, y)
        exact.coef_ = rough.coef_.astype(np.float64)
        exact.intercept_ = rough.intercept_.astype(np.float64)
        with limit_scipy(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            exact.set_params(C=C).fit(X64, y)
        for warning in said:
            warnings.warn(str(warning.message), warning.category, stacklevel=2)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in said)
        coef, intercept = exact.coef_.copy(), exact.intercept_.copy()
        n_iter = int(rough.n_iter_.max() + exact.n_iter_.max())
        rough.coef_ = coef.astype(np.float32)
        rough.intercept_ = intercept.astype(np.float32)
        # Of two classes: the sigmoid of z is the softmax of (0, z).
        yield LinearFit(*spread_classes(coef, intercept), converged, n_iter)


def _estimate_blocks(size: Size) -> int:
    """The covariance with its decomposition; places and gradients that L-BFGS remembers."""
    return 16 * size.features**2 + 8 * size.classes * size.features * 32


KIND = Kind(
    name="logreg",
    train=lambda task: Learned(search_logreg(task)),
    choose=lambda task: choose(find_way(task), task),
    grid=Grid("C", C_GRID, thinned=4, ends=True),
    weighed=True,
    logits=True,
    settings=lambda options: {"max_iter": MAX_ITER, "tol": TOLERANCE},
    # Thrice what the newest scikit-learn takes: the oldest that is admitted does.
    memory=Memory(copies=44, tried=20, blocks=_estimate_blocks),
)
