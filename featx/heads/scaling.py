"""How features are scaled before a head sees them; learned from train alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import StandardScaler, normalize

from featx.arrays import Matrix
from featx.errors import ModelError
from featx.storage.blocks import Blocks, Samples

SCALES = ("none", "standard", "l2")


@dataclass(frozen=True)
class Scaler:
    """One way of scaling, ready to be applied.

    Attributes
    ----------
    kind : {"none", "standard", "l2"}
    mean, scale : ndarray of shape (n_features,), float64, or None
        Of "standard".
    """

    kind: str
    mean: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None

    def apply(self, X: Samples) -> Samples:
        """Scale X of shape (n_samples, n_features)."""
        return X.map(self._apply) if isinstance(X, Blocks) else self._apply(X)

    def _apply(self, X: Matrix) -> Matrix:
        if self.kind == "l2":
            scaled: Matrix = normalize(X)
            return scaled
        if self.mean is None or self.scale is None:
            return X
        scaled = X - self.mean
        scaled /= self.scale
        return scaled

    def to_arrays(self) -> dict[str, Matrix]:
        """What a model file keeps of it."""
        if self.mean is None or self.scale is None:
            return {}
        return {"mean": self.mean, "scale": self.scale}


def fit_scaler(kind: str, X: Samples) -> Scaler:
    """Learn a scaler from the train rows; a feature that never varies is only centred."""
    if kind not in SCALES:
        raise ModelError(f"unknown scale {kind!r}: say one of {', '.join(SCALES)}")
    if kind != "standard":
        return Scaler(kind)
    if isinstance(X, Blocks):
        learned = StandardScaler()
        for _, block in X:
            learned.partial_fit(block)
        return Scaler(kind, learned.mean_, learned.scale_)
    scale = X.std(axis=0, dtype=np.float64)
    return Scaler(kind, X.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0))
