"""From scores to probabilities: the temperature that held-out images decide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from featx.arrays import Labels, Matrix
from featx.storage.rows import iterate_slices
from featx.training.metrics import log_loss

_JUDGED = 1 << 22  # scores that are made probabilities together


def judge_scores(scores: Matrix, y: Labels, temperature: float = 1.0) -> tuple[float, float]:
    """(accuracy, log-loss) of the softmax at a temperature."""
    right, own = [], []
    for some in _slice_scores(scores):
        scaled = scores[some] / temperature
        right.append(scaled.argmax(axis=1) == y[some])
        own.append(softmax(scaled, axis=1)[np.arange(len(scaled)), y[some]])
    # Of the true class alone, as if it were the only one.
    loss = log_loss(np.zeros_like(y), np.concatenate(own)[:, None])
    return float(np.concatenate(right).mean()), loss


def _slice_scores(scores: Matrix) -> Iterator[slice]:
    return iterate_slices(len(scores), max(1, _JUDGED // scores.shape[1]))


def fit_temperature(scores: Matrix, y: Labels) -> float:
    """The temperature with the lowest log-loss on held-out images (Guo et al. 2017).

    Where all of them are right the plain optimum is 0, which would claim certainty. So truth counts
    as (n + 1) / (n + 2) instead of 1, as with Platt (1999), and the other classes share the rest.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
    y : ndarray of shape (n_samples,), int64
    """
    n, n_classes = scores.shape
    high, low = (n + 1.0) / (n + 2), 1.0 / (n + 2) / (n_classes - 1)
    lowest, highest = scores.min(axis=1), scores.max(axis=1)
    spread = float((highest.astype(np.float64) - lowest).max()) or 1.0

    def loss(log_temperature: float) -> float:
        parts = []
        for some in _slice_scores(scores):
            part = scores[some].astype(np.float64)
            target = np.full(part.shape, low)
            target[np.arange(len(part)), y[some]] = high
            scaled = log_softmax(part / (spread * np.exp(log_temperature)), axis=1)
            parts.append(-(target * scaled).sum(axis=1))
        return float(np.concatenate(parts).mean())

    # In units of the widest range of scores: from a softmax of hundreds to one that is flat.
    found = minimize_scalar(loss, bounds=(-8.0, 8.0), method="bounded", options={"xatol": 1e-6})
    return float(spread * np.exp(found.x))


def temper(probabilities: Matrix, temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities as they are at another temperature; those of 1 are the softmax of logits."""
    tempered: npt.NDArray[np.float64] = softmax(as_scores(probabilities) / temperature, axis=1)
    return tempered


def as_scores(probabilities: Matrix) -> npt.NDArray[np.float64]:
    """Logarithms, which have the same softmax; of what rounded to 0 the smallest number's."""
    smallest = np.finfo(np.float32).tiny
    scores: npt.NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), smallest))
    return scores
