"""What the network knew before any training: ImageNet's own last layer on the cached features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax, logsumexp, softmax
from torchvision.models import ResNet50_Weights

from featx.arrays import Labels, Matrix
from featx.errors import ModelError
from featx.features.content import Features
from featx.network.fetch import resolve_weights
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
    names = {_plain(name): name for name in ResNet50_Weights.IMAGENET1K_V1.meta["categories"]}
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
