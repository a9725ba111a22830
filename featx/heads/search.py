"""One search for all heads: fit every value of a grid, let held-out images choose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold

from featx.arrays import Labels, Matrix
from featx.config import FOLDS
from featx.storage.blocks import Blocks, Samples, average_columns, gather
from featx.training.calibration import fit_temperature, judge_scores


class Fit(Protocol):
    """What training found, whatever the head."""

    @property
    def converged(self) -> bool:
        """False where it stopped short of the optimum."""

    @property
    def n_iter(self) -> int:
        """Steps; 0 where there are none."""

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """A score for every class, shape (n_samples, n_classes); the highest is predicted."""


FitPath = Callable[[Any, Labels, Sequence[float]], Iterable[Fit]]


@dataclass(frozen=True)
class LinearFit:
    """Scores that are linear in the features.

    Attributes
    ----------
    coef : ndarray of shape (n_classes, n_features)
    intercept : ndarray of shape (n_classes,)
    converged : bool
    n_iter : int
    """

    coef: Matrix
    intercept: Matrix
    converged: bool = True
    n_iter: int = 0

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """See `Fit`."""
        scores: npt.NDArray[np.float64] = X.astype(np.float64) @ self.coef.T + self.intercept
        return scores


def spread_classes(coef: Matrix, intercept: Matrix) -> tuple[Matrix, Matrix]:
    """A row for every class, where scikit-learn has one row for two classes: scores (0, z)."""
    if len(coef) > 1:
        return coef, intercept
    return np.concatenate([0 * coef, coef]), np.concatenate([0 * intercept, intercept])


@dataclass(frozen=True)
class Span:
    """The space that some rows span around their mean.

    Attributes
    ----------
    mean : ndarray of shape (n_features,), float64
    basis : ndarray of shape (n_features, n_dims) or None
        Orthonormal columns; None where the rows are not fewer than the features.
    """

    mean: npt.NDArray[np.float64]
    basis: npt.NDArray[np.float64] | None

    def project(self, X: Samples) -> Samples:
        """Rows' coordinates, shape (n_samples, n_dims)."""
        return X.map(self._project) if isinstance(X, Blocks) else self._project(X)

    def _project(self, X: Matrix) -> npt.NDArray[np.float64]:
        centred: npt.NDArray[np.float64] = X - self.mean
        return centred if self.basis is None else centred @ self.basis

    def restore(self, fit: LinearFit) -> LinearFit:
        """A linear fit of coordinates as one of features."""
        coef = fit.coef if self.basis is None else fit.coef @ self.basis.T
        return replace(fit, coef=coef, intercept=fit.intercept - coef @ self.mean)


def span_rows(X: Samples) -> Span:
    """Find the span of rows; of Blocks only their mean.

    An L2 penalty keeps the optimum of a linear classifier in the span of its rows, so that with
    fewer rows than columns solving there, on U·S of the singular value decomposition X = U·S·Vᵀ,
    and mapping back by V gives the same classifier (Hastie and Tibshirani 2004) with far fewer
    unknowns.
    """
    mean = average_columns(X)
    if isinstance(X, Blocks) or X.shape[0] >= X.shape[1]:
        return Span(mean, None)
    _, _, Vt = np.linalg.svd(X - mean, full_matrices=False)
    return Span(mean, Vt.T)


@dataclass(frozen=True)
class Search:
    """The outcome of `search_grid`.

    Attributes
    ----------
    fit : Fit
        Of all train rows, with the chosen value.
    value : float
    chosen_by : str
        "given", "val", "folds of train" or "default", with the reason.
    temperature : float
        Probabilities are the softmax of the scores divided by it.
    """

    fit: Fit
    value: float
    chosen_by: str
    temperature: float = 1.0

    def predict_proba(self, X: Samples) -> Matrix:
        """Probabilities, shape (n_samples, n_classes)."""
        return gather(X, lambda rows: softmax(self.fit.decide(rows) / self.temperature, axis=1))


def decide_each(fits: Sequence[Fit], X: Samples) -> Iterator[Matrix]:
    """Scores of the same rows by one fit after the other."""
    for fit in fits:
        yield gather(X, fit.decide)


