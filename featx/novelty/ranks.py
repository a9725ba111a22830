"""Answers at the deepest rank of a taxonomy that keeps a stated precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import RANK_PRECISION
from featx.errors import ModelError
from featx.novelty.detector import RANKS
from featx.novelty.scores import Numbers
from featx.novelty.taxonomy import MISSING, Taxonomy
from featx.training.model import Model

_ROUNDING = 1e-6  # of a probability, in float32 or by another runtime: it decides no answer
_SCORES, _RIGHT = RANKS + "scores", RANKS + "right"  # names of arrays in a model file
_TOLD = "ranks"  # among its details


@dataclass(frozen=True)
class Answer:
    """What is said of an image: one name, of a rank that keeps the precision.

    Attributes
    ----------
    rank, name : str or None
        Such as genus and Panthera; None where no rank has an answer.
    probability : float or None
        The sum over the name's classes.
    leaf : str or None
        The most probable of these classes.
    """

    rank: str | None = None
    name: str | None = None
    probability: float | None = None
    leaf: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "answer_rank": self.rank, "answer": self.name, "answer_probability": self.probability,
            "leaf": self.leaf,
        }  # fmt: skip


NO_ANSWER = Answer()


@dataclass(frozen=True)
class Kept:
    """How one rank keeps a precision on held rows.

    Attributes
    ----------
    rank : str
    threshold : float or None
        What the probability of an answer is at least; None where the rank never keeps the precision
        and answers nothing.
    left : int
        Held rows that no deeper rank answers.
    answered, right : int
        How many of these it answers, and how many answers are right.
    """

    rank: str
    threshold: float | None
    left: int
    answered: int
    right: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self)}


@dataclass(frozen=True)
class Evidence:
    """What held-out rows say of a head's most probable name at each rank.

    Attributes
    ----------
    scores : ndarray of shape (n_held, n_ranks), float64
        Its probability, by fits that saw neither the row nor its relatives.
    right : ndarray of shape (n_held, n_ranks), bool
        Whether the row is of it.
    """

    scores: Numbers
    right: npt.NDArray[np.bool_]

    @classmethod
    def judge(cls, taxonomy: Taxonomy, probabilities: Matrix, y: Labels) -> Evidence:
        """What rows say by their probabilities, shape (n_held, n_classes), and true classes."""
        best, scores = taxonomy.find_best(probabilities)
        return cls(scores.astype(np.float64), best == taxonomy.codes[y])

    def keep_precision(self, ranks: Sequence[str], precision: float) -> tuple[Kept, ...]:
        """By rank, from the classes outward, from which probability on answers are right so often.

        A rank is given the rows that no deeper one answers, so that the precision holds of the
        answers that are given there, and not only of all that could be. Its threshold is the lowest
        score t of these rows with

            wrong(t) + 1 <= (1 - precision) (answered(t) + 1)

        among those with a score of t or more. That is what conformal risk control (Angelopoulos,
        Bates, Fisch, Lei and Schuster 2024) asks for, if a row's loss is 0 where it is not
        answered, `precision` where it is answered wrongly and `precision` - 1 where rightly: an
        expected loss of 0 at most. As that loss does not only fall with t, this is no proof;
        benchmarks/ranks.py holds it against test. A rank needs 1 / (1 - precision) - 1 rows, 19 at
        0.95, or more.
        """
        left, found = np.ones(len(self.scores), bool), []
        for r, rank in enumerate(ranks):
            scores, right = self.scores[left, r], self.right[left, r]
            threshold = _find_threshold(scores, right, precision)
            given = np.zeros(len(scores), bool)
            if threshold is not None:
                given = scores >= threshold - _ROUNDING
            counts = len(scores), int(given.sum()), int(right[given].sum())
            found.append(Kept(rank, threshold, *counts))
            left[left] = ~given
        return tuple(found)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {_SCORES: self.scores, _RIGHT: self.right}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Evidence:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        return cls(arrays[_SCORES], arrays[_RIGHT])


def _find_threshold(
    scores: Numbers, right: npt.NDArray[np.bool_], precision: float
) -> float | None:
    """See `Evidence.keep_precision`; None where there is no such score."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.append(falling[:-1] - falling[1:] > _ROUNDING, True)[: len(falling)]  # of equal ones
    wrong, answered = np.cumsum(~right[order]), np.arange(1, len(falling) + 1)
    keeps = last & (wrong + 1 <= (1 - precision) * (answered + 1) + _ROUNDING)
    return float(falling[keeps][-1]) if keeps.any() else None


