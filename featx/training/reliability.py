"""Whether probabilities mean what they say: the reliability diagram and its error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import CALIBRATION_BINS, CONFIDENCE
from featx.storage.rows import iterate_slices
from featx.training.clusters import count_draws, draw_groups, expand_tail, tabulate_groups
from featx.training.metrics import score_labels

_BIN_IMAGES = 20  # of a bin at least, where there are as many: fewer say nothing of an accuracy
_DRAWN = 1 << 14  # images at a time: of many draws where they are few, since a draw has its price


@dataclass(frozen=True)
class Bin:
    """Images whose highest probability is in (low, high]; the first bin's low is its lowest.

    Attributes
    ----------
    low, high : float
    count : int
        At least 1.
    confidence : float
        Their mean highest probability.
    accuracy : float
        The fraction of them predicted right.
    ci95 : (float, float)
        Of the accuracy.
    ci95_method : str
        See `Score.method`.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    ci95: tuple[float, float]
    ci95_method: str = "wilson"


@dataclass(frozen=True)
class Reliability:
    """The expected calibration error, and the bins of the diagram.

    Attributes
    ----------
    ece : float
        Mean, weighted by images, of the differences between accuracy and mean confidence in the
        bins (Guo et al. 2017). Chance alone makes it larger than 0.
    ece_debiased : float
        Less what it grows by when the images are drawn again, as Kumar et al. (2019, Verified
        Uncertainty Calibration) correct it; not below 0.
    ece_ci95 : (float, float)
        Percentile bootstrap interval, moved by twice what drawing again adds: once for the draws,
        once for the images themselves, which were drawn, too. It reaches down to 0 where perfect
        calibration would show as much more often than once in 20 times (Bröcker and Smith 2007).
    ece_ci95_method : str
        "bootstrap", or "cluster-bootstrap" of images in groups: whole groups are drawn again, and
        what perfect calibration would show is what is left where groups are turned round, as in
        `flip_signs`. One group tells nothing: the interval is then all there is.
    bins : tuple of Bin
        Of equal counts, but for equal probabilities, which stay together.
    """

    ece: float
    ece_debiased: float
    ece_ci95: tuple[float, float]
    ece_ci95_method: str
    bins: tuple[Bin, ...]


def measure_reliability(
    y: Labels,
    probabilities: npt.NDArray[np.floating],
    clusters: Labels | None = None,
    seed: int = 0,
) -> Reliability:
    """Hold the highest probabilities against how often they are right.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        n_samples at least 1.
    probabilities : ndarray of shape (n_samples, n_classes)
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples.
    seed : int
        Of what is drawn.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == y
    place = _place(confidence)
    surplus = right - confidence  # its sum in a bin is the bin's share of the error
    ece = float(np.abs(np.bincount(place, surplus)).sum() / len(y))
    rng = np.random.default_rng(seed)
    tail = (1 - CONFIDENCE) / 2
    if clusters is None:
        drawn, by_chance = _draw_images(surplus, confidence, place, rng)
    else:
        drawn, by_chance = _draw_groups(surplus, place, clusters, rng)
        n_groups = len(np.unique(clusters))
        tail = expand_tail(n_groups) if n_groups > 1 else tail
    added = float(drawn.mean()) - ece
    low, high = np.quantile(drawn, [tail, 1 - tail]) - 2 * added
    if ece <= np.quantile(by_chance, CONFIDENCE):
        low = 0.0
    if clusters is not None and n_groups < 2:
        low, high = 0.0, 1.0
    return Reliability(
        ece=ece,
        ece_debiased=max(0.0, ece - added),
        ece_ci95=(max(0.0, float(low)), float(np.clip(high, 0, 1))),
        ece_ci95_method="bootstrap" if clusters is None else "cluster-bootstrap",
        bins=_describe_bins(confidence, right, place, clusters),
    )


def _draw_images(
    surplus: npt.NDArray[np.float64],
    confidence: npt.NDArray[np.float64],
    place: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Errors of images that are drawn again, and of truths that are drawn by the confidence."""
    n, n_bins = len(place), int(place.max()) + 1

    def measure(values: Matrix, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        apart = places + n_bins * np.arange(len(values))[:, None]
        sums = np.bincount(apart.ravel(), values.ravel(), minlength=n_bins * len(values))
        errors: npt.NDArray[np.float64] = np.abs(sums.reshape(-1, n_bins)).sum(axis=1) / n
        return errors

    def draw_images(draws: int) -> npt.NDArray[np.float64]:
        rows = rng.integers(n, size=(draws, n))
        return measure(surplus[rows], place[rows])

    def draw_truth(draws: int) -> npt.NDArray[np.float64]:
        return measure((rng.random((draws, n)) < confidence) - confidence, place[None])

    some = list(iterate_slices(count_draws(n), max(1, _DRAWN // n)))
    drawn, by_chance = (
        np.concatenate([draw(part.stop - part.start) for part in some])
        for draw in (draw_images, draw_truth)
    )
    return drawn, by_chance


def _draw_groups(
    surplus: npt.NDArray[np.float64],
    place: npt.NDArray[np.int64],
    clusters: Labels,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Errors of groups that are drawn again, and of groups that are turned round at random."""
    sums, sizes = tabulate_groups(surplus, place, clusters, int(place.max()) + 1)
    counts = sizes.sum(axis=1)
    drawn, by_chance = [], []
    for times in draw_groups(len(counts), rng):
        drawn.append(np.abs(times @ sums).sum(axis=1) / (times @ counts))
        signs = rng.choice([-1.0, 1.0], times.shape)
        by_chance.append(np.abs(signs @ sums).sum(axis=1) / counts.sum())
    return np.concatenate(drawn), np.concatenate(by_chance)


def _place(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each image: of equal counts, but equal values are never parted."""
    n_bins = max(1, min(CALIBRATION_BINS, len(confidence) // _BIN_IMAGES))
    ends = np.cumsum([len(part) for part in np.array_split(confidence, n_bins)]) - 1
    edges = np.unique(np.sort(confidence)[ends[:-1]])
    place = np.searchsorted(edges, confidence, side="left")
    return np.unique(place, return_inverse=True)[1].reshape(-1)


def _describe_bins(
    confidence: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    place: npt.NDArray[np.int64],
    clusters: Labels | None,
) -> tuple[Bin, ...]:
    bins: list[Bin] = []
    for i in range(int(place.max()) + 1):
        here = place == i
        of_here = None if clusters is None else clusters[here]
        score = score_labels(np.ones(here.sum(), np.int64), right[here].astype(np.int64), of_here)
        bins.append(
            Bin(
                low=bins[-1].high if bins else float(confidence[here].min()),
                high=float(confidence[here].max()),
                count=score.total,
                confidence=float(confidence[here].mean()),
                accuracy=score.accuracy,
                ci95=score.interval,
                ci95_method=score.method,
            )
        )
    return tuple(bins)
