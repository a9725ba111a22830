"""What more labels would bring: a power law through a learning curve, with its band."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels
from featx.config import (
    CONFIDENCE,
    FORECAST_DRAWS,
    FORECAST_GAIN,
    FORECAST_REACH,
    FORECAST_SHARES,
)
from featx.labelling.opinion import form_opinion
from featx.training.clusters import draw_groups, sum_groups
from featx.training.trials import Folds

Vector = npt.NDArray[np.float64]

# Exponents that are tried: of learning curves they are mostly between 0.2 and 1.5 (Figueroa et al.
# 2012, BMC Medical Informatics and Decision Making 12:8).
_EXPONENTS = np.geomspace(0.1, 2.0, 25)

_FEWEST, _POINTS = 4, 3  # labels of a curve's first point, and points that a law needs
_ROUNDS = 6  # that are told one by one


@dataclass(frozen=True)
class Laws:
    """Curves of error against the number of labels, e(m) = floor + scale · m ** -exponent.

    Attributes
    ----------
    scale, exponent, floor : ndarray of shape (n_curves,), float64
        None of them negative: more labels never harm.
    """

    scale: Vector
    exponent: Vector
    floor: Vector

    def predict(self, labels: float | Vector) -> Vector:
        """Errors at a number of labels, of every curve, or of one at many numbers; fractions."""
        error: Vector = self.floor + self.scale * labels**-self.exponent
        return error


def fit_laws(sizes: Labels, errors: Vector) -> Laws:
    """Fit an inverse power law to each of some curves (Cortes et al. 1993).

    Of each exponent scale and floor are a least-squares fit in closed form, held at zero where
    they would be negative; the exponent with the least squares is taken. A point counts in
    proportion to its place in the curve, as in Figueroa et al. 2012: what lies ahead is more like
    the last ones.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,), int64
        Numbers of labels, ascending, each at least 1.
    errors : ndarray of shape (n_curves, n_sizes), float64
    """
    weight = np.arange(1, len(sizes) + 1) / (len(sizes) * (len(sizes) + 1) / 2)  # sum to 1
    mean = errors @ weight
    best: tuple[Vector, ...] | None = None
    for exponent in _EXPONENTS:
        x = sizes.astype(np.float64) ** -exponent
        middle = x @ weight
        slope = (errors @ (weight * (x - middle))) / (weight @ (x - middle) ** 2)
        through = (errors @ (weight * x)) / (weight @ x**2)  # without a floor
        falls = slope > 0
        scale = np.where(falls, np.minimum(slope, through), 0.0)
        floor = np.where(falls, np.maximum(mean - scale * middle, 0.0), mean)
        squares = ((errors - floor[:, None] - scale[:, None] * x) ** 2) @ weight
        found = squares, scale, np.full(len(errors), exponent), floor
        if best is None:
            best = found
        else:
            better = squares < best[0]
            best = tuple(np.where(better, a, b) for a, b in zip(found, best, strict=True))
    assert best is not None
    return Laws(*best[1:])


@dataclass(frozen=True)
class Curve:
    """Which images heads got right that learned from so many of the labels.

    Attributes
    ----------
    sizes : ndarray of shape (n_sizes,), int64
        Numbers of labels, ascending.
    right : ndarray of shape (n_sizes, n_images), float64
        Of each held-out image the share of draws that got it right.
    units : ndarray of shape (n_images,), int64
        Images of one number are no independent observations.
    luck : float
        Which labels one has makes a variance of accuracy of about this over their number.
    freedom : int
        Degrees of freedom that it was told with: draws beyond the first of each fold.
    """

    sizes: Labels
    right: Vector
    units: Labels
    luck: float = 0.0
    freedom: int = 1

    @property
    def accuracies(self) -> Vector:
        """Means over the images, shape (n_sizes,)."""
        mean: Vector = self.right.mean(axis=1)
        return mean


def measure_curve(
    X: npt.NDArray[np.float32], y: Labels, folds: Folds, units: Labels, C: float, seed: int = 0
) -> Curve | None:
    """Learn from ever larger random parts of the labels; judge by rows that are held out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,), int64
    folds : Folds
        Which rows are learned from and which are judged by them; each is judged at most once.
    units : ndarray of shape (n_samples,), int64
        See `Curve`.
    C : float
        Of every fit.
    seed : int

    Returns
    -------
    Curve or None
        None where there are too few labels for three sizes.
    """
    most = min((len(inside) for inside, _ in folds), default=0)
    sizes = np.unique([round(share * most) for share in FORECAST_SHARES])
    sizes = sizes[sizes >= _FEWEST]
    if len(sizes) < _POINTS:
        return None
    rng = np.random.default_rng(seed)
    judged = np.concatenate([outside for _, outside in folds])
    draws = max(2, FORECAST_DRAWS // len(folds))  # one tells no variance
    seen = []
    for inside, outside in folds:
        right = np.zeros((draws, len(sizes), len(outside)))
        for draw in range(draws):
            order = rng.permutation(inside)
            for k, size in enumerate(sizes.tolist()):
                if size == len(inside) and draw:  # all of them are one draw
                    right[draw, k] = right[0, k]
                    continue
                rows = order[:size]
                said = form_opinion(X[rows], y[rows], C).predict(X[outside])
                right[draw, k] = said == y[outside]
        seen.append(right)
    mean = np.concatenate([right.mean(axis=0) for right in seen], axis=1)
    freedom = (draws - 1) * len(folds)
    return Curve(sizes, mean, units[judged], measure_luck(sizes, seen), freedom)


def measure_luck(sizes: Labels, seen: Sequence[Vector]) -> float:
    """How much of accuracy is the luck of the labels, times their number; see `Curve`.

    Where which labels one has acts on accuracy as a mean over them, of variance v / m for m, then
    m of them and n more differ by v / m - v / (m + n), whether they are drawn from all there are
    or from few: so v is told by labels that others are added to. Of these variances those of more
    labels count more, as points of a law do.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,), int64
    seen : sequence of ndarray of shape (n_draws, n_sizes, n_images), float64
        Of each fold which images were right; a draw's labels are among those of its next size.
    """
    n_images = sum(right.shape[2] for right in seen)
    between, each = np.zeros(len(sizes) - 1), np.zeros(len(sizes) - 1)
    for right in seen:
        gains = np.diff(right, axis=1)  # (n_draws, n_sizes - 1, n_images)
        n = gains.shape[2]
        own = gains.var(axis=0, ddof=1).mean(axis=1)
        # Of a mean over n images: their own variance over n, and what any two have in common.
        mean = gains.mean(axis=2).var(axis=0, ddof=1)
        each += own / len(seen)
        between += (mean - own / n) * (n / max(1, n - 1)) / len(seen)
    spread = np.maximum(0, between + (each - between) / n_images)
    spread /= 1 / sizes[:-1] - 1 / sizes[1:]
    return float(np.average(spread, weights=np.arange(1, len(sizes))))


@dataclass(frozen=True)
class Gain:
    """What some labels would add.

    Attributes
    ----------
    labels : int
        In all, these included.
    gain : float
        Of accuracy, a fraction.
    interval : (float, float)
        Of what one draw of so many labels brings, at 95 %, the luck of the draw being in it.
    """

    labels: int
    gain: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "interval": list(self.interval)}


@dataclass(frozen=True)
class Forecast:
    """What more labels would bring to logistic regression on the features.

    Attributes
    ----------
    labels : int
        From which it could learn now.
    more : int
        Labels that are asked about.
    points : tuple of (int, float)
        Number of labels, and accuracy on held-out images: what was measured.
    reach : int
        Of how many labels it says something at the most: `FORECAST_REACH` times what was measured.
    now : float
        Accuracy with `labels`, as the law has it.
    level : float
        Of the intervals.
    rounds : tuple of Gain
        What `more` labels would add to what there is, twice as many and so on, as far as the reach;
        the first few of them.
    enough : int or None
        Labels from which on `more` labels add less than `FORECAST_GAIN`; None where that is not
        within reach.
    """

    labels: int
    more: int
    points: tuple[tuple[int, float], ...]
    reach: int
    now: float
    level: float
    rounds: tuple[Gain, ...]
    enough: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        points = [{"labels": labels, "accuracy": accuracy} for labels, accuracy in self.points]
        return {**vars(self), "points": points, "rounds": [one.to_dict() for one in self.rounds]}


def forecast_gain(curve: Curve, labels: int, more: int, seed: int = 0) -> Forecast:
    """Say what more labels would bring, from a law through a curve and through its bootstrap.

    Held-out images are drawn again, whole groups where there are any, and each draw has a law of
    its own; the luck of the labels that are added comes on top (`measure_luck`).

    Parameters
    ----------
    curve : Curve
    labels : int
        From which a head could learn now.
    more : int
    seed : int
    """
    reach = FORECAST_REACH * int(curve.sizes[-1])
    law = fit_laws(curve.sizes, 1 - curve.accuracies[None])
    now = 1 - float(law.predict(labels)[0])

    drawn = fit_laws(curve.sizes, np.concatenate(list(_draw_errors(curve, seed))))
    rng = np.random.default_rng([seed, 1])
    luck = np.sqrt(curve.luck) * rng.standard_t(curve.freedom, len(drawn.scale))
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    rounds = []
    for there in range(labels + more, reach + 1, more)[:_ROUNDS]:
        gains = drawn.predict(labels) - drawn.predict(there)
        gains += luck * np.sqrt(1 / labels - 1 / there)
        # No accuracy is below 0 or above 1.
        low, high = np.clip(np.quantile(gains, tails), -now, 1 - now).tolist()
        gain = float(law.predict(labels)[0] - law.predict(there)[0])
        rounds.append(Gain(there, gain, (low, high)))
    ahead = np.arange(labels, reach - more + 1, dtype=np.float64)
    little = np.flatnonzero(law.predict(ahead) - law.predict(ahead + more) < FORECAST_GAIN)
    return Forecast(
        labels=labels,
        more=more,
        points=tuple(zip(curve.sizes.tolist(), curve.accuracies.tolist(), strict=True)),
        reach=reach,
        now=now,
        level=CONFIDENCE,
        rounds=tuple(rounds),
        enough=labels + int(little[0]) if len(little) else None,
    )


def _draw_errors(curve: Curve, seed: int) -> Iterator[Vector]:
    """Errors at each size of images that are drawn again, some draws at a time."""
    sums = np.stack([sum_groups(1 - right, curve.units) for right in curve.right], axis=1)
    counts = sum_groups(np.ones(len(curve.units)), curve.units)
    for times in draw_groups(len(counts), np.random.default_rng(seed)):
        yield (times @ sums) / (times @ counts)[:, None]
