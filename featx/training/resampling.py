"""Repeated cross-validation: which rows are held out together, and what scores of folds say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from featx.arrays import Labels
from featx.config import CONFIDENCE, FOLDS, MAX_REPEATS
from featx.errors import ModelError

Fold = tuple[Labels, Labels]


@dataclass(frozen=True)
class Resampling:
    """How often all rows are dealt out anew, and into how many folds each time.

    Attributes
    ----------
    repeats, folds : int
        At least 1 and 2.
    """

    repeats: int
    folds: int

    def __str__(self) -> str:
        return f"{self.repeats}x{self.folds}"

    @property
    def runs(self) -> int:
        """How many fits of each head that makes."""
        return self.repeats * self.folds


@dataclass(frozen=True)
class Estimate:
    """The mean of a score over all folds.

    Attributes
    ----------
    mean : float
    interval : (float, float)
        Nadeau and Bengio's corrected 95 % interval; see `estimate_mean`.
    naive_interval : (float, float)
        As if the folds had been independent, which they are not: too narrow.
    """

    mean: float
    interval: tuple[float, float]
    naive_interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Two heads on the same folds.

    Attributes
    ----------
    estimate : Estimate
        Of the first one's score less the second one's.
    t : float
        The corrected resampled t; infinite where all folds differ by the same, not by 0.
    p_value : float
        Two-sided.
    """

    estimate: Estimate
    t: float
    p_value: float


def parse_resampling(text: str) -> Resampling:
    """Read ``5x2`` as 5 repeats of 2 folds, as Dietterich's (1998) "5x2cv" is read.

    Raises
    ------
    ModelError
        It is no such thing, or has fewer than 2 folds or more than `MAX_REPEATS` repeats.
    """
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip())
    if found:
        spec = Resampling(int(found[1]), int(found[2]))
        if 1 <= spec.repeats <= MAX_REPEATS and spec.folds >= 2:
            return spec
    raise ModelError(
        f"cannot read the cross-validation {text!r}: write REPEATSxFOLDS, such as 5x5 (all images "
        f"are dealt into 5 folds, 5 times over); 1 to {MAX_REPEATS} repeats, 2 folds at least"
    )


def find_unfoldable(
    classes: Sequence[str], y: Labels, groups: Labels, spec: Resampling
) -> str | None:
    """Why not every fold can have every class, in a sentence; None where each can.

    Parameters
    ----------
    classes : sequence of str
    y : ndarray of shape (n_samples,), int64
        Codes of `classes`.
    groups : ndarray of shape (n_samples,), int64
        Rows of one group are in one fold.
    spec : Resampling
    """
    images = np.bincount(y, minlength=len(classes))
    apart = np.array([len(np.unique(groups[y == k])) for k in range(len(classes))])
    short = [
        f"{name} has {images[k]}" + (f" in {_count(apart[k])}" if apart[k] < images[k] else "")
        for k, name in enumerate(classes)
        if apart[k] < spec.folds
    ]
    if not short:
        return None
    fewest = int(apart.min())
    less = f"say --cv {spec.repeats}x{fewest}, " if fewest > 1 else ""
    return (
        f"--cv {spec} needs {spec.folds} images of each class, one for every fold (copies and "
        f"groups stay together and count as one), but {', '.join(short)}: {less}"
        "find more images, or leave the class out"
    )


def _count(n: int) -> str:
    return f"{n} group" + "s" * int(n != 1)


def draw_folds(y: Labels, groups: Labels, spec: Resampling, seed: int = 0) -> Iterator[Fold]:
    """Deal all rows into stratified folds, again and again; each fold is held out once.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        Codes; shares of classes are alike in all folds, as far as groups let them be.
    groups : ndarray of shape (n_samples,), int64
        Rows of one group are in one fold.
    spec : Resampling
        That `find_unfoldable` has nothing against.
    seed : int

    Yields
    ------
    inside, outside : ndarray of int64
        Rows that are learned from, and rows that are held out; ascending.

    Raises
    ------
    ModelError
        Groups are such that a fold has all images of a class.
    """
    single = len(np.unique(groups)) == len(groups)
    kind = StratifiedKFold if single else StratifiedGroupKFold
    for state in np.random.SeedSequence(seed).generate_state(spec.repeats):
        dealer = kind(spec.folds, shuffle=True, random_state=int(state))
        for inside, outside in dealer.split(y, y, None if single else groups):
            if len(np.unique(y[inside])) < len(np.unique(y)):
                raise ModelError(
                    f"the groups cannot be dealt into {spec.folds} folds: one of them has all "
                    "images of a class, of which nothing is left to learn from. Take fewer folds"
                )
            yield inside, outside


def hold_part(y: Labels, groups: Labels, seed: int = 0) -> Fold | None:
    """One stratified fold of `FOLDS` as the val of what is trained in epochs.

    Parameters are those of `draw_folds`. None where a class has no two groups to be apart.
    """
    fewest = min(len(np.unique(groups[y == k])) for k in np.unique(y))
    if fewest < 2:
        return None
    return next(draw_folds(y, groups, Resampling(1, min(FOLDS, fewest)), seed))


def estimate_mean(
    values: Sequence[float],
    spec: Resampling,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """The mean over all folds, with intervals that do and that do not know how alike folds are.

    Folds share most of what they are learned from, and repeats the rows themselves, so that the
    variance of the mean is not s² / J for J folds but about (1/J + n_test/n_train) s²: Nadeau and
    Bengio 2003, Inference for the Generalization Error, section 3; for repeats of folds Bouckaert
    and Frank 2004. t has J - 1 degrees of freedom.

    Parameters
    ----------
    values : sequence of float
        A score for each of ``spec.runs`` folds.
    spec : Resampling
    within : (float, float)
        What the score can be: intervals end there.
    """
    scores = np.asarray(values, dtype=np.float64)
    mean, s = float(scores.mean()), float(scores.std(ddof=1))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, spec.runs - 1))
    corrected, naive = (
        (max(within[0], mean - quantile * error), min(within[1], mean + quantile * error))
        for error in (s * _widen(spec), s * spec.runs**-0.5)
    )
    return Estimate(mean, corrected, naive)


def compare_means(a: Sequence[float], b: Sequence[float], spec: Resampling) -> Difference:
    """The corrected resampled t-test of two heads on the same folds.

    Nadeau and Bengio 2003; Bouckaert and Frank 2004: t is the mean of the differences by the root
    of (1/J + n_test/n_train) s², with J - 1 degrees of freedom.

    Parameters
    ----------
    a, b : sequence of float
        A score for each of ``spec.runs`` folds.
    spec : Resampling
    """
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    found = estimate_mean(differences.tolist(), spec)
    error = float(differences.std(ddof=1)) * _widen(spec)
    if error:
        t = found.mean / error
    else:
        t = float(np.copysign(np.inf, found.mean)) if found.mean else 0.0
    return Difference(found, t, float(2 * stats.t.sf(abs(t), spec.runs - 1)))


def _widen(spec: Resampling) -> float:
    """The mean's standard error by that of one fold; a fold is held out of one less than all."""
    return float(np.sqrt(1 / spec.runs + 1 / (spec.folds - 1)))
