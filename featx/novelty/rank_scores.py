"""What test says of candidates at the ranks of a taxonomy, and of answers that keep a precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.novelty.measures import count_share, describe_count
from featx.novelty.ranks import Kept, Ranking
from featx.novelty.taxonomy import MISSING, Taxonomy
from featx.training.metrics import Score


@dataclass(frozen=True)
class RankAccuracy:
    """A candidate at each rank.

    Attributes
    ----------
    candidate : str
    accuracies : tuple of Score or None
        By rank, of the images whose class has a name there: how often the most probable name, by
        the sum over its classes, is their own. None of no images.
    mistakes : tuple of int
        Images of which the most probable class is wrong, by the narrowest rank at which that class
        and the true one have the same name; the last are those that have none in common. The first
        rank is the classes' own, and has none.
    """

    candidate: str
    accuracies: tuple[Score | None, ...]
    mistakes: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "candidate": self.candidate,
            "accuracy": [one and describe_count(one) for one in self.accuracies],
            "mistakes": list(self.mistakes),
        }


@dataclass(frozen=True)
class RankAnswers:
    """Answers that are given at one rank.

    Attributes
    ----------
    kept : Kept
        What held rows said.
    answered : Score or None
        How many of the images are answered there; "correct" are those. None of no images.
    right : Score or None
        How many of these answers are right; None where there are none.
    """

    kept: Kept
    answered: Score | None
    right: Score | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rank": self.kept.rank,
            "threshold": self.kept.threshold,
            "held": {k: v for k, v in vars(self.kept).items() if k not in ("rank", "threshold")},
            "answered": self.answered and describe_count(self.answered),
            "right": self.right and describe_count(self.right),
        }


@dataclass(frozen=True)
class RankScores:
    """A comparison by ranks.

    Attributes
    ----------
    ranks : tuple of str
        From the classes' own outward.
    names : tuple of int
        How many names each has.
    precision : float
        That answers are to keep.
    every : tuple of RankAccuracy
        Of each candidate.
    candidate : str
        The one that is chosen, which answers.
    lacking : str
        Why it has no answers; "" where it has.
    answers : tuple of RankAnswers
        By rank.
    """

    ranks: tuple[str, ...]
    names: tuple[int, ...]
    precision: float
    every: tuple[RankAccuracy, ...]
    candidate: str
    lacking: str = ""
    answers: tuple[RankAnswers, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "ranks": list(self.ranks),
            "names": list(self.names),
            "precision": self.precision,
            "candidates": [one.to_dict() for one in self.every],
            "candidate": self.candidate,
            "lacking": self.lacking or None,
            "answers": [one.to_dict() for one in self.answers],
        }


def measure_ranks(
    taxonomy: Taxonomy,
    said: Mapping[str, Matrix],
    y: Labels,
    clusters: Labels | None = None,
) -> tuple[RankAccuracy, ...]:
    """Candidates at each rank; see `RankAccuracy`.

    Parameters
    ----------
    taxonomy : Taxonomy
    said : mapping of str to ndarray of shape (n_samples, n_classes)
        Probabilities of each candidate.
    y : ndarray of shape (n_samples,), int64
    clusters : ndarray of shape (n_samples,), int64, optional
        What images belong to that are no independent samples.
    """
    true, n_ranks, found = taxonomy.codes[y], len(taxonomy.ranks), []
    for candidate, probabilities in said.items():
        best, _ = taxonomy.find_best(probabilities)
        right = best == true  # MISSING is nobody's best
        accuracies = [
            count_share(right[:, r], clusters, true[:, r] != MISSING) for r in range(n_ranks)
        ]
        wrong = best[:, 0] != y
        meeting = taxonomy.find_meeting(best[wrong, 0], y[wrong])
        mistakes = np.bincount(meeting % (n_ranks + 1), minlength=n_ranks + 1)  # MISSING is last
        found.append(RankAccuracy(candidate, tuple(accuracies), tuple(mistakes.tolist())))
    return tuple(found)


def measure_answers(
    ranking: Ranking, probabilities: Matrix, y: Labels, clusters: Labels | None = None
) -> tuple[RankAnswers, ...]:
    """Answers of a model at each rank; see `RankAnswers` and `measure_ranks`."""
    best, scores = ranking.taxonomy.find_best(probabilities)
    given = ranking.find_ranks(scores)
    right = best == ranking.taxonomy.codes[y]
    return tuple(
        RankAnswers(
            kept, count_share(given == r, clusters), count_share(right[:, r], clusters, given == r)
        )
        for r, kept in enumerate(ranking.kept)
    )
