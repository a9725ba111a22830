"""A trained head: features to probabilities, and a model file back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.errors import ModelError
from featx.heads.imagenet import ImagenetFit, LastLayer
from featx.heads.knn import NeighboursFit
from featx.heads.scaling import Scaler
from featx.heads.search import Fit, LinearFit
from featx.storage.blocks import Samples, gather
from featx.training.model import Model


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
        arrays: dict[str, npt.NDArray[Any]] = dict(self.scaler.to_arrays())
        if isinstance(self.fit, LinearFit):
            return arrays | {"coef": self.fit.coef, "intercept": self.fit.intercept}
        if isinstance(self.fit, NeighboursFit):
            return arrays | {"X": np.asarray(self.fit.X), "y": self.fit.y}
        assert isinstance(self.fit, ImagenetFit)
        layer = self.fit.layer
        return arrays | {
            "weight": layer.weight, "bias": layer.bias, "stands_for": self.fit.stands_for
        }  # fmt: skip


def load_head(model: Model) -> Head:
    """The head in a model; raises ModelError where it is no head, or arrays are missing."""
    where = model.path or model.name
    if model.kind != "head":
        raise ModelError(f"{where} is a fine-tuned network: it takes images, not features")
    arrays, n_classes = model.arrays, len(model.classes)
    try:
        details = model.outcome.details
        scaler = Scaler(str(details["scale"]), arrays.get("mean"), arrays.get("scale"))
        fitted: Fit
        if model.name == "knn":
            codes = arrays["y"]
            fitted = NeighboursFit(arrays["X"], codes, int(details["chosen"]["value"]), n_classes)
            fits = len(codes) == len(arrays["X"]) and int(codes.max()) + 1 == n_classes
        elif model.name == "imagenet":
            layer, codes = LastLayer(arrays["weight"], arrays["bias"]), arrays["stands_for"]
            fitted = ImagenetFit(layer, codes, n_classes)
            fits = int(codes.max()) < n_classes
        else:
            coef, intercept = arrays["coef"], arrays["intercept"]
            fitted = LinearFit(coef, intercept)
            fits = len(coef) == n_classes and intercept.shape == (n_classes,)
        temperature = float(details["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    if not fits or not temperature > 0:
        raise ModelError(f"{where} is damaged: its coefficients are not for {n_classes} classes")
    return Head(model.name, model.classes, scaler, fitted, temperature)
