"""Pure functions of labels and scores: accuracy, intervals, log-loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from featx.arrays import Labels
from featx.config import CONFIDENCE
from featx.training.clusters import average_classes, bootstrap_ratio, tabulate_groups


@dataclass(frozen=True)
class Score:
    """How well one split was predicted.

    Attributes
    ----------
    correct, total : int
        Images.
    interval : (float, float)
        95 % interval of the accuracy, fractions in [0, 1].
    mean_per_class : float
        Mean of the classes' accuracies, over the classes that the split has.
    method : str
        Of the interval: "wilson", or "cluster-bootstrap" of images in groups, or where groups do
        not tell, being few or all right, "wilson-of-groups", which takes each for one image.
    """

    correct: int
    total: int
    interval: tuple[float, float]
    mean_per_class: float
    method: str = "wilson"

    @property
    def accuracy(self) -> float:
        """Fraction of images predicted right, in [0, 1]."""
        return self.correct / self.total


def score_labels(y: Labels, predicted: Labels, clusters: Labels | None = None) -> Score:
    """Score predicted labels against the true ones.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples,), int64
        n_samples at least 1.
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples.
    """
    right = y == predicted
    correct, total = int(right.sum()), len(y)
    per_class = [float(right[y == k].mean()) for k in np.unique(y)]
    interval, method = wilson_interval(correct, total), "wilson"
    if clusters is not None:
        interval, method = interval_of_groups(*tabulate_groups(right, 0 * y, clusters, 1))
    return Score(correct, total, interval, float(np.mean(per_class)), method)


def interval_of_groups(
    sums: Any, sizes: Any, shares: npt.NDArray[np.float64] | None = None, seed: int = 0
) -> tuple[tuple[float, float], str]:
    """Interval, at 95 %, of a mean over images that come in groups, and the name of its method.

    Where groups do not tell, since all are right or wrong or there is one, it is Wilson's, each
    group being one image.

    Parameters
    ----------
    sums, sizes : csr_array of shape (n_groups, n_classes), float64
        Of `tabulate_groups`. Groups without images of a class that counts are left out.
    shares, seed
        See `bootstrap_ratio`.

    Returns
    -------
    interval : (float, float)
    method : str
        "cluster-bootstrap" or "wilson-of-groups".
    """
    counts = sizes.sum(axis=1) if shares is None else sizes @ shares
    here = np.flatnonzero(counts)
    sums, sizes = sums[here], sizes[here]
    drawn = bootstrap_ratio(sums, sizes, seed, shares)
    if drawn is not None:
        return drawn, "cluster-bootstrap"
    found = float(average_classes(sums.sum(axis=0), sizes.sum(axis=0), shares))
    return wilson_interval(round(len(here) * found), len(here)), "wilson-of-groups"


def describe_scores(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Accuracy, counts, ci95 and its method, mean_per_class by split, as JSON has them."""
    return {
        "accuracy": {k: s.accuracy for k, s in scores.items()},
        "counts": {k: {"correct": s.correct, "total": s.total} for k, s in scores.items()},
        "ci95": {k: list(s.interval) for k, s in scores.items()},
        "mean_per_class": {k: s.mean_per_class for k, s in scores.items()},
        "ci95_method": {k: s.method for k, s in scores.items()},
    }


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's score interval (1927) for a proportion, at 95 %, as fractions in [0, 1]."""
    interval = stats.binomtest(correct, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def log_loss(y: Labels, probabilities: npt.NDArray[np.floating]) -> float:
    """Mean negative log-probability of the true class, in nats."""
    chosen = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.log(np.clip(chosen, np.finfo(np.float64).tiny, None)).mean())
