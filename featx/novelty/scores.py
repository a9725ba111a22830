"""How strange a row of features is to a head: one number, larger for what it has not met.

Each is fitted from the rows that a head learned from, scaled as it has them, and from its logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.preprocessing import normalize

from featx.arrays import Matrix
from featx.config import NEAREST_KEPT, NEAREST_STRANGER, RESIDUAL_DIMS, SCALED_SHARE
from featx.storage.rows import iterate_slices

Numbers = npt.NDArray[np.float64]
_QUERIES = 1024  # rows whose distances are held together
LEAST_SUM = 1e-30  # that is divided by
_ROUNDING = 1e-5  # of a row's length, in float32


@dataclass(frozen=True)
class Known:
    """What a score is fitted from.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows that the head learned from, scaled as it has them.
    logits : ndarray of shape (n_samples, n_classes)
        Of these rows; probabilities are their softmax.
    layer : (coef, intercept) or None
        Of a linear head, shapes (n_classes, n_features) and (n_classes,): what makes the logits.
    seed : int
        Of the rows that are kept, where these are fewer.
    size : int or None
        Of how many rows these are a part, where they are: what goes by the number of rows is then
        the same for the part as for the whole. None: they are all.
    """

    X: Matrix
    logits: Matrix
    layer: tuple[Matrix, Matrix] | None = None
    seed: int = 0
    size: int | None = None


class Score(Protocol):
    """One way of telling strangers."""

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """A number for each row, shape (n_samples,): the larger the stranger."""

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""

    @classmethod
    def suits(cls, known: Known) -> bool:
        """Whether it can be had of such rows and such a head; if of a whole, of its parts, too."""

    @classmethod
    def fit(cls, known: Known) -> Score:
        """Learn it from what it suits."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Score:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""


class _OfLogits:
    """What a score needs that learns nothing, and suits every head."""

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Score`."""
        return {}

    @classmethod
    def suits(cls, known: Known) -> bool:
        """See `Score`."""
        return True

    @classmethod
    def fit(cls, known: Known) -> Self:
        """See `Score`."""
        return cls()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """See `Score`."""
        return cls()


@dataclass(frozen=True)
class Probability(_OfLogits):
    """The largest probability p: s = log((1 - p) / p) (Hendrycks and Gimpel 2017).

    It orders rows as p does, and tells them apart where p has rounded to 1.
    """

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        others = np.sort(logits, axis=1)
        found: Numbers = logsumexp(others[:, :-1], axis=1) - others[:, -1]
        return found


@dataclass(frozen=True)
class Energy(_OfLogits):
    """The free energy of the logits: s = -log sum exp(z) (Liu et al. 2020, temperature 1)."""

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        found: Numbers = -logsumexp(logits, axis=1)
        return found


@dataclass(frozen=True)
class Scaled:
    """The free energy once a row's activations are scaled, SCALE (Xu et al. 2024).

    r = sum of all of a row / sum of its largest `SCALED_SHARE`, and the linear head reads exp(r) x:
    s = -log sum exp(exp(r) (z - b) + b), z being the logits and b the intercepts. The paper scales
    what a network's last layer was trained on, which is nowhere negative, and so has to be what a
    head reads here.

    Attributes
    ----------
    intercept : ndarray of shape (n_classes,), float32
    """

    intercept: npt.NDArray[np.float32]

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        n = count_largest(X.shape[1])
        largest = np.partition(X, -n, axis=1)[:, -n:].sum(axis=1, dtype=np.float64)
        ratio = X.sum(axis=1, dtype=np.float64) / np.maximum(largest, LEAST_SUM)
        scaled = np.exp(ratio)[:, None] * (logits - self.intercept) + self.intercept
        found: Numbers = -logsumexp(scaled, axis=1)
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Score`."""
        return {"intercept": self.intercept}

    @classmethod
    def suits(cls, known: Known) -> bool:
        """See `Score`."""
        return known.layer is not None and bool((known.X >= 0).all())

    @classmethod
    def fit(cls, known: Known) -> Scaled:
        """See `Score`."""
        assert known.layer is not None
        return cls(known.layer[1].astype(np.float32))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Scaled:
        """See `Score`."""
        return cls(arrays["intercept"])


def count_largest(n_features: int) -> int:
    """How many of a row's activations are the largest ones of SCALE."""
    return max(1, round(SCALED_SHARE * n_features))


