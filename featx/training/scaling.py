"""How features are scaled before a classifier has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler, normalize

from featx.arrays import Labels, Matrix
from featx.config import SCALES, SCALINGS
from featx.errors import ModelError
from featx.storage.blocks import Blocks, Samples, average_columns, take_columns

_LEVEL = "level."  # before the names of a level's arrays


@dataclass(frozen=True)
class Scaler:
    """One way of scaling, ready to be applied.

    Attributes
    ----------
    kind : {"none", "standard", "l2", "center-l2"}
    mean : ndarray of shape (n_features,), float64, or None
        Of "standard" and "center-l2": what is taken off first.
    scale : ndarray of shape (n_features,), float64, or None
        Of "standard": what is divided by then.
    level : Scaler or None
        What is done before: where columns come from several layers, whose numbers differ by
        orders, each is standardised, so that none counts for its size alone.
    columns : ndarray of int64, or None
        Which columns of what it is given are taken at all; None: all.
    """

    kind: str
    mean: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None
    level: Scaler | None = None
    columns: Labels | None = None

    def apply(self, X: Samples) -> Samples:
        """Scale X of shape (n_samples, n_features)."""
        X = take_columns(X, self.columns)
        return X.map(self._apply) if isinstance(X, Blocks) else self._apply(X)

    def _apply(self, X: Matrix) -> Matrix:
        if self.level is not None:
            X = self.level._apply(X).astype(np.float32, copy=False)
        if self.mean is not None:
            X = X - self.mean
        if self.scale is not None:
            X /= self.scale
        if self.kind in ("l2", "center-l2"):
            scaled: Matrix = normalize(X)
            return scaled
        return X

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        held: dict[str, npt.NDArray[Any] | None] = {"mean": self.mean, "scale": self.scale}
        if self.level is not None:
            held |= {_LEVEL + name: array for name, array in self.level.to_arrays().items()}
        return {name: array for name, array in held.items() if array is not None}

    @classmethod
    def from_arrays(
        cls, kind: str, arrays: Mapping[str, npt.NDArray[Any]], columns: Labels | None = None
    ) -> Scaler:
        """The inverse of `to_arrays`."""
        mean, scale = arrays.get(_LEVEL + "mean"), arrays.get(_LEVEL + "scale")
        level = None if mean is None else cls("standard", mean, scale)
        return cls(kind, arrays.get("mean"), arrays.get("scale"), level, columns)


def fit_scaler(kind: str, X: Samples, level: bool = False) -> Scaler:
    """Learn a scaler from rows; a feature that never varies is only centred.

    "center-l2" takes off the mean of these rows and makes every row's length 1: what is alike in
    all images no longer counts towards it (CL2N in Wang et al. 2019, SimpleShot).

    Parameters
    ----------
    kind : {"none", "standard", "l2", "center-l2"}
    X : ndarray or Blocks of shape (n_samples, n_features)
    level : bool
        See `Scaler`.

    Raises
    ------
    ModelError
        There is no such scaling.
    """
    if kind not in SCALINGS:
        raise ModelError(f"unknown scale {kind!r}: say one of {', '.join(SCALES)}")
    if level:
        first = fit_scaler("standard", X)
        return replace(fit_scaler(kind, first.apply(X)), level=first)
    if kind == "center-l2":
        return Scaler(kind, average_columns(X))
    if kind != "standard":
        return Scaler(kind)
    if isinstance(X, Blocks):
        learned = StandardScaler()
        for _, block in X:
            learned.partial_fit(block)
        return Scaler(kind, learned.mean_, learned.scale_)
    scale = X.std(axis=0, dtype=np.float64)
    return Scaler(kind, X.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0))
