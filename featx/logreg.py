"""Logistic regression over a grid of penalties."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from featx.config import MAX_ITER, TOLERANCE
from featx.search import LinearFit, Search, search_in_span, spread_classes

Matrix = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


def search_logreg(
    X: Matrix,
    y: Labels,
    val: tuple[Matrix, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    class_weight: str | None = None,
    calibrate: bool = False,
    origin: Labels | None = None,
) -> Search:
    """Choose C and fit logistic regression on all of X, y.

    The search runs on centred columns: the intercept is not penalised, so a shift of X moves the
    intercept and nothing else, while L-BFGS needs some twenty times fewer steps on ResNet50's
    features, none of which is ever negative. With fewer rows than columns it also runs in the
    rows' own span; see `featx.search.span_rows`.

    Parameters
    ----------
    X, y, val, seed, calibrate, origin
        See `featx.search.search_grid`.
    grid : sequence of float
        Ascending values of C.
    class_weight : {"balanced"}, optional
        See scikit-learn's LogisticRegression.

    Returns
    -------
    Search
        Its fit is a `LinearFit` of X's own columns.
    """

    def fit_path(X: Matrix, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        return _fit_path(X, y, grid, class_weight)

    return search_in_span(
        fit_path, X, y, val, grid, default=1.0, seed=seed, calibrate=calibrate, origin=origin
    )


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
        # Of two classes: the sigmoid of z is the softmax of (0, z).
        yield LinearFit(*spread_classes(coef, intercept), converged, n_iter)


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