@dataclass(frozen=True)
class Neighbour:
    """The distance to the k-th nearest known row, lengths made 1 (Sun et al. 2022).

    s = 1 - cos, which is half the square of their Euclidean distance and so orders rows alike. k
    is `NEAREST_STRANGER`; of more than `NEAREST_KEPT` rows so many are drawn. They are kept in
    float16.

    Attributes
    ----------
    rows : ndarray of shape (n_kept, n_features), float16
        Of length 1.
    """

    rows: npt.NDArray[np.float16]

    @property
    def k(self) -> int:
        """Which neighbour's distance counts."""
        return min(NEAREST_STRANGER, len(self.rows))

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        rows, found = self.rows.astype(np.float32), np.empty(len(X))
        for some in iterate_slices(len(X), _QUERIES):
            cosines = normalize(X[some].astype(np.float32)) @ rows.T
            found[some] = 1 - np.partition(cosines, -self.k, axis=1)[:, -self.k]
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Score`."""
        return {"rows": self.rows}

    @classmethod
    def suits(cls, known: Known) -> bool:
        """See `Score`."""
        return True

    @classmethod
    def fit(cls, known: Known) -> Neighbour:
        """See `Score`."""
        X = known.X
        if len(X) > NEAREST_KEPT:
            drawn = np.random.default_rng(known.seed).choice(len(X), NEAREST_KEPT, replace=False)
            X = X[np.sort(drawn)]
        return cls(normalize(X.astype(np.float32)).astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Neighbour:
        """See `Score`."""
        return cls(arrays["rows"])


@dataclass(frozen=True)
class Residual:
    """Virtual-logit matching, ViM (Wang et al. 2022): s = a |R (x - o)| - log sum exp(z).

    o = -pinv(W) b is where the linear head's logits are 0, R the projection on what the first D
    principal directions of the known rows about o leave over, and a scales its length on known rows
    to their mean largest logit. The paper's D is 1000 of 2048 features, for a million rows. Of few
    rows the first 1000 directions would hold all there is, and nothing be left over: D is at most
    a tenth of the rows and half of the features.

    Attributes
    ----------
    origin : ndarray of shape (n_features,), float32
    basis : ndarray of shape (n_features, n_dims), float32
        Orthonormal: the principal directions.
    scale : float
    """

    origin: npt.NDArray[np.float32]
    basis: npt.NDArray[np.float32]
    scale: float

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        found: Numbers = self.scale * self._leave_over(X) - logsumexp(logits, axis=1)
        return found

    def _leave_over(self, X: Matrix) -> Numbers:
        centred = (X - self.origin).astype(np.float32)
        left: Numbers = np.linalg.norm(centred - (centred @ self.basis) @ self.basis.T, axis=1)
        return left.astype(np.float64)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Score`."""
        return {"origin": self.origin, "basis": self.basis, "scale": np.array(self.scale)}

    @classmethod
    def suits(cls, known: Known) -> bool:
        """See `Score`."""
        return known.layer is not None and _count_dims(known) >= 1

    @classmethod
    def fit(cls, known: Known) -> Residual:
        """See `Score`."""
        assert known.layer is not None
        coef, intercept = known.layer
        origin = -np.linalg.pinv(coef) @ intercept
        centred = (known.X - origin).astype(np.float32)
        basis = _find_directions(centred, min(_count_dims(known), len(known.X)))
        found = cls(origin.astype(np.float32), basis, 0.0)
        left = found._leave_over(known.X).mean()
        if left <= _ROUNDING * np.linalg.norm(centred, axis=1).mean():
            return found  # nothing is left over but rounding: the energy alone says something
        return replace(found, scale=float(known.logits.max(axis=1).mean() / left))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Residual:
        """See `Score`."""
        return cls(arrays["origin"], arrays["basis"], float(arrays["scale"]))


def _count_dims(known: Known) -> int:
    """D of `Residual`."""
    n_features: int = known.X.shape[1]
    return min(RESIDUAL_DIMS, n_features // 2, (known.size or len(known.X)) // 10)


@dataclass(frozen=True)
class Centre:
    """The distance to the nearest class's mean, lengths made 1: s = 1 - cos.

    Drift is looked for by it, too, and nothing chooses it: the worse a picture is, the further its
    features lie from where its class's are, even where the head is as sure of it as ever.

    Attributes
    ----------
    means : ndarray of shape (n_means, n_features), float16
        Of length 1, of the known rows that the head takes for each class.
    """

    means: npt.NDArray[np.float16]

    def measure(self, X: Matrix, logits: Matrix) -> Numbers:
        """See `Score`."""
        cosines = normalize(X.astype(np.float32)) @ self.means.astype(np.float32).T
        found: Numbers = 1 - cosines.max(axis=1).astype(np.float64)
        return found

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Score`."""
        return {"means": self.means}

    @classmethod
    def suits(cls, known: Known) -> bool:
        """See `Score`."""
        return True

    @classmethod
    def fit(cls, known: Known) -> Centre:
        """See `Score`."""
        said = known.logits.argmax(axis=1)
        means = np.stack([known.X[said == k].mean(axis=0) for k in np.unique(said)])
        return cls(normalize(means.astype(np.float32)).astype(np.float16))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Centre:
        """See `Score`."""
        return cls(arrays["means"])


def _find_directions(centred: npt.NDArray[np.float32], dims: int) -> npt.NDArray[np.float32]:
    """Orthonormal directions in which the rows' squares are largest, shape (n_features, dims)."""
    if len(centred) >= centred.shape[1]:
        basis: npt.NDArray[np.float32] = np.linalg.eigh(centred.T @ centred)[1][:, -dims:]
        return np.ascontiguousarray(basis)
    squares, U = np.linalg.eigh(centred.astype(np.float64) @ centred.T)
    there = squares[-dims:] > len(centred) * np.finfo(np.float32).eps * squares[-1]
    found = centred.T @ (U[:, -dims:][:, there] / np.sqrt(squares[-dims:][there]))
    return np.linalg.qr(found)[0].astype(np.float32)


# From the simplest: of equals the first is taken. Their names are in model files.
SCORES: dict[str, type[Score]] = {
    "probability": Probability,
    "energy": Energy,
    "scale": Scaled,
    "knn": Neighbour,
    "vim": Residual,
}
CENTRE = "centre"
KEPT_SCORES: dict[str, type[Score]] = {**SCORES, CENTRE: Centre}
