"""What test says of a model's refusals and sets: accuracy against coverage, and shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import COVERAGE_POINTS, SET_COVERAGES, UNKNOWN_RATES
from featx.novelty.detector import Detector, find_floor
from featx.novelty.scores import Numbers, Probability
from featx.novelty.sets import Calibration, find_own_floor
from featx.training.calibration import as_scores
from featx.training.metrics import Score, score_labels

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CoverageCurve:
    """Accuracy on the images that are answered, where the strangest are not.

    Attributes
    ----------
    by : str
        The score, of `SCORES`, that says which are answered.
    coverages, accuracies : tuple of float
        Shares of images that are answered, ascending to 1, and how many of these are right.
    area : float
        The mean error over all numbers of images that are answered (AURC: Geifman, Uziel and
        El-Yaniv 2019); a fraction, the lower the better.
    """

    by: str
    coverages: tuple[float, ...]
    accuracies: tuple[float, ...]
    area: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        points = [
            {"coverage": c, "accuracy": a}
            for c, a in zip(self.coverages, self.accuracies, strict=True)
        ]
        return {"by": self.by, "area": self.area, "points": points}


@dataclass(frozen=True)
class Refusals:
    """Images that a rate refuses.

    Attributes
    ----------
    rate : float
        That is asked for.
    refused : Score
        How many are refused; "correct" are those.
    answered : Score or None
        How many of the others are right; None where there are none.
    """

    rate: float
    refused: Score
    answered: Score | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        told = {"rate": self.rate, "refused": describe_count(self.refused)}
        return {**told, "answered": self.answered and describe_count(self.answered)}


@dataclass(frozen=True)
class SetScores:
    """Sets of classes at a coverage.

    Attributes
    ----------
    coverage : float
        That is asked for.
    covered : Score
        How many sets hold the true class.
    size : float
        Classes in a set, on average.
    single, empty : int
        Images whose set has one class, or none.
    own, floor : int
        Classes that have a limit of their own, and from how many held images on a class has.
    """

    coverage: float
    covered: Score
    size: float
    single: int
    empty: int
    own: int
    floor: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "covered": describe_count(self.covered)}


@dataclass(frozen=True)
class NoveltyScores:
    """What a model knows of what it does not know, and what test says of it.

    Attributes
    ----------
    candidate : str
    lacking : str
        Why there is nothing to be said; "" where there is.
    details : mapping
        Of `Novelty`; of a fine-tuned network its score alone.
    curves : tuple of CoverageCurve
        By its own score first, and by the largest probability.
    refusals : tuple of Refusals
        At those of `UNKNOWN_RATES` that so many held images can tell.
    sets : tuple of SetScores
        At those of `SET_COVERAGES`.
    """

    candidate: str
    lacking: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    curves: tuple[CoverageCurve, ...] = ()
    refusals: tuple[Refusals, ...] = ()
    sets: tuple[SetScores, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "candidate": self.candidate,
            "lacking": self.lacking or None,
            **self.details,
            "coverage": [one.to_dict() for one in self.curves],
            "refused": [one.to_dict() for one in self.refusals],
            "sets": [one.to_dict() for one in self.sets],
        }


@dataclass(frozen=True)
class Unseen:
    """Labelled images that a model was not fitted on.

    Attributes
    ----------
    y : ndarray of shape (n_samples,), int64
    probabilities : ndarray of shape (n_samples, n_classes)
    strangeness : ndarray of shape (n_samples,), float64
        By the model's score.
    clusters : ndarray of shape (n_samples,), int64, or None
        What images belong to that are no independent samples.
    """

    y: Labels
    probabilities: Matrix
    strangeness: Numbers
    clusters: Labels | None = None

    @property
    def right(self) -> Flags:
        """Whether each image's most probable class is its own."""
        found: Flags = self.probabilities.argmax(axis=1) == self.y
        return found

    def count(self, holds: Flags, among: Flags | None = None) -> Score | None:
        """Of how many images, or of those among them, something holds; None of no images."""
        return count_share(holds, self.clusters, among)


def count_share(
    holds: Flags, clusters: Labels | None = None, among: Flags | None = None
) -> Score | None:
    """Of how many images, or of those among them, something holds; None of no images.

    `clusters` say what images belong to that are no independent samples.
    """
    here = np.ones(len(holds), bool) if among is None else among
    if not here.any():
        return None
    said = holds[here].astype(np.int64)
    return score_labels(np.ones_like(said), said, None if clusters is None else clusters[here])


def measure_coverage(by: str, strangeness: Numbers, right: Flags) -> CoverageCurve:
    """Accuracy against coverage, at `COVERAGE_POINTS` coverages at most.

    Equally strange images count as if they came in every order: each is as often right as all of
    them are.

    Parameters
    ----------
    by : str
    strangeness : ndarray of shape (n_samples,), float64
    right : ndarray of shape (n_samples,), bool
    """
    n = len(right)
    _, tie, sizes = np.unique(strangeness, return_inverse=True, return_counts=True)
    shares = np.bincount(tie, right) / sizes
    accuracies = np.cumsum(np.repeat(shares, sizes)) / np.arange(1, n + 1)
    places = np.unique(np.ceil(n * np.arange(1, COVERAGE_POINTS + 1) / COVERAGE_POINTS)).astype(int)
    return CoverageCurve(
        by,
        tuple((places / n).tolist()),
        tuple(accuracies[places - 1].tolist()),
        float(1 - accuracies.mean()),
    )


def measure_refusals(detector: Detector, unseen: Unseen) -> tuple[Refusals, ...]:
    """How many of images that are known a model refuses; see `Refusals`."""
    p_values, found = detector.find_p_values(unseen.strangeness), []
    for rate in UNKNOWN_RATES:
        refused = p_values <= rate
        counted = unseen.count(refused)
        if counted is not None and len(detector.held) >= find_floor(rate):
            found.append(Refusals(rate, counted, unseen.count(unseen.right, ~refused)))
    return tuple(found)


def measure_sets(calibration: Calibration, unseen: Unseen) -> tuple[SetScores, ...]:
    """How often sets hold the true class, and how large they are; see `SetScores`."""
    y, found = unseen.y, []
    for coverage in SET_COVERAGES:
        if len(calibration.scores) < find_floor(1 - coverage):
            continue
        limits = calibration.find_limits(coverage, unseen.probabilities.shape[1], "")
        sets = limits.find_sets(unseen.probabilities)
        sizes, covered = sets.sum(axis=1), unseen.count(sets[np.arange(len(y)), y])
        if covered is not None:
            found.append(
                SetScores(
                    coverage, covered, float(sizes.mean()), int((sizes == 1).sum()),
                    int((sizes == 0).sum()), int(limits.own.sum()), find_own_floor(coverage),
                )
            )  # fmt: skip
    return tuple(found)


def measure_curves(detector: Detector, unseen: Unseen) -> tuple[CoverageCurve, ...]:
    """Accuracy against coverage by a model's own score, and by the largest probability."""
    curves = {detector.name: measure_coverage(detector.name, unseen.strangeness, unseen.right)}
    if "probability" not in curves:
        logits = as_scores(unseen.probabilities)
        by_probability = Probability().measure(logits, logits)
        curves["probability"] = measure_coverage("probability", by_probability, unseen.right)
    return tuple(curves.values())


def describe_count(score: Score) -> dict[str, Any]:
    """A count, as JSON values."""
    return {
        "count": score.correct, "total": score.total, "share": score.accuracy,
        "ci95": list(score.interval), "ci95_method": score.method,
    }  # fmt: skip
