"""What the network knew before any training: ImageNet's own last layer on the cached features."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax, logsumexp, softmax

from featx import config
from featx.arrays import Labels, Matrix
from featx.errors import ModelError
from featx.features.content import Features
from featx.heads.kind import Kind, Learned, Memory, Size
from featx.heads.search import Search, Task
from featx.network.fetch import resolve_weights
from featx.network.vision import models
from featx.network.weights import Weights
from featx.storage.blocks import Samples, average_classes

FLOOR = 1e-6  # of a class that no ImageNet class stands for: unlikely, not impossible


@dataclass(frozen=True)
class LastLayer:
    """The fully connected layer that ImageNet's training left.

    Attributes
    ----------
    weight : ndarray of shape (1000, n_features), float32
    bias : ndarray of shape (1000,), float32
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def log_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Logarithms of the probabilities of ImageNet's classes, shape (n_samples, 1000)."""
        logits = X.astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias
        found: npt.NDArray[np.float64] = log_softmax(logits, axis=1)
        return found


def take_last_layer(weights: Weights) -> LastLayer:
    """The layer of some weights.

    Raises
    ------
    ModelError
        They came without one.
    """
    try:
        return LastLayer(weights.state["fc.weight"].numpy(), weights.state["fc.bias"].numpy())
    except KeyError as error:
        raise ModelError(
            f"{weights.name} has no last layer ({error.args[0]} is not in it), so that --clf "
            "imagenet cannot be had"
        ) from error


@dataclass(frozen=True)
class ImagenetFit:
    """ImageNet's classes, each standing for one of the user's.

    Attributes
    ----------
    layer : LastLayer
    stands_for : ndarray of shape (1000,), int64
    n_classes : int
    """

    layer: LastLayer
    stands_for: Labels
    n_classes: int
    converged: bool = True
    n_iter: int = 0

    @property
    def n_trained(self) -> int:
        """None: which class stands for which is counted, not trained."""
        return 0

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Fit`."""
        layer = self.layer
        return {"weight": layer.weight, "bias": layer.bias, "stands_for": self.stands_for}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], value: float, n_classes: int
    ) -> ImagenetFit:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        layer = LastLayer(arrays["weight"], arrays["bias"])
        return cls(layer, arrays["stands_for"], n_classes)

    def suits(self, n_classes: int) -> bool:
        """See `Fit`."""
        return int(self.stands_for.max()) < n_classes

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Logarithms of summed probabilities, shape (n_samples, n_classes)."""
        parts = self.layer.log_proba(X)
        scores = np.full((len(X), self.n_classes), np.log(FLOOR))
        for k in np.unique(self.stands_for):
            among = logsumexp(parts[:, self.stands_for == k], axis=1)
            scores[:, k] = np.logaddexp(scores[:, k], among)
        return scores


def map_classes(layer: LastLayer, X: Samples, y: Labels) -> ImagenetFit:
    """Let train say which of the user's classes each ImageNet class stands for.

    Each ImageNet class goes to the class whose train images it is most probable for, on average;
    before that, every class of the user's gets the one ImageNet class by which the sum of those
    averages over all classes is highest. Nothing else is learned.

    Parameters
    ----------
    layer : LastLayer
    X : ndarray or Blocks of shape (n_samples, n_features)
        Train's features, not scaled.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    """
    means = average_classes(X, y, lambda rows: softmax(layer.log_proba(rows), axis=1))
    stands_for = means.argmax(axis=0)
    rows, columns = linear_sum_assignment(means, maximize=True)
    stands_for[columns] = rows
    return ImagenetFit(layer, stands_for.astype(np.int64), len(means))


def find_known(classes: Sequence[str]) -> dict[str, str]:
    """Classes whose names are names of ImageNet classes: the network was trained on them."""
    known = models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    names = {_plain(name): name for name in known}
    return {name: names[_plain(name)] for name in classes if _plain(name) in names}


def _plain(name: str) -> str:
    """A class name without case, punctuation, and the numbers that Caltech puts around it."""
    return re.sub(r"[\W_]+", " ", re.sub(r"^\d+\.|-101$", "", name).casefold()).strip()


def read_last_layer(features: Features, weights: str | None = None) -> LastLayer:
    """ImageNet's last layer of the weights that made these features.

    Raises
    ------
    ModelError
        The weights have none, or are others than the features'.
    WeightsError
        They cannot be had.
    """
    made = features.provenance
    found = resolve_weights(weights or made.weights, backbone=made.backbone)
    if found.sha256 != made.weights_sha256:
        raise ModelError(
            f"the features were made by {made.weights} ({made.weights_sha256[:12]}), and "
            f"{found.name} is {found.sha256[:12]}: its last layer means nothing for them"
        )
    return take_last_layer(found)


def _train(task: Task) -> Learned:
    fit = map_classes(task.prior, task.X, task.y)
    return Learned(Search(fit, 0.0, "nothing is chosen"))


def _estimate_blocks(size: Size) -> int:
    """Bytes of the probabilities of ImageNet's classes for the rows of a block."""
    block = max(1, config.BLOCK_BYTES // (4 * size.features))  # rows
    return block * config.IMAGENET_CLASSES * 8 * 4


KIND = Kind(
    name="imagenet",
    train=_train,
    untouched=True,
    prior=read_last_layer,
    load=ImagenetFit.from_arrays,
    memory=Memory(copies=8, blocks=_estimate_blocks, keeps_fits=False),
)
