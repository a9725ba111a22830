"""What is said of an image beside its classes: whether the model knows its like, which set, and
what it is at the deepest rank that can be told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Matrix
from featx.errors import ModelError
from featx.heads.head import Head
from featx.novelty.detector import Detector, load_detector
from featx.novelty.ranks import NO_ANSWER, Answer, Ranking, keeps_ranks, load_ranking
from featx.novelty.sets import Limits, load_calibration
from featx.training.model import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doubt:
    """What a model says of an image beside its classes.

    Attributes
    ----------
    unknown : bool or None
        Whether it is refused as a stranger; None where nobody asked.
    p_value : float or None
        How rarely an image like those that the model knows is as strange; see
        `Detector.find_p_values`.
    score : float or None
        How strange it is, by the model's score.
    classes : tuple of str or None
        The set that holds the true class as often as was asked, the most probable first; None
        where nobody asked.
    answer : Answer or None
        What it is at the deepest rank of the model's taxonomy that keeps the precision; None where
        there is no taxonomy.
    """

    unknown: bool | None = None
    p_value: float | None = None
    score: float | None = None
    classes: tuple[str, ...] | None = None
    answer: Answer | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what was asked for."""
        told: dict[str, Any] = {}
        if self.unknown is not None:
            told |= {
                "unknown": self.unknown, "p_value": self.p_value, "stranger_score": self.score
            }  # fmt: skip
        if self.classes is not None:
            told |= {"set": list(self.classes)}
        if self.answer is not None:
            told |= self.answer.to_dict()
        return told


NO_DOUBT = Doubt()


@dataclass(frozen=True)
class Doubter:
    """What else is asked of a model.

    Attributes
    ----------
    rate : float or None
        Of images like those that it knows, so many are refused.
    detector : Detector or None
        Where there is a rate.
    limits : Limits or None
        Where sets are asked for.
    ranking : Ranking or None
        Where the model has a taxonomy.
    """

    rate: float | None = None
    detector: Detector | None = None
    limits: Limits | None = None
    ranking: Ranking | None = None

    def judge(self, head: Head, X: Matrix, probabilities: Matrix) -> list[Doubt]:
        """What is to be said of each row of features beside the head's probabilities."""
        n = len(probabilities)
        scores: npt.NDArray[np.float64] = np.full(n, np.nan)
        p_values = scores
        if self.detector is not None and self.rate is not None:
            scores, p_values = self.detector.measure(*head.decide(X))
        sets: Sequence[tuple[str, ...] | None] = [None] * n
        if self.limits is not None:
            inside = self.limits.find_sets(probabilities)
            order = np.argsort(-probabilities, axis=1, kind="stable")
            sets = [
                tuple(head.classes[k] for k in row if member[k])
                for row, member in zip(order, inside, strict=True)
            ]
        answers: Sequence[Answer | None] = [None] * n
        if self.ranking is not None:
            answers = self.ranking.answer(probabilities)
        if self.rate is None:
            return [Doubt(None, None, None, *one) for one in zip(sets, answers, strict=True)]
        told = zip(p_values.tolist(), scores.tolist(), sets, answers, strict=True)
        return [
            Doubt(p <= self.rate, p, score, one, NO_ANSWER if said and p <= self.rate else said)
            for p, score, one, said in told
        ]


def make_doubter(
    model: Model,
    unknown: float | None = None,
    sets: float | None = None,
    precision_at_least: float | None = None,
) -> Doubter:
    """Have ready what is asked of a model beside its classes.

    Parameters
    ----------
    model : Model
    unknown : float, optional
        Which share of images like those that it knows is refused, in (0, 1).
    sets : float, optional
        How often a set of classes holds the true one, in (0, 1).
    precision_at_least : float, optional
        How often an answer at a rank is right, in (0, 1); None: as the model was fitted, where it
        has a taxonomy.

    Raises
    ------
    ModelError
        The model keeps neither strangers nor sets nor ranks, was calibrated on too few images, or a
        share is none.
    """
    for name, share in (("unknown", unknown), ("sets", sets)):
        if share is not None and not 0 < share < 1:
            raise ModelError(f"{name} is {share}: it is a share between 0 and 1, such as 0.05")
    for name, asked in (
        ("unknown", unknown), ("sets", sets), ("precision-at-least", precision_at_least)
    ):  # fmt: skip
        if asked is not None:
            model.need_one_label(f"--{name}")
    where, detector, limits = model.path or model.name, None, None
    if unknown is not None:
        detector = load_detector(model)
        detector.check_rate(unknown, where)
    if sets is not None:
        limits = load_calibration(model).find_limits(sets, len(model.classes), where)
    ranking = None
    if precision_at_least is not None or keeps_ranks(model):
        ranking = load_ranking(model, precision_at_least)
        if never := [one.rank for one in ranking.kept if one.threshold is None]:
            log.info(
                "%s: no image is answered at these ranks, which do not keep a precision of %g or "
                "were left too few images to say: %s", where, ranking.precision, ", ".join(never),
            )  # fmt: skip
    return Doubter(unknown, detector, limits, ranking)
