"""Sets of classes that hold the true one as often as was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import BEYOND
from featx.novelty.detector import check_enough, find_floor, read_kept
from featx.novelty.scores import Numbers
from featx.training.model import Model

_ROUNDING = 1e-6  # of a probability, in float32 or by another runtime: it decides no set
_SCORES, _LABELS = "sets.scores", "sets.labels"  # names of arrays in a model file


@dataclass(frozen=True)
class Calibration:
    """What held-out rows say of a head's probabilities.

    Attributes
    ----------
    scores : ndarray of shape (n_held,), float64
        1 - the probability of the true class, by fits that saw neither the row nor its relatives.
    labels : ndarray of shape (n_held,), int64
        The true classes.
    """

    scores: Numbers
    labels: Labels

    def find_limits(self, coverage: float, n_classes: int, where: object) -> Limits:
        """Which scores belong to a set at a coverage.

        Split-conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002) with the score
        1 - probability (Sadinle, Lei and Wasserman 2019): the limit is the held score of rank
        ceil((n + 1) coverage). It is each class's own (Vovk 2012, Mondrian), so that every class is
        covered alike, where the class has so many held rows that `BEYOND` of them are expected
        beyond the limit, 99 at 0.9: by fewer it would be set by chance. The others share the limit
        of all rows, which covers them on average only.

        Raises
        ------
        ModelError
            All held rows are too few for the coverage.
        """
        rate = 1 - coverage
        check_enough(rate, len(self.scores), f"--sets {coverage:g}", where)
        pooled = _find_limit(self.scores, coverage)
        counts = np.bincount(self.labels, minlength=n_classes)
        own = counts >= find_own_floor(coverage)
        limits = np.full(n_classes, pooled)
        for k in np.flatnonzero(own):
            limits[k] = _find_limit(self.scores[self.labels == k], coverage)
        return Limits(limits, own)

    @classmethod
    def judge(cls, probabilities: Matrix, y: Labels) -> Calibration:
        """What rows say by their probabilities, shape (n_held, n_classes), and true classes."""
        return cls(1 - probabilities[np.arange(len(y)), y].astype(np.float64), y)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {_SCORES: self.scores, _LABELS: self.labels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Calibration:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        return cls(arrays[_SCORES], arrays[_LABELS])


def find_own_floor(coverage: float) -> int:
    """How many held rows a class needs for a limit of its own; see `Calibration.find_limits`."""
    return find_floor((1 - coverage) / BEYOND)


def load_calibration(model: Model) -> Calibration:
    """What sets go by, in a model; see `read_kept`.

    Of a fine-tuned network it is val, which chose epoch and learning rate, and nothing of it was
    learned from.
    """
    if model.kind != "head" and _SCORES in model.arrays:
        return Calibration.from_arrays(model.arrays)
    return read_kept(model, lambda told: Calibration.from_arrays(model.arrays))


@dataclass(frozen=True)
class Limits:
    """What a class's score may be at most to be in a set.

    Attributes
    ----------
    limits : ndarray of shape (n_classes,), float64
    own : ndarray of shape (n_classes,), bool
        Whether a class's limit is of its own held rows; others have that of all rows.
    """

    limits: Numbers
    own: npt.NDArray[np.bool_]

    def find_sets(self, probabilities: Matrix) -> npt.NDArray[np.bool_]:
        """Which classes are in each row's set, shape (n_samples, n_classes); it may be empty."""
        found: npt.NDArray[np.bool_] = 1 - probabilities <= self.limits + _ROUNDING
        return found


def _find_limit(scores: Numbers, coverage: float) -> float:
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))
    return float(np.sort(scores)[rank - 1])
