"""A trained head of several labels an image: from a model file, and back to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from featx.arrays import Labels, Matrix
from featx.errors import ModelError
from featx.heads.head import Head
from featx.heads.search import LinearFit
from featx.storage.blocks import Samples, gather
from featx.training.model import MULTILABEL, Model
from featx.training.scaling import Scaler

EVEN = 0.5  # the threshold of a label that nothing could choose for


@dataclass(frozen=True)
class LabelFit:
    """What was learned of one label.

    Attributes
    ----------
    coef : ndarray of shape (n_features,), float64
    intercept : float
    temperature : float
        Its probability is the sigmoid of the score divided by it.
    threshold : float
    value : float
        What was chosen, such as C.
    by : str
        What chose.
    converged : bool
    """

    coef: npt.NDArray[np.float64]
    intercept: float
    temperature: float
    threshold: float
    value: float
    by: str
    converged: bool = True


@dataclass(frozen=True)
class LabelsHead(Head):
    """A linear classifier a label: its scaler, then logits, then the sigmoid of each by itself.

    Attributes
    ----------
    thresholds : ndarray of shape (n_labels,), float64
        A label is said of an image from this probability on.
    """

    thresholds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def predict(self, X: Samples) -> Labels:
        """Which labels each image has, shape (n_samples, n_labels): 1 or 0."""
        return gather(
            self.scaler.apply(X), lambda rows: (self._predict(rows) >= self.thresholds).astype(int)
        )

    def _predict(self, scaled: Matrix) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = expit(self.fit.decide(scaled))
        return probabilities


def make_arrays(scaler: Scaler, fits: Sequence[LabelFit]) -> dict[str, npt.NDArray[Any]]:
    """What a model file keeps of it: logits are the scores by the labels' temperatures."""
    return {
        **scaler.to_arrays(),
        "coef": np.stack([one.coef for one in fits]),
        "intercept": np.array([one.intercept for one in fits]),
        "temperatures": np.array([one.temperature for one in fits]),
        "thresholds": np.array([one.threshold for one in fits]),
    }


def load_labels_head(model: Model) -> LabelsHead:
    """The head in a model of several labels an image.

    Raises
    ------
    ModelError
        It is none, or arrays are missing.
    """
    where = model.path or model.name
    if model.kind != MULTILABEL:
        raise ModelError(f"{where} gives each image one label: featx fit of such features made it")
    try:
        head = join_head(
            model.name, model.classes, str(model.outcome.details["scale"]), model.arrays
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    n = len(model.classes)
    if not head.fit.suits(n) or head.thresholds.shape != (n,) or not head.thresholds.min() >= 0:
        raise ModelError(f"{where} is damaged: its coefficients are not for {n} labels")
    return head


def join_head(
    clf: str, classes: tuple[str, ...], scale: str, arrays: Mapping[str, npt.NDArray[Any]]
) -> LabelsHead:
    """The head of what `make_arrays` makes; raises KeyError where one is missing."""
    heat = arrays["temperatures"]
    fit = LinearFit(arrays["coef"] / heat[:, None], arrays["intercept"] / heat)
    scaler = Scaler.from_arrays(scale, arrays)
    return LabelsHead(clf, classes, scaler, fit, thresholds=arrays["thresholds"])
