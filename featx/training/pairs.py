"""Two classifiers on the same images: is there a difference, how large, what could be found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import brentq

from featx.arrays import Labels
from featx.config import CONFIDENCE, POWER, SIGNIFICANT
from featx.training.clusters import bootstrap_ratio, count_independent, flip_signs, sum_groups

_NUDGE = 1e-9  # off the estimate itself, where the score is 0 and has no sign


@dataclass(frozen=True)
class Paired:
    """What the same images say of two classifiers.

    Attributes
    ----------
    only_a, only_b : int
        Images that only one of the two got right.
    p_value : float
        McNemar's mid-p: see `mcnemar_mid_p`; of groups see `flip_signs`.
    p_value_exact : float
        See `mcnemar_exact`; of groups see `flip_signs`.
    difference : float
        Accuracy of a less that of b, a fraction in [-1, 1].
    interval : (float, float)
        Its 95 % interval: see `tango_interval`, and of groups `bootstrap_ratio`.
    worth : float or None
        Of groups: as how many independent images theirs count; see `count_independent`.
    """

    only_a: int
    only_b: int
    p_value: float
    p_value_exact: float
    difference: float
    interval: tuple[float, float]
    worth: float | None = None


def compare_paired(
    right_a: npt.NDArray[np.bool_],
    right_b: npt.NDArray[np.bool_],
    clusters: Labels | None = None,
) -> Paired:
    """Compare two classifiers by which of the same images each got right.

    Parameters
    ----------
    right_a, right_b : ndarray of shape (n_samples,), bool
        n_samples at least 1.
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples: the p-values are then those of
        `flip_signs`, the interval `bootstrap_ratio`'s, or where groups do not tell, Tango's with
        each of them as one image.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    if clusters is not None:
        differences = sum_groups(right_a.astype(np.int64) - right_b, clusters)
        sizes = sum_groups(np.ones(len(right_a)), clusters)
        drawn = bootstrap_ratio(differences, sizes)
        ahead, behind = int((differences > 0).sum()), int((differences < 0).sum())
        mid_p, exact = flip_signs(differences)
        return Paired(
            only_a=only_a,
            only_b=only_b,
            p_value=mid_p,
            p_value_exact=exact,
            difference=(only_a - only_b) / len(right_a),
            interval=drawn or tango_interval(ahead, behind, len(differences)),
            worth=count_independent(differences, sizes, only_a + only_b),
        )
    return Paired(
        only_a=only_a,
        only_b=only_b,
        p_value=mcnemar_mid_p(only_a, only_b),
        p_value_exact=mcnemar_exact(only_a, only_b),
        difference=(only_a - only_b) / len(right_a),
        interval=tango_interval(only_a, only_b, len(right_a)),
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """McNemar's exact test (1947), two-sided: could a fair coin have split these images so?

    1 where the two never differ.
    """
    twice = 2 * float(stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5))
    return min(1.0, twice)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """McNemar's test with the mid-p, two-sided: of what was observed itself, half counts.

    The exact test errs less often than it is allowed to, and misses differences for it; the mid-p
    comes close to the allowed 5 % and hardly ever beyond (Fagerland, Lydersen and Laake 2013,
    BMC Medical Research Methodology 13:91).
    """
    least, differ = min(only_a, only_b), only_a + only_b
    twice = 2 * stats.binom.cdf(least, differ, 0.5) - stats.binom.pmf(least, differ, 0.5)
    return min(1.0, float(twice))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, as Holm (1979) does; in the order given."""
    n = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = np.array(p_values, dtype=float)[order] * (n - np.arange(n))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def tango_interval(only_a: int, only_b: int, total: int) -> tuple[float, float]:
    """Tango's score interval for a difference of two accuracies on the same images, at 95 %.

    All differences that a score test would not reject, the nuisance parameter being what the images
    make likeliest under each (Tango 1998, Statistics in Medicine 17:891). It has a width where the
    two never differ, and holds what it promises on few images, where the usual one does not.

    Parameters
    ----------
    only_a, only_b : int
        Images that only one of the two got right.
    total : int
        All images, at least 1.

    Returns
    -------
    (float, float)
        Of the accuracy of a less that of b, fractions in [-1, 1].
    """
    found = (only_a - only_b) / total
    squared = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) ** 2

    def exceed(delta: float) -> float:
        """How far a difference is beyond those that are not rejected; below 0 for these."""
        b = (2 * total - only_a + only_b) * delta - only_a - only_b
        c = -only_b * delta * (1 - delta)
        likeliest = (math.sqrt(max(0.0, b * b - 8 * total * c)) - b) / (4 * total)
        variance = total * (2 * likeliest + delta * (1 - delta))
        return float((only_a - only_b - total * delta) ** 2 - squared * variance)

    return (
        _find_root(exceed, -1.0, found - _NUDGE),
        _find_root(exceed, 1.0, found + _NUDGE),
    )


def _find_root(function: Callable[[float], float], end: float, start: float) -> float:
    """Where a function that is below 0 at `start` and not at `end` changes its sign."""
    if abs(start) >= 1:  # all images say the same: nothing lies beyond
        return end
    return float(brentq(function, end, start, xtol=1e-12))


def find_detectable(total: float, differ: float, power: float = POWER) -> float | None:
    """The smallest true difference that McNemar's test finds in most test sets of a size.

    Miettinen's formula (1968, Biometrics 24:339; also Connor 1987, Biometrics 43:207) solved for
    the difference d: where the two differ on a share s of the images,
    z_a sqrt(s) + z_b sqrt(s - d^2) = d sqrt(n).

    Parameters
    ----------
    total : float
        Test images, at least 1; of images in groups as many as these count for.
    differ : float
        Share of the images that only one of the two has right, in [0, 1]. No difference is larger
        than it: where even that is too small to be found, it counts as just large enough.
    power : float
        The share of test sets in which it is to be found.

    Returns
    -------
    float or None
        A fraction in (0, 1]; None where no difference at all is found so often.
    """
    z_alpha = float(stats.norm.ppf(1 - SIGNIFICANT / 2))
    z_beta = float(stats.norm.ppf(power))

    def lack(delta: float) -> float:
        share = max(differ, delta)
        spread = z_alpha * math.sqrt(share) + z_beta * math.sqrt(max(0.0, share - delta * delta))
        return spread - delta * math.sqrt(total)

    if lack(1.0) > 0:
        return None
    # From almost nothing, where it never suffices, up: the lack falls all the way.
    return float(brentq(lack, 1e-9, 1.0, xtol=1e-12))


def judge_difference(interval: tuple[float, float], margin: float) -> str:
    """What an interval of a difference says: one of `JUDGEMENTS`.

    Parameters
    ----------
    interval : (float, float)
        Of the accuracy of one less that of another, fractions.
    margin : float
        Points of accuracy that count as no difference.

    Returns
    -------
    str
        "equal": the whole interval lies within the margin; "better" or "worse": it excludes 0;
        "unknown": neither, there are too few images to tell.
    """
    low, high = interval
    if -margin < 100 * low and 100 * high < margin:
        return "equal"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unknown"
