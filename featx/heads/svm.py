"""A linear support vector machine, one class against the rest: what scikit-learn's LinearSVC finds.

liblinear goes through one class after the other and one row after the other, which takes minutes
for a hundred classes. Here all classes are one problem, whose steps are two products of matrices.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight

from featx.arrays import Labels, Matrix
from featx.config import MAX_ITER, SVM_GRID, TOLERANCE, TRIAL_TOLERANCE
from featx.errors import BudgetError
from featx.heads.kind import Grid, Kind, Learned, Memory
from featx.heads.logreg_blocks import limit_scipy
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
from featx.storage.blocks import Blocks


class SquaredHinge:
    """The objective of scikit-learn's LinearSVC, of all classes at once, divided by C n_samples.

    (|W|² + |b|²) / (2 C n) + the mean of the weighted max(0, 1 - t (W x + b))², t = ±1: liblinear
    penalises the intercept. Of two classes W has one row, of more one for each. As with liblinear,
    a class's weight is that of its own rows, and those of the rest weigh 1 where there are more
    than two classes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Products are taken in its precision.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    class_weight : {"balanced"}, optional
    """

    def __init__(self, X: Matrix, y: Labels, class_weight: str | None = None) -> None:
        self.X, n_classes = X, int(y.max()) + 1
        own = y[:, None] == np.arange(n_classes)  # (n_samples, n_classes)
        weight = compute_class_weight(class_weight, classes=np.arange(n_classes), y=y)
        weights = np.where(own, weight, 1.0)
        if n_classes == 2:
            own, weights = own[:, 1:], weight[y][:, None]
        self.sides = np.where(own, 1, -1).astype(X.dtype)
        self.weights = (weights / len(y)).astype(X.dtype)
        self.shape = own.shape[1], X.shape[1] + 1

    def evaluate(
        self, place: npt.NDArray[np.float64], penalty: float
    ) -> tuple[float, npt.NDArray[np.float64]]:
        """Value and gradient where W, b, in rows, are `place`; penalty is 1 / (C n_samples)."""
        rows = place.reshape(self.shape)
        W = rows[:, :-1].astype(self.X.dtype)
        short = self.X @ W.T
        short += rows[:, -1].astype(self.X.dtype)
        short *= self.sides
        np.subtract(1, short, out=short)
        np.maximum(short, 0, out=short)
        slope = short * self.weights
        loss = float(np.vdot(slope, short))
        slope *= self.sides
        gradient = np.empty(self.shape)
        gradient[:, :-1] = slope.T @ self.X
        gradient[:, -1] = slope.sum(axis=0)
        gradient *= -2
        gradient += penalty * rows
        return loss + penalty / 2 * float(np.vdot(rows, rows)), gradient.ravel()


def fit_margins(
    X: Matrix, y: Labels, grid: Sequence[float], class_weight: str | None, tolerance: float
) -> Iterator[LinearFit]:
    """Fit for each C of an ascending grid, each starting from the one before.

    A fit ends where no component of the gradient of the mean loss is larger than the tolerance.
    """
    objective = SquaredHinge(X, y, class_weight)
    place = np.zeros(objective.shape).ravel()
    for C in grid:
        penalty = 1 / (C * len(y))
        with limit_scipy():
            done: Any = minimize(
                objective.evaluate, place, (penalty,), jac=True, method="L-BFGS-B",
                options={"maxiter": MAX_ITER, "maxfun": 2 * MAX_ITER, "gtol": tolerance,
                         "ftol": 64 * np.finfo(float).eps},
            )  # fmt: skip
        place = done.x
        converged = bool(np.abs(done.jac).max() <= 10 * tolerance)
        if not converged and X.dtype == np.float64:
            warnings.warn(
                f"the support vector machine with C = {C:.3g} stopped after {done.nit} steps at a "
                f"slope of {np.abs(done.jac).max():.1e}; {tolerance:.1e} was asked for",
                ConvergenceWarning,
                stacklevel=2,
            )
        rows = place.reshape(objective.shape)
        coef, intercept = rows[:, :-1].copy(), rows[:, -1].copy()
        yield LinearFit(*spread_classes(coef, intercept), converged, int(done.nit))


def search_svm(task: Task) -> Search:
    """Choose C and fit a linear support vector machine, one class against the rest.

    Squared hinge on the rows' span around their mean; the columns are centred since the intercept
    is penalised.

    Parameters
    ----------
    task : Task
        With ascending values of C.

    Raises
    ------
    BudgetError
        X is Blocks: all rows are needed at hand.
    """
    return search_grid(find_way(task), task)


def find_way(task: Task) -> Way:
    """How it goes through its grid; see `search_svm`."""
    if isinstance(task.X, Blocks):
        raise BudgetError("svm cannot read its features in blocks: take logreg or ridge")

    def fit_path(X: Matrix, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        yield from fit_margins(X.astype(np.float64), y, grid, task.class_weight, TOLERANCE)

    def try_path(X: Matrix, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        yield from fit_margins(
            X.astype(np.float32, copy=False), y, grid, task.class_weight, TRIAL_TOLERANCE
        )

    way = Way(fit_path=fit_path, try_path=try_path, default=0.01, tempered=True, ends=True)
    return stay_in_span(way)


KIND = Kind(
    name="svm",
    train=lambda task: Learned(search_svm(task)),
    choose=lambda task: choose(find_way(task), task),
    grid=Grid("C", SVM_GRID, thinned=4, ends=True),
    weighed=True,
    memory=Memory(copies=24, tried=4, blocks=None),
)
