"""Where in a picture a linear head's scores come from, exactly.

A feature is the mean of what the last stage found at each of its places, and a linear score is a
sum over features: exchanging the two sums, it is the mean over places of a score that each place
has, plus a constant. That is the class activation map of Zhou et al. 2016, for any linear head and
any scaling, which is folded into the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.arrays import Matrix
from featx.errors import ModelError
from featx.heads.head import Head
from featx.heads.search import LinearFit

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldedHead:
    """A linear head on features that are not scaled: logits are what its softmax takes.

    With the scaling z = (x - m) / s and the temperature T the logits (w·z + b) / T are
    weight·x - shift + bias, with weight = w / (s T), shift = w·(m / s) / T and bias = b / T. Where
    rows are scaled to length 1, weight and shift are divided by |z|, one number for an image.

    Attributes
    ----------
    weight : ndarray of shape (n_classes, n_features), float64
    shift, bias : ndarray of shape (n_classes,), float64
    factor, offset : ndarray of shape (n_features,), float64
        z = factor · x - offset, before rows are scaled.
    unit : bool
        Whether rows are scaled to length 1.
    """

    weight: Numbers
    shift: Numbers
    bias: Numbers
    factor: Numbers
    offset: Numbers
    unit: bool

    def spread(self, features: Matrix, places: Matrix) -> tuple[Numbers, Numbers]:
        """Logits of images, spread over the places.

        Parameters
        ----------
        features : ndarray of shape (n, n_features)
            Means over places: those of `places`, as the network gave them.
        places : ndarray of shape (n, n_features, height, width)

        Returns
        -------
        maps : ndarray of shape (n, n_classes, height, width), float64
            Their means over the places, and the biases, are the logits.
        biases : ndarray of shape (n, n_classes), float64
        """
        n, dim, height, width = places.shape
        length = np.ones((n, 1))
        if self.unit:
            scaled = features.astype(np.float64) * self.factor - self.offset
            length = np.linalg.norm(scaled, axis=1, keepdims=True)
            length[length == 0] = 1.0  # as scikit-learn's normalize leaves such a row
        flat = self.weight @ places.reshape(n, dim, -1).astype(np.float64)  # (n, n_classes, places)
        maps = (flat / length[..., None]).reshape(n, -1, height, width)
        return maps, self.bias - self.shift / length


def fold_head(head: Head) -> FoldedHead:
    """A linear head with its scaling and temperature in its weights.

    Raises
    ------
    ModelError
        Its scores are not linear in the last layer's averages.
    """
    check_linear(head)
    scaler, fit = head.scaler, head.fit
    assert isinstance(fit, LinearFit)
    factor, offset = np.ones(fit.coef.shape[1]), np.zeros(fit.coef.shape[1])
    for step in (scaler.level, scaler):
        if step is not None and step.mean is not None:
            offset = offset + step.mean
        if step is not None and step.scale is not None:
            factor, offset = factor / step.scale, offset / step.scale
    coef = fit.coef.astype(np.float64) / head.temperature
    return FoldedHead(
        weight=coef * factor,
        shift=coef @ offset,
        bias=fit.intercept.astype(np.float64) / head.temperature,
        factor=factor,
        offset=offset,
        unit=scaler.kind in ("l2", "center-l2"),
    )


def check_linear(head: Head) -> None:
    """Raise ModelError where a head's scores are not linear in its features."""
    if not isinstance(head.fit, LinearFit):
        raise ModelError(
            f"{head.clf} has no map: its scores are no sum over the places of a picture. Take "
            "logreg, linear, svm, ridge, centroid or a fine-tuned network"
        )