@dataclass(frozen=True)
class Ranking:
    """A taxonomy with what decides at which of its ranks an image is answered.

    Attributes
    ----------
    taxonomy : Taxonomy
        Of a model's classes, in their order.
    evidence : Evidence
    precision : float
        Share of answers at each rank that are to be right.
    """

    taxonomy: Taxonomy
    evidence: Evidence
    precision: float

    @cached_property
    def kept(self) -> tuple[Kept, ...]:
        """See `Evidence.keep_precision`."""
        return self.evidence.keep_precision(self.taxonomy.ranks, self.precision)

    def find_ranks(self, scores: Matrix) -> Labels:
        """The deepest rank that answers each row, shape (n_samples,); `MISSING` where none does.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_ranks)
            Of `Taxonomy.find_best`.
        """
        limits = np.array([np.inf if k.threshold is None else k.threshold for k in self.kept])
        passed = scores >= limits - _ROUNDING
        found: Labels = np.where(passed.any(axis=1), passed.argmax(axis=1), MISSING)
        return found

    def answer(self, probabilities: Matrix) -> list[Answer]:
        """What is said of rows by their probabilities, shape (n_samples, n_classes)."""
        best, scores = self.taxonomy.find_best(probabilities)
        said, found = [NO_ANSWER] * len(best), self.find_ranks(scores)
        for r, rank in enumerate(self.taxonomy.ranks):
            here = np.flatnonzero(found == r)
            for number in np.unique(best[here, r]):
                rows = here[best[here, r] == number]
                beneath = np.flatnonzero(self.taxonomy.codes[:, r] == number)
                leaves = beneath[probabilities[np.ix_(rows, beneath)].argmax(axis=1)]
                name = self.taxonomy.names[r][number]
                for row, leaf in zip(rows.tolist(), leaves.tolist(), strict=True):
                    own = self.taxonomy.names[0][leaf]
                    said[row] = Answer(rank, name, float(scores[row, r]), own)
        return said

    def to_dict(self) -> dict[str, Any]:
        """What answers without featx, as JSON values: the tree, the precision, and thresholds.

        A threshold is null where a rank never keeps the precision.
        """
        thresholds = [one.threshold for one in self.kept]
        return {
            **self.taxonomy.to_dict(), "precision": self.precision, "thresholds": thresholds
        }  # fmt: skip

    def to_details(self) -> dict[str, Any]:
        """What a model's details tell of it, as JSON values; the evidence is arrays."""
        return {
            "taxonomy": self.taxonomy.to_dict(),
            "precision": self.precision,
            "images": len(self.evidence.scores),
            "kept": [one.to_dict() for one in self.kept],
        }


def check_precision(precision: float) -> None:
    """Raise ModelError where a precision is no share that answers could keep."""
    if not 0 < precision < 1:
        raise ModelError(
            f"a precision of {precision:g}: it is a share between 0 and 1, such as {RANK_PRECISION}"
        )


def keeps_ranks(model: Model) -> bool:
    """Whether a model answers by ranks; see `load_ranking`."""
    return _TOLD in model.outcome.details


def add_ranking(model: Model, ranking: Ranking) -> Model:
    """The same model with what it answers by ranks with; its recipe is the same."""
    details = {**model.outcome.details, _TOLD: ranking.to_details()}
    outcome = replace(model.outcome, details=details)
    return replace(model, outcome=outcome, arrays={**model.arrays, **ranking.evidence.to_arrays()})


def load_ranking(model: Model, precision: float | None = None) -> Ranking:
    """What a model answers by ranks with.

    Parameters
    ----------
    model : Model
    precision : float, optional
        Another than it was asked for when it was learned.

    Raises
    ------
    ModelError
        It has no taxonomy, or is damaged; or `precision` is no share.
    """
    where = model.path or model.name
    if not keeps_ranks(model):
        how = f"fit it again with featx fit F.h5 --clf {model.name}"
        if model.kind != "head":
            how = "compare it again with featx compare"
        raise ModelError(f"{where} was made without a taxonomy: {how} --taxonomy FILE")
    if precision is not None:
        check_precision(precision)
    told = model.outcome.details[_TOLD]
    try:
        evidence = Evidence.from_arrays(model.arrays)
        taxonomy = Taxonomy.from_dict(told["taxonomy"])
        shape = (told["images"], len(taxonomy.ranks))
        if not evidence.scores.shape == evidence.right.shape == shape:
            raise ValueError("its arrays have other shapes than its ranks")
        return Ranking(taxonomy, evidence, told["precision"] if precision is None else precision)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: {error}; make it again") from error
