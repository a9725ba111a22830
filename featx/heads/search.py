"""One search for all heads: go through a grid, let held-out images choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.storage.blocks import Blocks, Samples, average_columns, gather, join_rows
from featx.timing import Meter
from featx.training.choice import Choice, Judge
from featx.training.trials import Trial, hold_val, know_nothing, plan_folds, say_folds


class Fit(Protocol):
    """What training found, whatever the head."""

    @property
    def converged(self) -> bool:
        """False where it stopped short of the optimum."""

    @property
    def n_iter(self) -> int:
        """Steps; 0 where there are none."""

    @property
    def n_trained(self) -> int:
        """Numbers that training decided."""

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """A score for every class, shape (n_samples, n_classes); the highest is predicted."""

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""

    def suits(self, n_classes: int) -> bool:
        """Whether its arrays fit together, and are for so many classes."""


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

    @property
    def n_trained(self) -> int:
        """See `Fit`."""
        return int(self.coef.size + self.intercept.size)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Fit`."""
        return {"coef": self.coef, "intercept": self.intercept}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], value: float, n_classes: int
    ) -> LinearFit:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        return cls(arrays["coef"], arrays["intercept"])

    def suits(self, n_classes: int) -> bool:
        """See `Fit`."""
        return len(self.coef) == n_classes and self.intercept.shape == (n_classes,)


