"""A score of strangers and what it gave rows that are known: from a row to its p-value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.errors import ModelError
from featx.novelty.scores import CENTRE, KEPT_SCORES, Numbers, Probability, Score
from featx.training.calibration import as_scores
from featx.training.model import Model

Kept = TypeVar("Kept")

_ROUNDING = 1e-5  # of the largest held score
# What names of arrays in a model file begin with, those of `Calibration` included.
STRANGERS, DRIFT, RANKS = "strangers.", "drift.", "ranks."
_KEPT = (STRANGERS, DRIFT, RANKS, "sets.")
_HELD, _LABELS, _SCORE = "held", "labels", "score."


@dataclass(frozen=True)
class Detector:
    """What tells strangers.

    Attributes
    ----------
    name : str
        Of `KEPT_SCORES`.
    score : Score
    held : ndarray of shape (n_held,), float64
        Ascending: scores of known rows by fits that saw neither them nor their relatives.
    labels : ndarray of shape (n_held,), int64, or None
        What these fits took them for: codes of the model's classes. None where that was not kept.
    """

    name: str
    score: Score
    held: Numbers
    labels: Labels | None = None

    def find_p_values(self, scores: Numbers) -> Numbers:
        """How rarely a known row is as strange: (1 + those at least so strange) / (n + 1).

        A conformal p-value (Vovk et al. 2005): of rows like the held ones a share r at most has
        one of r or less, whatever the score.
        """
        n = len(self.held)
        found: Numbers = (1 + n - np.searchsorted(self.bounds, scores, side="left")) / (n + 1)
        return found

    @property
    def bounds(self) -> Numbers:
        """Up to where a row is no stranger than each held one, which rounding must not decide.

        A head of few different scores, such as knn, gives many rows the same one, but for the last
        bits of another runtime.
        """
        bounds: Numbers = self.held + self._rounding
        return bounds

    def round_scores(self, scores: Numbers) -> Numbers:
        """Scores without what rounding may decide."""
        step = self._rounding
        return np.round(scores / step) if step else scores

    @property
    def _rounding(self) -> float:
        return _ROUNDING * float(np.abs(self.held).max())

    def measure(self, X: Matrix, logits: Matrix) -> tuple[Numbers, Numbers]:
        """Scores and p-values of rows, scaled as the head has them, shape (n_samples,) each."""
        scores = self.score.measure(X, logits)
        return scores, self.find_p_values(scores)

    def check_rate(self, rate: float, where: object) -> None:
        """See `check_enough`."""
        check_enough(rate, len(self.held), f"--unknown {rate:g}", where)

    def to_arrays(self, prefix: str = STRANGERS) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        kept = {_SCORE + name: array for name, array in self.score.to_arrays().items()}
        if self.labels is not None:
            kept[_LABELS] = self.labels
        kept[_HELD] = self.held
        return {prefix + name: array for name, array in kept.items()}

    @classmethod
    def from_arrays(
        cls, name: str, arrays: Mapping[str, npt.NDArray[Any]], prefix: str = STRANGERS
    ) -> Detector:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        begun = prefix + _SCORE
        own = {n.removeprefix(begun): a for n, a in arrays.items() if n.startswith(begun)}
        score = KEPT_SCORES[name].from_arrays(own)
        return cls(name, score, arrays[prefix + _HELD], arrays.get(prefix + _LABELS))

    @classmethod
    def from_held(cls, name: str, score: Score, held: Numbers, labels: Labels) -> Detector:
        """Of held rows in any order."""
        order = np.argsort(held, kind="stable")
        return cls(name, score, held[order], labels[order])


def tells_strangers(model: Model) -> bool:
    """Whether a model has a detector; see `load_detector`."""
    tuned = model.kind == "network" and "val" in model.outcome.probabilities
    return tuned or "strangers" in model.outcome.details


def load_detector(model: Model) -> Detector:
    """The detector in a model.

    Of a fine-tuned network, which leaves no class out, it is the largest probability, calibrated on
    val: that chose epoch and learning rate, and nothing of it was learned from.

    Raises
    ------
    ModelError
        It has none, or arrays are missing.
    """
    on_val = model.outcome.probabilities.get("val")
    if model.kind != "head" and on_val is not None:
        score = Probability()
        logits = as_scores(on_val)
        return Detector.from_held(
            "probability", score, score.measure(logits, logits), on_val.argmax(axis=1)
        )
    return read_kept(model, lambda told: Detector.from_arrays(told["score"], model.arrays))


def load_detectors(model: Model) -> tuple[Detector, ...]:
    """What drift is looked for by: the detector in a model, and of a head the distance to centres.

    Raises
    ------
    ModelError
        See `load_detector`.
    """
    first = load_detector(model)
    if DRIFT + _HELD not in model.arrays:
        return (first,)
    return first, read_kept(model, lambda _: Detector.from_arrays(CENTRE, model.arrays, DRIFT))


def read_kept(model: Model, read: Callable[[Mapping[str, Any]], Kept]) -> Kept:
    """What a model keeps of novelty, by what its details tell of it.

    Raises
    ------
    ModelError
        It keeps nothing, or arrays are missing.
    """
    where, told = model.path or model.name, model.outcome.details.get("strangers")
    if told is None and model.kind != "head":
        raise ModelError(_say_network(model))
    if told is None:
        raise ModelError(
            f"{where} was fitted without strangers and sets: fit it again with featx fit F.h5 "
            f"--clf {model.name} --strangers"
        )
    try:
        return read(told)
    except (KeyError, TypeError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error


def _say_network(model: Model) -> str:
    """Why a fine-tuned network has no strangers or no sets."""
    where = model.path or model.name
    if "val" not in model.outcome.probabilities:
        return (
            f"{where} was fine-tuned without val, which its strangers and sets are calibrated on: "
            "train it again with val images, such as by --split 0.7,0.1,0.2"
        )
    return (
        f"{where} was fine-tuned before sets were kept: train it again with featx finetune "
        f"--train {model.name} --overwrite"
    )


def drop_kept(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """A model's arrays without those of strangers, sets and ranks: what it predicts with."""
    return {name: array for name, array in arrays.items() if not name.startswith(_KEPT)}


def find_floor(rate: float) -> int:
    """How many held images a conformal threshold at a rate needs: ceil(1 / rate) - 1."""
    return math.ceil(round(1 / rate, 9)) - 1


def check_enough(rate: float, n: int, asked: str, where: object) -> None:
    """Check that n held images can say what is rarer than `rate`.

    Raises
    ------
    ModelError
        The rarest that they can call it is 1 / (n + 1), and that is more than `rate`.
    """
    if n < find_floor(rate):
        raise ModelError(
            f"{asked} needs {find_floor(rate)} or more images that the model was not fitted on "
            f"(1 / rate - 1), and {where} was calibrated on {n}: ask for {1 / (n + 1):.2g} or "
            "more, or add images"
        )
