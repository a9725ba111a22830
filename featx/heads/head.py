"""A trained head: scaling, scores, probabilities; from a model file and back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.preprocessing import StandardScaler, normalize

from featx.arrays import Labels, Matrix
from featx.config import SCALES
from featx.errors import ModelError
from featx.heads.kind import find_kind
from featx.heads.search import Fit
from featx.storage.blocks import Blocks, Samples, gather
from featx.training.model import Model


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


@dataclass(frozen=True)
class Head:
    """A trained head: its scaler, then scores, then their softmax at a temperature.

    Attributes
    ----------
    clf : str
    classes : tuple of str
    scaler : Scaler
    fit : Fit
    temperature : float
    """

    clf: str
    classes: tuple[str, ...]
    scaler: Scaler
    fit: Fit
    temperature: float = 1.0

    def predict_proba(self, X: Samples) -> Matrix:
        """Probabilities, shape (n_samples, n_classes), float64; of Blocks float32."""
        return gather(self.scaler.apply(X), self._predict)

    def predict(self, X: Samples) -> Labels:
        """Codes of the most probable classes, shape (n_samples,)."""
        return gather(self.scaler.apply(X), lambda rows: self._predict(rows).argmax(axis=1))

    def _predict(self, scaled: Matrix) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = softmax(
            self.fit.decide(scaled) / self.temperature, axis=1
        )
        return probabilities

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {**self.scaler.to_arrays(), **self.fit.to_arrays()}


def load_head(model: Model) -> Head:
    """The head in a model; raises ModelError where it is no head, or arrays are missing."""
    where = model.path or model.name
    if model.kind != "head":
        raise ModelError(f"{where} is a fine-tuned network: it takes images, not features")
    kind, arrays, n_classes = find_kind(model.name), model.arrays, len(model.classes)
    try:
        details = model.outcome.details
        scaler = Scaler(str(details["scale"]), arrays.get("mean"), arrays.get("scale"))
        value = 0.0 if kind.grid is None else details["chosen"]["value"]
        fit = kind.load(arrays, value, n_classes)
        fits = fit.suits(n_classes)
        temperature = float(details["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    if not fits or not temperature > 0:
        raise ModelError(f"{where} is damaged: its coefficients are not for {n_classes} classes")
    return Head(model.name, model.classes, scaler, fit, temperature)
