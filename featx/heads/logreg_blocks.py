"""Logistic regression whose loss and gradient are summed over blocks of rows."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import OptimizeResult, minimize
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from threadpoolctl import ThreadpoolController

from featx.arrays import Labels
from featx.storage.blocks import Blocks

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slope:
    """The objective at one place.

    Attributes
    ----------
    loss : float
    coef, intercept : ndarray of shape (n_outputs, n_features) and (n_outputs,)
        Its derivatives.
    spread : float
        Mean of p (1 - p) over rows and outputs.
    """

    loss: float
    coef: Vector
    intercept: Vector
    spread: float

    @property
    def steepest(self) -> float:
        """Largest component of the gradient."""
        return float(max(np.abs(self.coef).max(), np.abs(self.intercept).max()))


class BlockLogistic:
    """The objective of scikit-learn's LogisticRegression, evaluated a block at a time.

    The mean cross-entropy, weighted by class, plus |W|² / (2 C Σ weights); the intercept is free.
    Of two classes W has one row, of more one for each. Products are taken in `dtype`, sums over
    blocks in float64.

    Parameters
    ----------
    X : Blocks of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    class_weight : {"balanced"}, optional
    """

    def __init__(self, X: Blocks, y: Labels, class_weight: str | None = None) -> None:
        self.X, self.y = X, y
        self.n_classes = int(y.max()) + 1
        self.n_outputs = self.n_classes if self.n_classes > 2 else 1
        self.weight: Vector = np.asarray(
            compute_class_weight(class_weight, classes=np.arange(self.n_classes), y=y), np.float64
        )
        self.total = float(self.weight[y].sum())

    def evaluate(self, coef: Vector, intercept: Vector, penalty: float, dtype: Any) -> Slope:
        """Loss and gradient; reads all rows."""
        loss, spread = 0.0, 0.0
        slope, slope_intercept = np.zeros_like(coef), np.zeros_like(intercept)
        W, b, weight = coef.astype(dtype), intercept.astype(dtype), self.weight.astype(dtype)
        for here, rows in self.X:
            block, y = rows.astype(dtype, copy=False), self.y[here]
            scores = block @ W.T + b
            if self.n_outputs == 1:  # the sigmoid of z is the softmax of (0, z)
                scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
            log_proba = log_softmax(scores, axis=1)
            own = np.arange(len(y)), y
            loss -= float((weight[y] * log_proba[own]).sum(dtype=np.float64))
            residual = np.exp(log_proba)
            spread += float((residual * (1 - residual)).mean(axis=1).sum(dtype=np.float64))
            residual[own] -= 1
            residual = residual[:, -self.n_outputs :] * weight[y, None]
            slope += residual.T @ block
            slope_intercept += residual.sum(axis=0, dtype=np.float64)
        return Slope(
            loss / self.total + penalty / 2 * float((coef**2).sum()),
            slope / self.total + penalty * coef,
            slope_intercept / self.total,
            spread / len(self.y),
        )

    def covariance(self) -> Vector:
        """Of the columns, which are centred; a row counts as much as its class weighs."""
        total = np.zeros((self.X.shape[1], self.X.shape[1]))
        root = np.sqrt(self.weight).astype(np.float32)
        for here, block in self.X:
            weighted = block * root[self.y[here], None]
            total += weighted.T @ weighted
        total /= self.total
        return total


@dataclass(frozen=True)
class Frame:
    """Coordinates in which the objective's bowl is nearly round: W = U · diag(scale) · Vᵀ.

    With the columns' covariance V · diag(s) · Vᵀ the Hessian at W = 0 is h (I - 11ᵀ/K) ⊗ the
    covariance plus the penalty, h = 1/K (Böhning 1992), or 1/4 of two classes; elsewhere h follows
    the mean of p (1 - p). scale = (h s + penalty)^-1/2 makes that about the identity. Objective and
    optimum stay those of W: only the way is shorter, every step of which reads all rows.

    Attributes
    ----------
    V : ndarray of shape (n_features, n_features)
    scale : ndarray of shape (n_features,)
    scale_intercept : float
    """

    V: Vector
    scale: Vector
    scale_intercept: float

    def pack(self, coef: Vector, intercept: Vector) -> Vector:
        """Where W and an intercept are, as one vector."""
        U = (coef @ self.V) / self.scale
        return np.column_stack([U, intercept / self.scale_intercept]).ravel()

    def unpack(self, place: Vector) -> tuple[Vector, Vector]:
        """The inverse of `pack`."""
        rows = place.reshape(-1, len(self.scale) + 1)
        return (rows[:, :-1] * self.scale) @ self.V.T, rows[:, -1] * self.scale_intercept

    def turn(self, slope: Slope) -> Vector:
        """A gradient by W as one by these coordinates."""
        U = (slope.coef @ self.V) * self.scale
        return np.column_stack([U, slope.intercept * self.scale_intercept]).ravel()


def fit_blocks(
    X: Blocks,
    y: Labels,
    grid: Sequence[float],
    class_weight: str | None,
    *,
    max_iter: int,
    tolerance: float,
) -> Iterator[tuple[Vector, Vector, bool, int]]:
    """Fit for each C of an ascending grid, each starting from the one before.

    As scikit-learn's L-BFGS it ends where no component of the gradient by W is larger than the
    tolerance. Where rounding keeps float32 from that it goes on in float64.

    Parameters
    ----------
    X, y, class_weight
        See `BlockLogistic`; X has centred columns.
    grid : sequence of float
    max_iter : int
        Steps for each C.
    tolerance : float

    Yields
    ------
    coef : ndarray of shape (n_classes, n_features), of two classes (1, n_features)
    intercept : ndarray of shape (n_classes,), of two classes (1,)
    converged : bool
    n_iter : int
    """
    objective = BlockLogistic(X, y, class_weight)
    with limit_scipy():
        # Symmetric, so that its transpose is it in LAPACK's order, which alone is overwritten.
        s, V = eigh(objective.covariance().T, overwrite_a=True)
    coef = np.zeros((objective.n_outputs, X.shape[1]))
    intercept = np.zeros(objective.n_outputs)
    spread = (1 - 1 / objective.n_classes) / objective.n_classes
    for C in grid:
        penalty = 1 / (C * objective.total)
        # A row of p sums to 1: at W = 0 the mean of p (1 - p) is (1 - 1/K) h. Never quite flat.
        h = max(spread, 1e-9)
        h *= 1.0 if objective.n_outputs == 1 else objective.n_classes / (objective.n_classes - 1)
        frame = Frame(V, (h * np.maximum(s, 0) + penalty) ** -0.5, h**-0.5)
        converged, n_iter = False, 0
        for dtype in (np.float32, np.float64):
            walk = _Walk(objective, frame, penalty, tolerance, dtype)
            with limit_scipy():
                n_iter += walk.descend(coef, intercept, max_iter - n_iter)
            coef, intercept = frame.unpack(walk.place)
            spread, converged = walk.slope.spread, walk.slope.steepest <= tolerance
            if converged or n_iter >= max_iter:
                break
        if not converged:
            warnings.warn(
                f"logistic regression with C = {C:.3g} stopped after {n_iter} steps at a slope of "
                f"{walk.slope.steepest:.1e}; {tolerance:.1e} was asked for",
                ConvergenceWarning,
                stacklevel=2,
            )
        yield coef, intercept, converged, n_iter


class _Walk:
    """One call of L-BFGS; remembers what was found at the last place, since finding it is dear."""

    def __init__(
        self, objective: BlockLogistic, frame: Frame, penalty: float, tolerance: float, dtype: Any
    ) -> None:
        self.objective, self.frame, self.penalty = objective, frame, penalty
        self.tolerance, self.dtype = tolerance, dtype
        self.place: Vector = np.empty(0)
        self.slope = Slope(0.0, np.empty(0), np.empty(0), 0.0)

    def descend(self, coef: Vector, intercept: Vector, max_iter: int) -> int:
        """Walk to where the slope is small enough; returns the number of steps."""
        start = self.frame.pack(coef, intercept)
        self.look(start)
        if self.slope.steepest <= self.tolerance:
            return 0
        done = minimize(
            self.look, start, jac=True, method="L-BFGS-B", callback=self._check,
            # Least progress as scikit-learn has it; the slope is checked here. A line search that
            # finds nothing in a few looks is lost in rounding.
            options={
                "maxiter": max_iter, "maxls": 6 if self.dtype == np.float32 else 50, "gtol": 0.0,
                "ftol": 64 * np.finfo(float).eps,
            },
        )  # fmt: skip
        self.look(done.x)
        return int(done.nit)

    def look(self, place: Vector) -> tuple[float, Vector]:
        """Loss and gradient."""
        if not np.array_equal(place, self.place):
            self.slope = self.objective.evaluate(
                *self.frame.unpack(place), self.penalty, self.dtype
            )
            self.place = place.copy()
        return self.slope.loss, self.frame.turn(self.slope)

    def _check(self, intermediate_result: OptimizeResult) -> None:
        self.look(intermediate_result.x)
        if self.slope.steepest <= self.tolerance:
            raise StopIteration


def limit_scipy() -> AbstractContextManager[object]:
    """Keep scipy's BLAS, where it is not numpy's, to one thread.

    L-BFGS takes turns between the two at every step, and the idle threads of one take the cores
    from the other: on two cores a step on 600 x 600 numbers took 12 ms with them and 1.2 ms
    without, one on 12,000 x 2048 took 297 and 255 ms.
    """
    limiter: AbstractContextManager[object] = _find_blas_of_scipy().limit(limits=1)
    return limiter


@functools.cache  # some milliseconds, and a search asks a hundred times
def _find_blas_of_scipy() -> ThreadpoolController:
    controller = ThreadpoolController()
    wheels = [
        library.filepath
        for library in controller.lib_controllers
        if any(part.startswith("scipy") for part in Path(library.filepath).parts[-3:-1])
    ]
    return controller.select(filepath=wheels)
