"""Whether probabilities mean what they say: the reliability diagram and its error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels
from featx.config import BOOTSTRAPS, CALIBRATION_BINS, CONFIDENCE
from featx.training.metrics import wilson_interval

_BIN_IMAGES = 20  # of a bin at least, where there are as many: fewer say nothing of an accuracy
# Where images are many, fewer draws say as much and take seconds instead of minutes.
_DRAWN, _FEWEST_DRAWS = 20_000_000, 200


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
        Wilson's interval of the accuracy.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float
    ci95: tuple[float, float]


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
    bins : tuple of Bin
        Of equal counts, but for equal probabilities, which stay together.
    """

    ece: float
    ece_debiased: float
    ece_ci95: tuple[float, float]
    bins: tuple[Bin, ...]


def measure_reliability(
    y: Labels, probabilities: npt.NDArray[np.floating], seed: int = 0
) -> Reliability:
    """Hold the highest probabilities against how often they are right.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        n_samples at least 1.
    probabilities : ndarray of shape (n_samples, n_classes)
    seed : int
        Of what is drawn.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == y
    place = _place(confidence)
    surplus = right - confidence  # its sum in a bin is the bin's share of the error

    def measure(values: npt.NDArray[np.float64], places: npt.NDArray[np.int64]) -> float:
        return float(np.abs(np.bincount(places, values)).sum() / len(values))

    rng = np.random.default_rng(seed)

    def draw_images() -> float:
        rows = rng.integers(len(y), size=len(y))
        return measure(surplus[rows], place[rows])

    def draw_truth() -> float:
        return measure((rng.random(len(y)) < confidence) - confidence, place)

    ece = measure(surplus, place)
    drawn, by_chance = _repeat(draw_images, len(y)), _repeat(draw_truth, len(y))
    tail = (1 - CONFIDENCE) / 2
    added = float(drawn.mean()) - ece
    low, high = np.quantile(drawn, [tail, 1 - tail]) - 2 * added
    if ece <= np.quantile(by_chance, CONFIDENCE):
        low = 0.0
    return Reliability(
        ece=ece,
        ece_debiased=max(0.0, ece - added),
        ece_ci95=(max(0.0, float(low)), float(np.clip(high, 0, 1))),
        bins=_describe_bins(confidence, right, place),
    )


def _place(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each image: of equal counts, but equal values are never parted."""
    n_bins = max(1, min(CALIBRATION_BINS, len(confidence) // _BIN_IMAGES))
    ends = np.cumsum([len(part) for part in np.array_split(confidence, n_bins)]) - 1
    edges = np.unique(np.sort(confidence)[ends[:-1]])
    place = np.searchsorted(edges, confidence, side="left")
    return np.unique(place, return_inverse=True)[1].reshape(-1)


def _repeat(draw: Callable[[], float], images: int) -> npt.NDArray[np.float64]:
    draws = max(_FEWEST_DRAWS, min(BOOTSTRAPS, _DRAWN // images))
    return np.array([draw() for _ in range(draws)])


def _describe_bins(
    confidence: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    place: npt.NDArray[np.int64],
) -> tuple[Bin, ...]:
    bins: list[Bin] = []
    for i in range(int(place.max()) + 1):
        here = place == i
        correct, count = int(right[here].sum()), int(here.sum())
        bins.append(
            Bin(
                low=bins[-1].high if bins else float(confidence[here].min()),
                high=float(confidence[here].max()),
                count=count,
                confidence=float(confidence[here].mean()),
                accuracy=correct / count,
                ci95=wilson_interval(correct, count),
            )
        )
    return tuple(bins)
