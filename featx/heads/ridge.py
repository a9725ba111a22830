"""Ridge: least squares on ±1 with an L2 penalty, from sums over the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from sklearn.utils.class_weight import compute_class_weight

from featx.arrays import Labels, Matrix
from featx.config import RIDGE_GRID
from featx.heads.kind import Grid, Kind, Learned, Memory
from featx.heads.search import (
    LinearFit,
    Search,
    Task,
    Way,
    choose,
    search_grid,
    span_rows,
    spread_classes,
    stay_in_span,
)
from featx.storage.blocks import Samples, average_classes, iterate_blocks
from featx.training.choice import Choice, Judge
from featx.training.trials import Trial

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RidgePath:
    """Least squares on ±1 for any alpha, from one eigendecomposition: what RidgeClassifier finds.

    With weighted rows, columns and targets ±1 centred by their weighted means the coefficients are
    (XᵀX + alpha)^-1 Xᵀt: with XᵀX = V · diag(s) · Vᵀ that is V · diag(1/(s + alpha)) · Vᵀ Xᵀt.

    Attributes
    ----------
    weight : ndarray of shape (n_classes,)
        Of a row, by its class.
    total : float
        What all rows weigh.
    mean : ndarray of shape (n_features,)
    target : ndarray of shape (n_outputs,)
        Weighted means; one output of two classes, of more one for each.
    s, V : ndarray of shape (n_features,) and (n_features, n_features)
    rotated : ndarray of shape (n_outputs, n_features)
        (Vᵀ Xᵀt)ᵀ.
    """

    weight: Sums
    total: float
    mean: Sums
    target: Sums
    s: Sums
    V: Sums
    rotated: Sums

    def solve(self, alpha: float) -> LinearFit:
        """The fit of all rows."""
        coef = (self.rotated / (self.s + alpha)) @ self.V.T
        return LinearFit(*spread_classes(coef, self.target - coef @ self.mean))

    def leave_each_out(self, X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[Matrix]:
        """Scores of every row by the fit of all others, for each alpha, shape (n, n_classes).

        A row whose leverage is h and whose residual is r would, left out, have the residual
        r / (1 - h) (Allen 1974; Golub, Heath and Wahba 1979): exactly what fitting without it
        gives, its class's weight being what it was. h is that of weighted rows about their
        weighted mean, which the free intercept follows.
        """
        found = [np.empty((len(y), len(self.weight))) for _ in grid]
        for here, block in iterate_blocks(X):
            weight = self.weight[y[here]]
            Z = (block - self.mean) @ self.V
            targets = np.where(y[here][:, None] == np.arange(len(self.weight)), 1.0, -1.0)
            targets = targets[:, -len(self.target) :]
            for alpha, scores in zip(grid, found, strict=True):
                shrunk = Z / (self.s + alpha)
                leverage = weight * (1 / self.total + np.einsum("ij,ij->i", shrunk, Z))
                residual = targets - self.target - shrunk @ self.rotated.T
                left_out = targets - residual / np.maximum(1 - leverage, 1e-12)[:, None]
                scores[here, : -len(self.target)] = 0
                scores[here, -len(self.target) :] = left_out
        yield from found


def sum_rows(X: Samples, y: Labels, class_weight: str | None = None) -> RidgePath:
    """Find what all penalties have in common; reads the rows twice.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
        Centred columns: the weighted mean, which is taken off the sums, is small then.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    class_weight : {"balanced"}, optional
    """
    counts = np.bincount(y)
    weight = compute_class_weight(class_weight, classes=np.arange(len(counts)), y=y)
    root = np.sqrt(weight)
    squares = np.zeros((X.shape[1], X.shape[1]))
    for here, block in iterate_blocks(X):
        weighted = block * root[y[here], None]  # float64
        squares += weighted.T @ weighted
    each = weight * counts  # what the rows of each class weigh
    total = each.sum()
    by_class = average_classes(X, y) * each[:, None]
    mean = by_class.sum(axis=0) / total
    target = 2 * each / total - 1  # its mean
    products = 2 * by_class - (1 + target)[:, None] * by_class.sum(axis=0)
    squares -= np.outer(total * mean, mean)
    s, V = eigh(squares.T, overwrite_a=True)  # columns lie in one piece: no copy
    if len(counts) == 2:
        products, target = products[1:], target[1:]
    return RidgePath(weight, float(total), mean, target, np.maximum(s, 0), V, products @ V)


def search_ridge(task: Task) -> Search:
    """Choose alpha and fit least squares on ±1 with an L2 penalty, in closed form.

    Where folds would choose and no row is another one's relative, every row is a fold of its own:
    see `RidgePath.leave_each_out`.

    Parameters
    ----------
    task : Task
        With descending values of alpha: from the simplest.
    """
    return search_grid(find_way(task), task)


def find_way(task: Task) -> Way:
    """How it goes through its grid; see `search_ridge`."""

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[LinearFit]:
        path = sum_rows(X, y, task.class_weight)
        for alpha in grid:
            yield path.solve(alpha)

    def leave_out(trial: Trial) -> Choice:
        return _leave_each_out(trial, task)

    return stay_in_span(Way(fit_path=fit_path, default=1000.0, tempered=True, leave_out=leave_out))


def _leave_each_out(trial: Trial, task: Task) -> Choice:
    X = trial.fit_scaler(trial.X).apply(trial.X)
    X = span_rows(X).project(X)
    path = sum_rows(X, trial.y, task.class_weight)
    n_classes = len(path.weight)
    judge = Judge(trial.y, [(np.arange(len(X)), np.arange(n_classes))], n_classes, tempered=True)
    for alpha, scores in zip(task.grid, path.leave_each_out(X, trial.y, task.grid), strict=True):
        judge.look(alpha, [scores])
    return judge.conclude("given" if len(task.grid) == 1 else f"leave-one-out of {trial.of}")


KIND = Kind(
    name="ridge",
    train=lambda task: Learned(search_ridge(task)),
    choose=lambda task: choose(find_way(task), task),
    grid=Grid("alpha", RIDGE_GRID, thinned=2),
    exact=True,
    weighed=True,
    # The rows' products with their decomposition.
    memory=Memory(copies=28, blocks=lambda size: 16 * size.features**2),
)