def search_grid(
    fit_path: FitPath,
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    *,
    default: float,
    seed: int = 0,
    tempered: bool = False,
    calibrate: bool = False,
    origin: Labels | None = None,
    decide: Callable[[Sequence[Any], Samples], Iterator[Matrix]] = decide_each,
) -> Search:
    """Fit a head for every value and choose by accuracy, then log-loss, then the grid's order.

    Parameters
    ----------
    fit_path : callable
        From X, y and the grid to one `Fit` for each value, in the grid's order.
    X : ndarray or Blocks of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    val : (X, y) or None
        None: stratified folds of X, y choose. With a class of one sample there are no folds, and
        the value nearest to `default` is taken.
    grid : sequence of float
        From the simplest to the most flexible: of equals the first is taken.
    default : float
    seed : int
        Of the folds.
    tempered : bool
        The scores are no logits: fit a temperature to what chooses, for each value.
    calibrate : bool
        Fit a temperature for the chosen value; it moves probabilities, never a label.
    origin : ndarray of shape (n_samples,), int64, optional
        For rows that show the same image: the row that is the image itself; those rows are their
        own. Folds keep them together and are scored on images themselves.
    decide : callable
        See `decide_each`, for heads whose fits share some of that work.

    Returns
    -------
    Search
    """
    fits = list(fit_path(X, y, grid))
    own = np.arange(len(y)) if origin is None else np.flatnonzero(origin == np.arange(len(y)))
    smallest = int(np.bincount(y[own]).min())
    held: list[tuple[list[Fit], Samples, Labels]] = []  # fits for each value; what they are held to
    if val is not None:
        held.append((fits, *val))
    elif smallest > 1 and (len(grid) > 1 or tempered or calibrate):
        folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
        for inside, outside in folds.split(own, y[own]):
            rows = own[inside] if origin is None else np.flatnonzero(np.isin(origin, own[inside]))
            scored = own[outside]
            held.append((list(fit_path(X[rows], y[rows], grid)), X[scored], y[scored]))

    def measure_temperature(parts: Sequence[Matrix]) -> float:
        return fit_temperature(np.concatenate(parts), np.concatenate([y for _, _, y in held]))

    temperatures, judged = [1.0] * len(grid), []
    if held and (tempered or len(grid) > 1):
        # Value by value, so that the scores of one are all that is there at a time.
        for i, parts in enumerate(zip(*(decide(f, X_) for f, X_, _ in held), strict=True)):
            temperatures[i] = measure_temperature(parts) if tempered else 1.0
            judged.append(
                [
                    judge_scores(scores, y_held, temperatures[i])
                    for scores, (_, _, y_held) in zip(parts, held, strict=True)
                ]
            )
    if len(grid) == 1:
        chosen, chosen_by = 0, "given"
    elif held:
        chosen_by = "val" if val is not None else "folds of train"
        chosen = choose_value(list(zip(*judged, strict=True)))
    else:
        chosen_by = "default: a class has one image, so there are no folds"
        chosen = min(range(len(grid)), key=lambda i: abs(grid[i] - default))
    if held and calibrate and not tempered:
        parts = tuple(next(decide(f[chosen : chosen + 1], X_)) for f, X_, _ in held)
        temperatures[chosen] = measure_temperature(parts)
    return Search(fits[chosen], float(grid[chosen]), chosen_by, temperatures[chosen])


def search_in_span(
    fit_path: FitPath,
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    **options: Any,
) -> Search:
    """`search_grid` on centred columns and in the rows' own span; see `span_rows`.

    Its fit is a `LinearFit` of X's own columns.
    """
    span = span_rows(X)
    if val is not None:
        val = span.project(val[0]), val[1]
    found = search_grid(fit_path, span.project(X), y, val, grid, **options)
    assert isinstance(found.fit, LinearFit)
    return replace(found, fit=span.restore(found.fit))


def choose_value(parts: Sequence[Sequence[tuple[float, float]]]) -> int:
    """The position with the highest mean accuracy, then the lowest mean log-loss, then the first.

    Parameters
    ----------
    parts : sequence of (accuracy, log-loss) for every value
        One entry for val, or one a fold.
    """
    means = np.mean(np.array(parts), axis=0)  # (n_grid, 2)
    return min(range(len(means)), key=lambda i: (-means[i, 0], means[i, 1], i))


def search_linear(
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
