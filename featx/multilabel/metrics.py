"""How well sets of labels are told: average precision, F1, Hamming, whole sets, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, hamming_loss

from featx.arrays import Labels, Matrix
from featx.storage.rows import iterate_slices
from featx.training.clusters import count_draws, expand_tail
from featx.training.metrics import wilson_interval

Sets = npt.NDArray[np.bool_]
Interval = tuple[float, float]
_DRAWN = 1 << 21  # weights of images that are held at a time
_FEWEST = 4  # images or groups for an interval, as of `bootstrap_ratio`
_SAME = 1e-12  # rounding
_SUMS = ("mAP", "macro_f1", "micro_f1", "hamming_loss", "subset_accuracy")


@dataclass(frozen=True)
class LabelScore:
    """One label on some images.

    Attributes
    ----------
    positives, predicted : int
        Images that have it, and images that are said to.
    ap : float or None
        Average precision, in [0, 1]; None where no image has it.
    f1 : float or None
        At the threshold.
    ap_ci95, f1_ci95 : (float, float) or None
    """

    positives: int
    predicted: int
    ap: float | None
    f1: float | None
    ap_ci95: Interval | None = None
    f1_ci95: Interval | None = None


@dataclass(frozen=True)
class SetScores:
    """Sets of labels on some images.

    Attributes
    ----------
    images : int
    values : dict of str to float or None
        "mAP", the mean of the labels' average precisions; "macro_f1", that of their F1; "micro_f1",
        F1 of all answers together; "hamming_loss", the share of answers that are wrong;
        "subset_accuracy", the share of images whose whole set is right. What is a mean over labels
        is over those that an image has.
    ci95 : dict of str to (float, float) or None
        None where drawing again does not tell; of whole sets it is Wilson's then, a group being one
        image, and bounds the Hamming loss where all are right.
    ci95_method : str
        "bootstrap", or of images in groups "cluster-bootstrap".
    labels : tuple of LabelScore
    """

    images: int
    values: dict[str, float | None]
    ci95: dict[str, Interval | None]
    ci95_method: str
    labels: tuple[LabelScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "images": self.images,
            **self.values,
            "ci95": {name: one and list(one) for name, one in self.ci95.items()},
            "ci95_method": self.ci95_method,
            "labels": [asdict(one) for one in self.labels],
        }


@dataclass(frozen=True)
class Draws:
    """What is measured when the images are drawn again, of each draw.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n_draws,)
        As of `SetScores`.
    ap, f1 : ndarray of shape (n_draws, n_labels)
        NaN where the draw has no image with the label.
    units : int
        Images, or groups, that are drawn.
    """

    values: dict[str, npt.NDArray[np.float64]]
    ap: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    units: int

    def find_interval(self, drawn: npt.NDArray[np.float64]) -> Interval | None:
        """The 95 % percentile interval, with Hesterberg's tails for few units.

        None of too few, and where every draw gives the same: they do not tell then.
        """
        known = drawn[~np.isnan(drawn)]
        if self.units < _FEWEST or not len(known) or np.ptp(known) < _SAME:
            return None
        tail = expand_tail(self.units)
        low, high = np.quantile(known, [tail, 1 - tail])
        return float(low), float(high)


def measure_sets(
    Y: Sets,
    probabilities: Matrix,
    thresholds: npt.NDArray[np.floating],
    clusters: Labels | None = None,
    seed: int = 0,
) -> tuple[SetScores, Draws]:
    """Measure what is said of sets of labels.

    Values are scikit-learn's own; intervals come from drawing images again, or groups.

    Parameters
    ----------
    Y : ndarray of shape (n_samples, n_labels), bool
        The truth; n_samples at least 1.
    probabilities : ndarray of shape (n_samples, n_labels)
    thresholds : ndarray of shape (n_labels,)
        A label is said of an image from this probability on.
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples.
    seed : int
        Of the bootstrap.
    """
    said = probabilities >= thresholds
    has = np.asarray(Y.any(axis=0))
    ap = [
        float(average_precision_score(Y[:, k], probabilities[:, k])) if there else None
        for k, there in enumerate(has)
    ]
    f1 = np.array([f1_score(y, told, zero_division=0) for y, told in zip(Y.T, said.T, strict=True)])
    any_label = bool(has.any())
    values = {
        "mAP": float(np.mean([one for one in ap if one is not None])) if any_label else None,
        "macro_f1": float(f1[has].mean()) if any_label else None,
        "micro_f1": float(f1_score(Y.ravel(), said.ravel(), zero_division=0)),
        "hamming_loss": float(hamming_loss(Y.ravel(), said.ravel())),
        "subset_accuracy": float(accuracy_score(np.ones(len(Y)), (said == Y).all(axis=1))),
    }
    draws = draw_sets(Y, probabilities, thresholds, clusters, seed)
    labels = tuple(
        LabelScore(
            int(Y[:, k].sum()), int(said[:, k].sum()), ap[k], float(f1[k]) if has[k] else None,
            draws.find_interval(draws.ap[:, k]), draws.find_interval(draws.f1[:, k]),
        )
        for k in range(Y.shape[1])
    )  # fmt: skip
    ci95 = {name: draws.find_interval(draws.values[name]) for name in _SUMS}
    if ci95["subset_accuracy"] is None:
        right = values["subset_accuracy"] or 0.0
        low, high = wilson_interval(round(draws.units * right), draws.units)
        ci95["subset_accuracy"] = low, high
        if right == 1:  # no more answers are wrong than images have a wrong one
            ci95["hamming_loss"] = 0.0, 1 - low
    method = "bootstrap" if clusters is None else "cluster-bootstrap"
    return SetScores(len(Y), values, ci95, method, labels), draws


def draw_sets(
    Y: Sets,
    probabilities: Matrix,
    thresholds: npt.NDArray[np.floating],
    clusters: Labels | None = None,
    seed: int = 0,
) -> Draws:
    """Measure the same of images that are drawn again, as many as there are, with replacement.

    Parameters are those of `measure_sets`. Two classifiers on the same images and seed have the
    same draws, so that the difference of what these give is one of pairs. Of much there are fewer
    draws; see `count_draws`.
    """
    said = probabilities >= thresholds
    n, n_labels = Y.shape
    unit = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    ranked = [_Ranked(Y[:, k], probabilities[:, k]) for k in range(n_labels)]
    marks = np.concatenate([Y & said, said, Y], axis=1).astype(np.float64)  # (n, 3 n_labels)
    wrong, whole = (said != Y).mean(axis=1), (said == Y).all(axis=1).astype(np.float64)
    parts = []
    for W in _draw_weights(unit, n_labels, seed):
        right, predicted, there = np.split(W @ marks, 3, axis=1)
        none = there == 0
        f1 = np.where(none, np.nan, 2 * right / np.maximum(predicted + there, 1))
        ap = np.stack([one.average_precision(W) for one in ranked], axis=1)
        total = W.sum(axis=1)
        everything = np.maximum((predicted + there).sum(axis=1), 1)
        parts.append(
            (
                _average(ap), _average(f1), 2 * right.sum(axis=1) / everything,
                W @ wrong / total, W @ whole / total, ap, f1,
            )
        )  # fmt: skip
    *sums, ap, f1 = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Draws(dict(zip(_SUMS, sums, strict=True)), ap, f1, int(unit.max()) + 1)


def _draw_weights(unit: Labels, n_labels: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each image is drawn with its group, shape (some draws, n_samples)."""
    rng, n_units = np.random.default_rng(seed), int(unit.max()) + 1
    n_draws = count_draws(n_units * max(1, n_labels // 10))
    for some in iterate_slices(n_draws, max(1, _DRAWN // len(unit))):
        picked = rng.integers(0, n_units, (some.stop - some.start, n_units))
        picked += n_units * np.arange(len(picked))[:, None]
        times = np.bincount(picked.reshape(-1), minlength=picked.size).reshape(picked.shape)
        yield times[:, unit].astype(np.float64)


def _average(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of rows over what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    means = np.where(known, values, 0).sum(axis=1) / np.maximum(counts, 1)
    return np.asarray(np.where(counts > 0, means, np.nan))


class _Ranked:
    """One label's images, the most probable first, for average precisions of many weightings."""

    def __init__(self, y: Sets, probabilities: Matrix) -> None:
        self._order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[self._order]
        # Of equal probabilities none comes before another: they count together.
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._y = y[self._order].astype(np.float64)

    def average_precision(self, W: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of each row of weights: the sum of precisions, each by the recall that it adds."""
        ranked = W[:, self._order]
        there = np.cumsum(ranked * self._y, axis=1)[:, self._ends]
        told = np.cumsum(ranked, axis=1)[:, self._ends]
        added = np.diff(there, axis=1, prepend=0)
        total = there[:, -1]
        sums = (added * there / np.maximum(told, 1)).sum(axis=1)
        return np.asarray(np.where(total > 0, sums / np.maximum(total, 1), np.nan))


def choose_threshold(y: Sets, probabilities: Matrix) -> float:
    """The probability from which on saying a label gives the highest F1.

    Between two that occur, and of equals the highest. It is half the F1 that it gives, or less,
    where probabilities are calibrated (Lipton, Elkan and Narayanaswamy 2014, Optimal Thresholding
    of Classifiers to Maximize F1 Measure).

    Parameters
    ----------
    y : ndarray of shape (n_samples,), bool
        One at least is True.
    probabilities : ndarray of shape (n_samples,)
        Of images that were not learned from.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order].astype(np.float64)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    right = np.cumsum(y[order])[ends]
    best = int((right / (ends + 1 + y.sum())).argmax())
    last = ends[best]
    below = ranked[last + 1] if last + 1 < len(ranked) else ranked[last]
    return float((ranked[last] + below) / 2)
