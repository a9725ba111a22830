"""What cross-validation found: scores of folds, their intervals, pairs; and the file of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx.storage.files import hash_json, write_json
from featx.training.pairs import holm
from featx.training.resampling import Estimate, Resampling, compare_means, estimate_mean

_ACCURACY, _LOSS = (0.0, 1.0), (0.0, np.inf)  # what they can be


@dataclass(frozen=True)
class FoldScore:
    """How a head did on one fold that was held out.

    Attributes
    ----------
    accuracy : float
        Fraction in [0, 1].
    log_loss : float
        Nats.
    chosen : float or None
        The value of its grid that folds of the other images chose, or the learning rate that a
        part of them chose; None where nothing is chosen.
    seconds : float
        Of choosing and fitting.
    """

    accuracy: float
    log_loss: float
    chosen: float | None
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class FoldScores:
    """One candidate over all folds.

    Attributes
    ----------
    name : str
    kind : str
        "frozen" or "finetuned".
    folds : tuple of FoldScore
        In the order of `draw_folds`.
    """

    name: str
    kind: str
    folds: tuple[FoldScore, ...]

    @property
    def accuracies(self) -> list[float]:
        """Of every fold."""
        return [fold.accuracy for fold in self.folds]

    @property
    def log_losses(self) -> list[float]:
        """Of every fold."""
        return [fold.log_loss for fold in self.folds]


@dataclass(frozen=True)
class FoldPair:
    """Two candidates on the same folds; accuracy of `a` less that of `b`.

    Attributes
    ----------
    a, b : str
    difference : Estimate
    t : float
        See `compare_means`.
    p_value_raw, p_value : float
        Before and after Holm's correction for all pairs.
    """

    a: str
    b: str
    difference: Estimate
    t: float
    p_value_raw: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; t is None where it is infinite."""
        return {
            "a": self.a,
            "b": self.b,
            "difference": describe_estimate(self.difference),
            "t": self.t if np.isfinite(self.t) else None,
            "p_value_raw": self.p_value_raw,
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class CrossValidation:
    """What repeated cross-validation found of some candidates.

    Attributes
    ----------
    spec : Resampling
    images : int
        Labelled ones that are in a split: all were dealt into folds.
    groups : int
        As how many they count where copies and groups stay together; `images` where none do.
    candidates : tuple of FoldScores
    """

    spec: Resampling
    images: int
    groups: int
    candidates: tuple[FoldScores, ...]

    def estimate(self, one: FoldScores) -> tuple[Estimate, Estimate]:
        """A candidate's accuracy and log-loss over all folds."""
        return (
            estimate_mean(one.accuracies, self.spec, _ACCURACY),
            estimate_mean(one.log_losses, self.spec, _LOSS),
        )

    @property
    def paired(self) -> list[FoldPair]:
        """The corrected resampled t of every two candidates' accuracies, Holm-corrected."""
        pairs = list(itertools.combinations(self.candidates, 2))
        found = [compare_means(a.accuracies, b.accuracies, self.spec) for a, b in pairs]
        adjusted = holm([one.p_value for one in found])
        return [
            FoldPair(a.name, b.name, one.estimate, one.t, one.p_value, p)
            for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The key "cv" of ``featx compare --json`` and ``featx fit --json``."""
        entries = []
        for one in self.candidates:
            accuracy, loss = self.estimate(one)
            entries.append(
                {
                    "name": one.name,
                    "kind": one.kind,
                    "accuracy": describe_estimate(accuracy),
                    "log_loss": describe_estimate(loss),
                    "folds": [asdict(fold) for fold in one.folds],
                    "seconds": sum(fold.seconds for fold in one.folds),
                }
            )
        return {
            "repeats": self.spec.repeats,
            "folds": self.spec.folds,
            "images": self.images,
            "groups": self.groups,
            "candidates": entries,
            "paired": [pair.to_dict() for pair in self.paired],
        }


def describe_estimate(one: Estimate) -> dict[str, Any]:
    """mean, ci95 and naive_ci95, as JSON values."""
    return {
        "mean": one.mean,
        "ci95": list(one.interval),
        "naive_ci95": list(one.naive_interval),
    }


class FoldStore:
    """What is known of heads on some folds, in a file where there is one.

    Parameters
    ----------
    path : Path or None
    folds : object
        JSON values that decide the folds. What a file has of others is forgotten.
    """

    def __init__(self, path: Path | None, folds: Any) -> None:
        self._path, self._key = path, hash_json(folds)
        self._found: dict[str, list[dict[str, Any]]] = {}
        if path is None:
            return
        try:
            held = json.loads(path.read_text("utf-8"))
            if held["key"] == self._key:
                self._found = {
                    key: [asdict(FoldScore(**fold)) for fold in folds]
                    for key, folds in held["scores"].items()
                }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # not there, or not ours: computed again

    def find(self, recipe: Mapping[str, Any]) -> tuple[FoldScore, ...] | None:
        """What is known of a recipe; None where nothing is."""
        there = self._found.get(hash_json(recipe))
        return None if there is None else tuple(FoldScore(**fold) for fold in there)

    def keep(self, recipe: Mapping[str, Any], scores: Sequence[FoldScore]) -> None:
        """Know this from now on, and in later runs."""
        self._found[hash_json(recipe)] = [asdict(one) for one in scores]
        if self._path is not None:
            write_json(self._path, {"key": self._key, "scores": self._found})
