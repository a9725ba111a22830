"""How good predictions are, beyond a count: calibration, per class, confusion, intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, f1_score

from featx.arrays import Labels
from featx.config import BOOTSTRAPS, CONFIDENCE
from featx.training.clusters import tabulate_groups
from featx.training.metrics import interval_of_groups, log_loss, score_labels
from featx.training.prevalence import Reweighed, reweigh
from featx.training.reliability import Bin, measure_reliability

Probabilities = npt.NDArray[np.floating]


@dataclass(frozen=True)
class PerClass:
    """One class's images, and the interval of its accuracy, None where there are no images.

    `ci95_method` is as `Score.method`.
    """

    correct: int
    total: int
    ci95: tuple[float, float] | None
    ci95_method: str = "wilson"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "ci95": None if self.ci95 is None else list(self.ci95)}


@dataclass(frozen=True)
class Measures:
    """What is measured of one split's predictions at no cost, so that a model keeps it.

    Attributes
    ----------
    log_loss : float
        Nats.
    macro_f1 : float
        Mean F1 of the classes that the split has.
    top5 : float or None
        Fraction of images whose class is among the five most probable; None with five or fewer.
    per_class : tuple of PerClass
    """

    log_loss: float
    macro_f1: float
    top5: float | None
    per_class: tuple[PerClass, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "per_class": [one.to_dict() for one in self.per_class]}


@dataclass(frozen=True)
class Evaluation(Measures):
    """One split's predictions.

    Attributes
    ----------
    log_loss, macro_f1, top5, per_class
        See `Measures`.
    mean_per_class_ci95 : (float, float)
        See `bootstrap_per_class`; of images in groups `interval_of_groups`.
    mean_per_class_ci95_method : str
        "bootstrap", or of images in groups as in `Score.method`.
    ece, ece_debiased : float
    ece_ci95 : (float, float)
    ece_ci95_method : str
    bins : tuple of Bin
        See `Reliability`.
    confusion : tuple of tuples of int
        Rows are true classes, columns predicted ones.
    prevalence : Reweighed or None
        Scores at the shares that classes have in the field, where these are known.
    """

    mean_per_class_ci95: tuple[float, float]
    mean_per_class_ci95_method: str
    ece: float
    ece_debiased: float
    ece_ci95: tuple[float, float]
    ece_ci95_method: str
    bins: tuple[Bin, ...]
    confusion: tuple[tuple[int, ...], ...]
    prevalence: Reweighed | None = None


def evaluate(
    y: Labels,
    probabilities: Probabilities,
    shares: npt.NDArray[np.float64] | None = None,
    clusters: Labels | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate probabilities against the truth.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        n_samples at least 1.
    probabilities : ndarray of shape (n_samples, n_classes)
    shares : ndarray of shape (n_classes,), float64, optional
        Of the classes in the field; see `reweigh`.
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples: all intervals then draw whole groups.
    seed : int
        Of the bootstraps.
    """
    n_classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(y, predicted, labels=np.arange(n_classes))
    correct, total = confusion.diagonal(), confusion.sum(axis=1)
    reliability = measure_reliability(y, probabilities, clusters, seed)
    if clusters is None:
        interval, method = bootstrap_per_class(correct, total, seed), "bootstrap"
    else:
        counts = tabulate_groups(predicted == y, y, clusters, n_classes)
        interval, method = interval_of_groups(*counts, seed=seed)
    return Evaluation(
        **vars(measure(y, probabilities, clusters)),
        mean_per_class_ci95=interval,
        mean_per_class_ci95_method=method,
        **vars(reliability),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        prevalence=None if shares is None else reweigh(y, probabilities, shares, clusters, seed),
    )


def measure(y: Labels, probabilities: Probabilities, clusters: Labels | None = None) -> Measures:
    """What `evaluate` says without drawing images again, but for groups; its parameters."""
    n_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    f1 = f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0.0)
    return Measures(
        log_loss=log_loss(y, probabilities),
        macro_f1=float(f1),
        top5=top_k(y, probabilities, 5) if n_classes > 5 else None,
        per_class=tuple(_score_class(y == k, y, predicted, clusters) for k in range(n_classes)),
    )


def _score_class(
    here: npt.NDArray[np.bool_], y: Labels, predicted: Labels, clusters: Labels | None
) -> PerClass:
    if not here.any():
        return PerClass(0, 0, None)
    score = score_labels(y[here], predicted[here], None if clusters is None else clusters[here])
    return PerClass(score.correct, score.total, score.interval, score.method)


def top_k(y: Labels, probabilities: Probabilities, k: int) -> float:
    """Fraction of images whose class is among the k most probable; ties count against it."""
    own = probabilities[np.arange(len(y)), y]
    better = (probabilities >= own[:, None]).sum(axis=1) - 1
    return float((better < k).mean())


def bootstrap_per_class(
    correct: npt.NDArray[np.integer], total: npt.NDArray[np.integer], seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval, at 95 %, of the mean of the classes' accuracies.

    Images are drawn again within each class. How many of the n drawn are right is then binomial
    with the class's own accuracy, so that no image needs to be drawn. Where every image is right
    the interval has no width: read Wilson's of the accuracy there.

    Parameters
    ----------
    correct, total : ndarray of shape (n_classes,), int
        Classes without images are left out.
    seed : int
    """
    has = total > 0
    rng = np.random.default_rng(seed)
    share = correct[has] / total[has]
    drawn = rng.binomial(total[has], share, size=(BOOTSTRAPS, int(has.sum()))) / total[has]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn.mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
