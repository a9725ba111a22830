"""Scores of images that come in groups: what counts as one observation is a group.

Images of one animal, site or patient are right or wrong together. Intervals and tests that take
each for an observation of its own are too sure; here whole groups are drawn, and whole groups are
turned round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from featx.arrays import Labels
from featx.config import BOOTSTRAPS, CONFIDENCE
from featx.storage.rows import iterate_slices

_DRAWN = 1 << 22  # groups that are drawn together
# Draws of two groups know three outcomes, of three ten: no end of an interval is among them.
_FEWEST_GROUPS = 4
_ALL_DRAWN, _FEWEST_DRAWS = 20_000_000, 200  # in all; draws at the least
_FAR = 9.0  # standard deviations: beyond all draws


def sum_groups(values: npt.NDArray[np.generic], clusters: Labels) -> npt.NDArray[np.float64]:
    """Sums of values over the images of each group, by ascending number of the groups there are.

    Parameters
    ----------
    values : ndarray of shape (n_samples,), bool or number
    clusters : ndarray of shape (n_samples,), int64

    Returns
    -------
    ndarray of shape (n_groups,), float64
    """
    group = np.unique(clusters, return_inverse=True)[1]
    return np.asarray(np.bincount(group, values.astype(np.float64)), np.float64)


def tabulate_groups(
    values: npt.NDArray[np.generic], kinds: Labels, clusters: Labels, n_kinds: int
) -> tuple[Any, Any]:
    """Sums of values over the images of each kind in each group, and how many these are.

    Parameters
    ----------
    values, clusters
        See `sum_groups`.
    kinds : ndarray of shape (n_samples,), int64
        From 0 to `n_kinds` - 1: classes, for instance.
    n_kinds : int

    Returns
    -------
    sums, sizes : csr_array of shape (n_groups, n_kinds), float64
        Sparse, since most groups have images of few classes.
    """
    names, group = np.unique(clusters, return_inverse=True)
    sums, sizes = (
        sparse.csr_array((each, (group, kinds)), shape=(len(names), n_kinds))
        for each in (values.astype(np.float64), np.ones(len(values)))
    )
    return sums, sizes


def count_draws(size: int) -> int:
    """How often as much is drawn again: fewer times where it is much, and says as much then."""
    return max(_FEWEST_DRAWS, min(BOOTSTRAPS, _ALL_DRAWN // size))


def draw_groups(n_groups: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """How often each of n groups is drawn, of n with replacement; some draws at a time.

    Yields
    ------
    ndarray of shape (n_draws, n_groups), float64
        In all `count_draws` rows.
    """
    for some in iterate_slices(count_draws(n_groups), max(1, _DRAWN // n_groups)):
        n_draws = some.stop - some.start
        picked = rng.integers(0, n_groups, (n_draws, n_groups))
        picked += n_groups * np.arange(n_draws)[:, None]
        times = np.bincount(picked.reshape(-1), minlength=picked.size).reshape(picked.shape)
        yield times.astype(np.float64)


def bootstrap_ratio(
    sums: Any, sizes: Any, seed: int = 0, shares: npt.NDArray[np.float64] | None = None
) -> tuple[float, float] | None:
    """Interval, at 95 %, of a mean over images that come in groups: groups are drawn again.

    Each draw has as many groups as there are, and is scored by its images: the sum of `sums` over
    that of `sizes` (Davison and Hinkley 1997, section 3.8; Field and Welsh 2007). Of rows of
    classes, what is scored is the mean over the classes that the draw has images of. The interval
    is Efron's BCa (1987), with the tails that Hesterberg's expanded percentile interval has (2015,
    The American Statistician 69:371), since groups are few.

    Parameters
    ----------
    sums, sizes : ndarray or csr_array of shape (n_groups,) or (n_groups, n_classes), float64
        Of each group; for accuracy how many images are right, and how many there are.
    seed : int
    shares : ndarray of shape (n_classes,), float64, optional
        How much each class counts. Every group has images of one that does.

    Returns
    -------
    (float, float) or None
        None where every draw gives the same, or there are fewer than four groups: the groups do not
        tell then.
    """
    n_groups = sums.shape[0]
    if n_groups < _FEWEST_GROUPS:
        return None
    if isinstance(sums, np.ndarray):
        sums, sizes = (sparse.csr_array(one.reshape(n_groups, -1)) for one in (sums, sizes))
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            average_classes(times @ sums, times @ sizes, shares)
            for times in draw_groups(n_groups, rng)
        ]
    )
    if drawn.min() == drawn.max():
        return None
    whole = sums.sum(axis=0), sizes.sum(axis=0)
    found = average_classes(*whole, shares)
    without = np.concatenate(
        [
            average_classes(
                whole[0] - sums[some].toarray(), whole[1] - sizes[some].toarray(), shares
            )
            for some in iterate_slices(n_groups, max(1, _DRAWN // sums.shape[1]))
        ]
    )
    off = without.mean() - without
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5) if off.any() else 0.0
    below = ((drawn < found).mean() + (drawn <= found).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    tail = expand_tail(n_groups)
    # Of few groups the tails are next to nothing: the ends are then those of the draws.
    ends = bias + np.clip(stats.norm.ppf([tail, 1 - tail]), -_FAR, _FAR)
    places = bias + ends / np.maximum(1 - acceleration * ends, 1 / _FAR)
    low, high = np.quantile(drawn, stats.norm.cdf(places))
    return float(low), float(high)


def average_classes(
    sums: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float64]:
    """Means over the last axis of the ratios, where there is something to divide by."""
    has = sizes > 0
    weight = has * (np.ones(sizes.shape[-1]) if shares is None else shares)
    ratios = sums / np.where(has, sizes, 1)
    return np.asarray((ratios * weight).sum(axis=-1) / weight.sum(axis=-1))


def count_independent(
    differences: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], differ: int
) -> float:
    """As how many independent images some in groups count for the mean of their differences.

    The number of images by Kish's design effect (1965, Survey Sampling): the variance that the
    groups show by the one that as many independent images would have. Not above that number; where
    nothing varies, the number of groups.

    Parameters
    ----------
    differences, sizes : ndarray of shape (n_groups,), float64
        Of each group the sum of what is 1, 0 or -1 for an image, and how many images there are.
    differ : int
        Images for which it is not 0.
    """
    n_groups, total = len(sizes), float(sizes.sum())
    mean = float(differences.sum()) / total
    by_images = differ - total * mean**2
    if n_groups < 2 or by_images <= 0:
        return float(n_groups)
    by_groups = float(((differences - mean * sizes) ** 2).sum()) * n_groups / (n_groups - 1)
    return total / max(1.0, by_groups / by_images)


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
