"""Scores of images that come in groups: what counts as one observation is a group.

Images of one animal, site or patient are right or wrong together. Intervals and tests that take
each for an observation of its own are too sure; here whole groups are drawn, and whole groups are
turned round.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from featx.arrays import Labels
from featx.config import BOOTSTRAPS, CONFIDENCE
from featx.storage.rows import iterate_slices

_DRAWN = 1 << 22  # groups that are drawn together
_FAR = 9.0  # standard deviations: beyond all draws


def sum_groups(values: npt.NDArray[np.generic], clusters: Labels) -> npt.NDArray[np.float64]:
    """Sums of values over the images of each group, by ascending number of the groups there are.

    Parameters
    ----------
    values : ndarray of shape (n_samples,) or (n_samples, n_values), bool or number
    clusters : ndarray of shape (n_samples,), int64

    Returns
    -------
    ndarray of shape (n_groups,) or (n_groups, n_values), float64
    """
    names, group = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, group, values)
    return sums


def bootstrap_ratio(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], seed: int = 0
) -> tuple[float, float] | None:
    """Interval, at 95 %, of a mean over images that come in groups: groups are drawn again.

    Each draw has as many groups as there are, and is scored by its images: the sum of `sums` over
    that of `sizes` (Davison and Hinkley 1997, section 3.8; Field and Welsh 2007). Of rows of
    classes, what is scored is the mean over the classes that the draw has images of. The interval
    is Efron's BCa (1987), with the tails that Hesterberg's expanded percentile interval has (2015,
    The American Statistician 69:371), since groups are few.

    Parameters
    ----------
    sums, sizes : ndarray of shape (n_groups,) or (n_groups, n_classes), float64
        Of each group; for accuracy how many images are right, and how many there are.
    seed : int

    Returns
    -------
    (float, float) or None
        None where every draw gives the same, or there is one group: the groups do not tell then.
    """
    n_groups = len(sums)
    if n_groups < 2:
        return None
    sums, sizes = (one.reshape(n_groups, -1) for one in (sums, sizes))
    rng = np.random.default_rng(seed)
    drawn = np.empty(BOOTSTRAPS)
    for some in iterate_slices(BOOTSTRAPS, max(1, _DRAWN // n_groups)):
        picked = rng.integers(0, n_groups, (some.stop - some.start, n_groups))
        times = np.zeros(picked.shape)
        np.add.at(times, (np.arange(len(picked))[:, None], picked), 1)
        drawn[some] = _mean_of_classes(times @ sums, times @ sizes)
    if drawn.min() == drawn.max():
        return None
    found = _mean_of_classes(sums.sum(axis=0), sizes.sum(axis=0))
    without = _mean_of_classes(sums.sum(axis=0) - sums, sizes.sum(axis=0) - sizes)
    off = without.mean() - without
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5) if off.any() else 0.0
    below = ((drawn < found).mean() + (drawn <= found).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / BOOTSTRAPS, 1 - 1 / BOOTSTRAPS))
    tail = expand_tail(n_groups)
    # Of two groups the tails are nothing: the ends are then those of the draws.
    ends = bias + np.clip(stats.norm.ppf([tail, 1 - tail]), -_FAR, _FAR)
    places = bias + ends / np.maximum(1 - acceleration * ends, 1 / _FAR)
    low, high = np.quantile(drawn, stats.norm.cdf(places))
    return float(low), float(high)


def _mean_of_classes(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Means over the last axis of the ratios, where there is something to divide by."""
    has = sizes > 0
    return np.asarray((sums / np.where(has, sizes, 1)).sum(axis=-1) / has.sum(axis=-1).clip(1))


def expand_tail(n_groups: int) -> float:
    """Hesterberg's tail for an interval at 95 % of so many groups; see `bootstrap_ratio`."""
    t = stats.t.ppf((1 - CONFIDENCE) / 2, n_groups - 1)
    return float(stats.norm.cdf(math.sqrt(n_groups / (n_groups - 1)) * t))


def flip_signs(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The sign-flip permutation test of two classifiers on images that come in groups.

    If neither is better, a group's difference might as well be the other way round; the p-value
    is how many of all 2^n ways to turn n groups give a sum that is as far from 0. All of them are
    counted, by way of the product of cosines that is the sum's characteristic function. With one
    image a group this is McNemar's test.

    Parameters
    ----------
    differences : ndarray of shape (n_groups,), float64
        Of each group, images that only the first got right less those that only the second did.

    Returns
    -------
    mid_p, exact : float
        Two-sided; of the mid-p what is exactly as far from 0 counts half. 1 where nothing differs.
    """
    sizes, times = np.unique(
        np.abs(differences[differences != 0]).astype(np.int64), return_counts=True
    )
    if not len(sizes):
        return 1.0, 1.0
    most = int((sizes * times).sum())
    found = abs(int(differences.sum()))
    # P(sum = s), s from -most to most, has as many values as there are points of the transform.
    angles = 2 * np.pi * np.arange(2 * most + 1) / (2 * most + 1)
    transform = np.ones(len(angles))
    for size, n in zip(sizes.tolist(), times.tolist(), strict=True):
        transform *= np.cos(size * angles) ** n
    chances = np.clip(np.fft.ifft(transform).real, 0.0, None)  # s = 0, 1, ..., most, -most, ..., -1
    at = chances[found] + (chances[-found] if found else 0.0)
    beyond = 2 * chances[found + 1 : most + 1].sum()
    # That all are turned one way happens at the least, whatever is lost in rounding.
    least = 2.0 ** (1 - int(times.sum()))
    return (
        float(np.clip(beyond + at / 2, least / 2, 1.0)),
        float(np.clip(beyond + at, least, 1.0)),
    )
