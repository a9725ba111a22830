"""Logistic regression over a grid of penalties, and the choice among them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import ThreadpoolController

from featx.config import FOLDS, MAX_ITER, TOLERANCE
from featx.metrics import log_loss

Matrix = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LogregSearch:
    """The outcome of `search_logreg`: the choice, and coefficients for every class."""

    C: float
    coef: Matrix
    intercept: Matrix
    converged: bool
    n_iter: int
    chosen_by: str


def search_logreg(
    X: Matrix, y: Labels, val: tuple[Matrix, Labels] | None, grid: list[float], seed: int = 0
) -> LogregSearch:
    """Choose C and fit logistic regression on all of X, y.

    The search runs on centred columns: the intercept is not penalised, so a shift of X moves the
    intercept and nothing else, while L-BFGS needs some twenty times fewer steps on ResNet50's
    features, none of which is ever negative. With fewer rows than columns it also runs in the
    rows' own span: the L2 penalty keeps the optimum there, so solving on U·S of the singular value
    decomposition X = U·S·Vᵀ and mapping back by V gives the same classifier (Hastie and Tibshirani
    2004) with far fewer unknowns.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    val : (X, y) or None
        None: stratified folds of X, y choose. With a class of one sample there are no folds, and
        the grid's value nearest to scikit-learn's default, 1, is taken.
    grid : list of float
        Ascending.
    seed : int
        Of the folds.

    Returns
    -------
    LogregSearch
    """
    mean = X.mean(axis=0, dtype=np.float64)
    X = X - mean
    val = (val[0] - mean, val[1]) if val is not None else None
    basis = None
    if X.shape[0] < X.shape[1]:
        U, S, Vt = np.linalg.svd(X, full_matrices=False)
        basis = Vt.T
        X = U * S
        val = (val[0] @ basis, val[1]) if val is not None else None
    points = list(_fit_path(X, y, grid))
    smallest = int(np.bincount(y).min())
    if len(grid) == 1:
        chosen, chosen_by = 0, "given"
    elif val is not None:
        chosen_by = "val"
        chosen = _choose(grid, [[_judge(point, *val) for point in points]])
    elif smallest > 1:
        chosen_by = "folds of train"
        folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
        chosen = _choose(
            grid,
            [
                [_judge(point, X[b], y[b]) for point in _fit_path(X[a], y[a], grid)]
                for a, b in folds.split(X, y)
            ],
        )
    else:
        chosen_by = "default: a class has one image, so there are no folds"
        chosen = int(np.argmin(np.abs(np.log(grid))))
    point = points[chosen]
    coef = point.coef if basis is None else point.coef @ basis.T
    intercept = point.intercept - coef @ mean
    return LogregSearch(grid[chosen], coef, intercept, point.converged, point.n_iter, chosen_by)


@dataclass(frozen=True)
class _Point:
    """One fit of the path, with a row of coefficients for every class."""

    coef: Matrix
    intercept: Matrix
    n_iter: int
    converged: bool


def _fit_path(X: Matrix, y: Labels, grid: list[float]) -> Iterator[_Point]:
    """Fit for each C of an ascending grid, each starting from the one before.

    L-BFGS goes most of the way in float32, which moves half the bytes, and the rest, often no step
    at all, in float64: what is kept meets the tolerance in float64.
    """
    rough, exact = (
        LogisticRegression(max_iter=MAX_ITER, tol=TOLERANCE, warm_start=True) for _ in range(2)
    )
    X32, X64 = X.astype(np.float32), X.astype(np.float64, copy=False)
    for C in grid:
        with _one_thread_for_scipy(), warnings.catch_warnings():
            # That it stops short of the tolerance, where rounding ends it, is what `exact` mends.
            warnings.simplefilter("ignore", ConvergenceWarning)
            rough.set_params(C=C).fit(X32, y)
        exact.coef_ = rough.coef_.astype(np.float64)
        exact.intercept_ = rough.intercept_.astype(np.float64)
        with _one_thread_for_scipy(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            exact.set_params(C=C).fit(X64, y)
        for warning in said:
            warnings.warn(str(warning.message), warning.category, stacklevel=2)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in said)
        coef, intercept = exact.coef_.copy(), exact.intercept_.copy()
        n_iter = int(rough.n_iter_.max() + exact.n_iter_.max())
        rough.coef_ = coef.astype(np.float32)
        rough.intercept_ = intercept.astype(np.float32)
        if len(coef) == 1:  # two classes: the sigmoid of z is the softmax of (0, z)
            coef = np.concatenate([np.zeros_like(coef), coef])
            intercept = np.concatenate([np.zeros_like(intercept), intercept])
        yield _Point(coef, intercept, n_iter, converged)


def _one_thread_for_scipy() -> AbstractContextManager[object]:
    """Keep scipy's BLAS, where it is not numpy's, to one thread.

    L-BFGS takes turns between the two at every step, and the idle threads of one take the cores
    from the other: on two cores a step on 600 x 600 numbers took 12 ms with them and 1.2 ms
    without, one on 12,000 x 2048 took 297 and 255 ms.
    """
    controller = ThreadpoolController()
    wheels = [
        library.filepath
        for library in controller.lib_controllers
        if any(part.startswith("scipy") for part in Path(library.filepath).parts[-3:-1])
    ]
    limiter: AbstractContextManager[object] = controller.select(filepath=wheels).limit(limits=1)
    return limiter


def _judge(point: _Point, X: Matrix, y: Labels) -> tuple[float, float]:
    """(accuracy, log-loss)."""
    probabilities = softmax(X @ point.coef.T + point.intercept, axis=1)
    return float((probabilities.argmax(axis=1) == y).mean()), log_loss(y, probabilities)


def _choose(grid: list[float], parts: list[list[tuple[float, float]]]) -> int:
    """Position in the grid: highest mean accuracy, then lowest mean log-loss, then smallest C."""
    means = np.mean(np.array(parts), axis=0)  # (n_grid, 2)
    return min(range(len(grid)), key=lambda i: (-means[i, 0], means[i, 1], grid[i]))