@dataclass(frozen=True)
class Task:
    """What a head learns from, and how.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
        The rows that the kept fit learns from, scaled.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    val : (X, y) or None
        What a head without a grid chooses by; for others, without a trial, what chooses.
    grid : sequence of float
        From the simplest to the most flexible: of equals the first is taken.
    seed : int
        Of the folds, and of whatever else is random.
    class_weight : {"balanced"} or None
        As for scikit-learn's classifiers.
    calibrate : bool
        Fit a temperature for the chosen value; it moves probabilities, never a label.
    trial : Trial or None
        What chooses. None: val, or stratified folds of X, y; with a class of one sample there are
        no folds, and the head's default is taken.
    choice : Choice or None
        What was chosen before; nothing chooses then.
    groups : ndarray of shape (n_samples,), int64, or None
        Where there is no trial: rows of one number stay on one side of a fold.
    others : mapping of str to (X, y)
        More splits, scored after every epoch where there are epochs. They decide nothing.
    settings : mapping
        What the recipe says beside, for heads that say more.
    prior : object
        What the head was given beside features; see `Kind.prior`.
    rough : bool
        The fit is not kept, and may be as rough as those that choose; see `Way.try_path`.
    """

    X: Samples
    y: Labels
    val: tuple[Samples, Labels] | None = None
    grid: Sequence[float] = ()
    seed: int = 0
    class_weight: str | None = None
    calibrate: bool = False
    trial: Trial | None = None
    choice: Choice | None = None
    groups: Labels | None = None
    others: Mapping[str, tuple[Samples, Labels]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    prior: Any = None
    rough: bool = False


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
    dtype : dtype
        Of coordinates.
    """

    mean: npt.NDArray[np.float64]
    basis: npt.NDArray[np.float64] | None
    dtype: Any = np.float64

    def project(self, X: Samples) -> Samples:
        """Rows' coordinates, shape (n_samples, n_dims)."""
        return X.map(self._project) if isinstance(X, Blocks) else self._project(X)

    def _project(self, X: Matrix) -> Matrix:
        centred: Matrix = X.astype(self.dtype, copy=False) - self.mean.astype(self.dtype)
        return centred if self.basis is None else centred @ self.basis.astype(self.dtype)

    def restore(self, fit: LinearFit) -> LinearFit:
        """A linear fit of coordinates as one of features."""
        coef = fit.coef if self.basis is None else fit.coef @ self.basis.T
        return replace(fit, coef=coef, intercept=fit.intercept - coef @ self.mean)


def span_rows(X: Samples) -> Span:
    """Find the span of rows; of Blocks only their mean.

    An L2 penalty keeps the optimum of a linear classifier in the span of its rows, so that with
    fewer rows than columns solving there, on U·S of the singular value decomposition X = U·S·Vᵀ,
    and mapping back by V gives the same classifier (Hastie and Tibshirani 2004) with far fewer
    unknowns. U and S² are those of X·Xᵀ, which of many columns takes a fraction of the time; what
    that loses are directions in which the rows differ by less than rounding to float32 does.
    """
    mean = average_columns(X)
    if isinstance(X, Blocks) or X.shape[0] >= X.shape[1]:
        return Span(mean, None)
    centred = X - mean
    squares, U = np.linalg.eigh(centred @ centred.T)
    there = squares > len(X) * np.finfo(np.float64).eps * squares[-1]
    if not there.any():  # all rows are the same
        return Span(mean, None)
    return Span(mean, centred.T @ (U[:, there] / np.sqrt(squares[there])))


@dataclass(frozen=True)
class Search:
    """The outcome of `search_grid`.

    Attributes
    ----------
    fit : Fit
        Of the task's rows, with the chosen value.
    value : float
    chosen_by : str
        See `Choice`.
    temperature : float
        Probabilities are the softmax of the scores divided by it.
    choice : Choice or None
        Where a grid was searched.
    """

    fit: Fit
    value: float
    chosen_by: str
    temperature: float = 1.0
    choice: Choice | None = None

    def predict_proba(self, X: Samples) -> Matrix:
        """Probabilities, shape (n_samples, n_classes)."""
        return gather(X, lambda rows: softmax(self.fit.decide(rows) / self.temperature, axis=1))


def decide_each(fits: Iterable[Fit], X: Samples) -> Iterator[Matrix]:
    """Scores of the same rows by one fit after the other."""
    for fit in fits:
        yield gather(X, fit.decide)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a head goes through its grid.

    Attributes
    ----------
    fit_path : callable
        From X, y and the grid to one `Fit` for each value, in the grid's order, each made when it
        is asked for.
    default : float
        Where nothing can choose, the value nearest to it is taken.
    tempered : bool
        The scores are no logits: for each value a temperature is fitted to what chooses.
    ends : bool
        A value costs a fit that begins where the one before ended: the path ends once it leads
        away from the best. See `PATH_MARGIN`.
    try_path : callable or None
        `fit_path` for fits that only choose, where those may be rougher: of float32.
    decide : callable
        See `decide_each`, for heads whose fits share some of that work.
    leave_out : callable or None
        From a trial of rows without relatives to what is chosen where each is left out alone, for
        heads that need no folds for that.
    """

    fit_path: FitPath
    default: float
    tempered: bool = False
    ends: bool = False
    try_path: FitPath | None = None
    decide: Callable[[Iterable[Any], Samples], Iterator[Matrix]] = decide_each
    leave_out: Callable[[Trial], Choice] | None = None


def search_grid(way: Way, task: Task) -> Search:
    """Choose a value by the log-loss of rows that were held out, and fit the task's rows with it.

    Parameters
    ----------
    way : Way
    task : Task
    """
    choice = task.choice or choose(way, task)
    path = (way.try_path if task.rough else None) or way.fit_path
    (fit,) = path(task.X, task.y, [choice.value])
    return Search(fit, choice.value, choice.by, choice.temperature, choice)


def choose(way: Way, task: Task) -> Choice:
    """The value with the lowest log-loss of held-out rows; of equals the first of the grid.

    All parts of the trial go through the grid side by side, so that the path ends for all of them
    together and one value's fits are all that is held.
    """
    grid, trial = task.grid, task.trial or find_trial(task, way.tempered)
    if trial is not None and trial.independent and way.leave_out is not None:
        return way.leave_out(trial)
    parts = [] if trial is None else list(trial.cut())
    if trial is None or not parts:
        if len(grid) == 1:
            return Choice(float(grid[0]), "given")
        nearest = min(grid, key=lambda value: abs(value - way.default))
        grouped = ", or all or each class are one group" * (task.groups is not None)
        why = f"a class has one image{grouped}"
        return Choice(float(nearest), f"default: {why}, so there are no folds")
    path = way.try_path or way.fit_path
    walks = [way.decide(path(part.X, part.y, grid), part.held) for part in parts]
    places = [(part.rows, part.known) for part in parts]
    judge = Judge(trial.y, places, int(trial.y.max()) + 1, way.tempered)
    name = task.settings.get("clf", "search")
    with Meter(name, len(grid), False, unit="fit") as meter:
        for value, scores in zip(grid, zip(*walks, strict=True), strict=False):
            judge.look(value, scores)
            meter.update(1)
            if way.ends and judge.ended:
                break
    return judge.conclude("given" if len(grid) == 1 else trial.name, task.calibrate)


def find_trial(task: Task, tempered: bool) -> Trial | None:
    """What chooses where the task does not say."""
    if not (len(task.grid) > 1 or tempered or task.calibrate):
        return None
    if task.val is not None:
        X, y = join_rows([task.X, task.val[0]]), np.concatenate([task.y, task.val[1]])
        return Trial(X, y, hold_val(len(task.y), len(task.val[1])), "val", "val")
    kin = replace(know_nothing(len(task.y)), group=task.groups)
    folds = plan_folds(task.y, kin, task.seed)
    if not folds:
        return None
    return Trial(
        task.X, task.y, folds, say_folds(folds, "train", kin), "train", independent=kin.independent
    )


def stay_in_span(way: Way) -> Way:
    """The same on centred columns and in the rows' own span; see `span_rows`.

    Its fits are `LinearFit`s of X's own columns.
    """

    def wrap(path: FitPath, dtype: Any = np.float64) -> FitPath:
        def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[Fit]:
            span = span_rows(X)
            for fit in path(replace(span, dtype=dtype).project(X), y, grid):
                assert isinstance(fit, LinearFit)
                yield span.restore(fit)

        return fit_path

    try_path = None if way.try_path is None else wrap(way.try_path, np.float32)
    return replace(way, fit_path=wrap(way.fit_path), try_path=try_path)
