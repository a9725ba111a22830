"""What a split's scores are where classes are as frequent as in the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels
from featx.training.clusters import tabulate_groups
from featx.training.metrics import interval_of_groups, log_loss, wilson_interval


@dataclass(frozen=True)
class Reweighed:
    """Scores at other shares of the classes than the images have.

    Attributes
    ----------
    accuracy : float
        Sum of the classes' accuracies, each times its share.
    ci95 : (float, float)
        Its 95 % interval: see `reweigh`.
    log_loss : float
        The same sum of the classes' mean log-losses, in nats.
    ci95_method : str
        "wilson-of-classes", or of images in groups as in `Score.method`.
    """

    accuracy: float
    ci95: tuple[float, float]
    log_loss: float
    ci95_method: str = "wilson-of-classes"


def reweigh(
    y: Labels,
    probabilities: npt.NDArray[np.floating],
    shares: npt.NDArray[np.float64],
    clusters: Labels | None = None,
    seed: int = 0,
) -> Reweighed:
    """Score predictions as if the classes had other shares.

    The interval is that of Zou, Huang and Zhang (2009, Computational Statistics and Data Analysis
    53:1080) for a weighted sum of proportions: the distances from each class's accuracy to the ends
    of Wilson's interval, times its share, are squared, added, and the root taken. It has a width
    where all images are right, too. Of images in groups, which may have images of several classes,
    it is a cluster bootstrap of the sum itself.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
    probabilities : ndarray of shape (n_samples, n_classes)
    shares : ndarray of shape (n_classes,), float64
        At least 0, with the sum 1; 0 for a class that y does not have.
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples.
    seed : int
        Of the bootstrap.
    """
    right = probabilities.argmax(axis=1) == y
    accuracy = loss = below = above = 0.0
    for k in np.flatnonzero(shares).tolist():
        here, share = y == k, float(shares[k])
        correct, total = int(right[here].sum()), int(here.sum())
        own, (low, high) = correct / total, wilson_interval(correct, total)
        accuracy += share * own
        loss += share * log_loss(y[here], probabilities[here])
        below += (share * (own - low)) ** 2
        above += (share * (high - own)) ** 2
    if clusters is not None:
        counts = tabulate_groups(right, y, clusters, len(shares))
        interval, method = interval_of_groups(*counts, shares, seed)
        return Reweighed(accuracy, interval, loss, method)
    interval = (max(0.0, accuracy - below**0.5), min(1.0, accuracy + above**0.5))
    return Reweighed(accuracy, interval, loss)
