"""Pure functions of labels and scores: accuracy, intervals, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from featx.arrays import Labels
from featx.config import CONFIDENCE, SIGNIFICANT


@dataclass(frozen=True)
class Score:
    """How well one split was predicted.

    Attributes
    ----------
    correct, total : int
        Images.
    interval : (float, float)
        Wilson's 95 % interval of the accuracy, fractions in [0, 1].
    mean_per_class : float
        Mean of the classes' accuracies, over the classes that the split has.
    """

    correct: int
    total: int
    interval: tuple[float, float]
    mean_per_class: float

    @property
    def accuracy(self) -> float:
        """Fraction of images predicted right, in [0, 1]."""
        return self.correct / self.total


def score_labels(y: Labels, predicted: Labels) -> Score:
    """Score predicted labels against the true ones.

    Parameters
    ----------
    y, predicted : ndarray of shape (n_samples,), int64
        n_samples at least 1.
    """
    right = y == predicted
    correct, total = int(right.sum()), len(y)
    per_class = [float(right[y == k].mean()) for k in np.unique(y)]
    return Score(correct, total, wilson_interval(correct, total), float(np.mean(per_class)))


def describe_scores(scores: Mapping[str, Score]) -> dict[str, Any]:
    """accuracy, counts, ci95 and mean_per_class by split, as the JSON objects have them."""
    return {
        "accuracy": {k: s.accuracy for k, s in scores.items()},
        "counts": {k: {"correct": s.correct, "total": s.total} for k, s in scores.items()},
        "ci95": {k: list(s.interval) for k, s in scores.items()},
        "mean_per_class": {k: s.mean_per_class for k, s in scores.items()},
    }


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's score interval (1927) for a proportion, at 95 %, as fractions in [0, 1]."""
    interval = stats.binomtest(correct, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def log_loss(y: Labels, probabilities: npt.NDArray[np.floating]) -> float:
    """Mean negative log-probability of the true class, in nats."""
    chosen = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.log(np.clip(chosen, np.finfo(np.float64).tiny, None)).mean())


def mcnemar(y: Labels, a: Labels, b: Labels) -> tuple[int, int, float]:
    """The exact McNemar test of two classifiers on the same images.

    Parameters
    ----------
    y, a, b : ndarray of shape (n_samples,), int64
        True labels and the two predictions.

    Returns
    -------
    only_a, only_b : int
        Images that only one of the two got right.
    p_value : float
        Two-sided, from the binomial distribution (McNemar 1947); 1 where they never differ.
    """
    only_a = int(((a == y) & (b != y)).sum())
    only_b = int(((a != y) & (b == y)).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    return only_a, only_b, float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, as Holm (1979) does; in the order given."""
    n = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = np.array(p_values, dtype=float)[order] * (n - np.arange(n))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def smallest_difference() -> int:
    """How many images two classifiers must differ on, at the least, to be told apart.

    With n images that only one gets right, all of them the same one, McNemar's exact p is 2 / 2^n:
    fewer than this can never reach `SIGNIFICANT`, however many images there are.
    """
    n = 1
    while 2 * 0.5**n >= SIGNIFICANT:
        n += 1
    return n
