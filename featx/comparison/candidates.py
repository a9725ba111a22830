"""Ways to classify the same images: how good, at what cost, and which to choose."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.config import SIGNIFICANT
from featx.timing import add_seconds
from featx.training.calibration import as_scores, fit_temperature
from featx.training.evaluation import Evaluation
from featx.training.metrics import holm, log_loss, mcnemar
from featx.training.model import Model, Outcome

# Seconds that differ by less than a tenth are the same: they vary by more from run to run.
_SAME_COST = 1.1


@dataclass(frozen=True)
class ExtractionCost:
    """What the features cost, of all images in all splits, in wall seconds; copies cost nothing.

    Attributes
    ----------
    seconds : float
    decode : float or None
        Of them, waited for images to be read and decoded; the rest of decoding ran beside the
        network. None where that was not measured.
    network : float or None
        Of them, in the network.
    machine : str
        Where they were measured: machine and device.
    """

    seconds: float
    decode: float | None = None
    network: float | None = None
    machine: str = ""

    def __add__(self, other: ExtractionCost) -> ExtractionCost:
        return ExtractionCost(
            self.seconds + other.seconds,
            add_seconds([self.decode, other.decode]),
            add_seconds([self.network, other.network]),
            self.machine if self.machine == other.machine else "several",
        )


@dataclass(frozen=True)
class Spread:
    """A score over several seeds: mean, standard deviation (of a sample), smallest and largest."""

    mean: float
    sd: float
    min: float
    max: float


@dataclass(frozen=True)
class Candidate:
    """One way to classify the images, and how well and at what cost it does.

    Attributes
    ----------
    model : Model
        With its file's path.
    extraction : ExtractionCost or None
        None where that was not measured, and for a fine-tuned network, which has none.
    evaluations : dict of str to Evaluation
        Of val, where there is one, and test.
    others : tuple of Outcome
        Of the same training from other seeds.
    views : int
        Random views of every train image that it learned from as well.
    """

    model: Model
    extraction: ExtractionCost | None
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    others: tuple[Outcome, ...] = ()
    views: int = 0

    @property
    def name(self) -> str:
        """The head's or the baseline's."""
        if not self.views:
            return self.model.name
        return f"{self.model.name}+{self.views}view{'s' * (self.views != 1)}"

    @property
    def kind(self) -> str:
        """ "frozen" or "finetuned"."""
        return "frozen" if self.model.kind == "head" else "finetuned"

    @property
    def outcome(self) -> Outcome:
        """Scores, probabilities of val and test, history and seconds."""
        return self.model.outcome

    @property
    def seconds(self) -> float | None:
        """All that it takes from images to a classifier; None where that was not measured."""
        if self.kind == "finetuned":
            return self.outcome.seconds
        return None if self.extraction is None else self.extraction.seconds + self.outcome.seconds

    @property
    def kept_bytes(self) -> int:
        """What must be kept to predict, beside the pretrained network."""
        return sum(array.nbytes for array in self.model.arrays.values())

    @property
    def spread(self) -> dict[str, Spread]:
        """By split, over all seeds; empty where there is one."""
        if not self.others:
            return {}
        runs = [self.outcome, *self.others]
        found = {}
        for split in self.outcome.scores:
            values = np.array([run.scores[split].accuracy for run in runs])
            found[split] = Spread(
                *(float(v) for v in (values.mean(), values.std(ddof=1), values.min(), values.max()))
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """One entry of "candidates" in results.json."""
        cost = self.extraction
        # Of a frozen candidate the parts of the extraction, of a fine-tuned one those of the fit.
        parts = cost or self.outcome
        return {
            "name": self.name,
            "kind": self.kind,
            **self.outcome.to_dict(),
            "evaluation": {split: one.to_dict() for split, one in self.evaluations.items()},
            "seconds": {
                "extract": cost.seconds if cost else None,
                "decode": parts.decode,
                "network": parts.network,
                "fit": self.outcome.seconds,
            },
            "kept_bytes": self.kept_bytes,
            "seeds": {
                "n": 1 + len(self.others),
                "accuracy": {split: vars(one) for split, one in self.spread.items()},
            }
            if self.others
            else None,
            "model": str(self.model.path),
        }


@dataclass(frozen=True)
class Pair:
    """Two candidates on the same test images: the exact McNemar test."""

    a: str
    b: str
    only_a: int
    only_b: int
    p_value_raw: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """One entry of "paired" in results.json; p_value is Holm's."""
        return dict(vars(self))


@dataclass(frozen=True)
class Verdict:
    """Which candidate to choose.

    Attributes
    ----------
    best : str
        Highest val accuracy, ties by lower val log-loss. None of this looks at test.
    choose : str
        The cheapest candidate that is not distinguishably worse than the best on test.
    level : tuple of str
        Those that are not distinguishable from the best, without it.
    worse, better : tuple of str
        Those that are distinguishably worse than the best, or better than it.
    """

    best: str
    choose: str
    level: tuple[str, ...]
    worse: tuple[str, ...]
    better: tuple[str, ...]


def pair_candidates(candidates: Sequence[Candidate], y: npt.NDArray[np.int64]) -> list[Pair]:
    """McNemar's exact test for every two candidates, Holm-corrected.

    Parameters
    ----------
    candidates : sequence of Candidate
        With probabilities of "test".
    y : ndarray of shape (n_samples,), int64
        True labels of the test images.
    """
    pairs = list(itertools.combinations(candidates, 2))
    predicted = {c.name: c.outcome.probabilities["test"].argmax(axis=1) for c in candidates}
    found = [mcnemar(y, predicted[a.name], predicted[b.name]) for a, b in pairs]
    adjusted = holm([p for _, _, p in found])
    return [
        Pair(a.name, b.name, only_a, only_b, p, p_holm)
        for (a, b), (only_a, only_b, p), p_holm in zip(pairs, found, adjusted, strict=True)
    ]


def choose_best(candidates: Sequence[Candidate], y_val: npt.NDArray[np.int64]) -> str:
    """By val accuracy, ties by val log-loss at the best temperature; never by test.

    Where there is no val nothing can say so, and the first that was trained at all stands for it.
    """
    if not len(y_val):
        return next((c for c in candidates if c.model.name != "imagenet"), candidates[0]).name

    def rank(candidate: Candidate) -> tuple[float, float]:
        # Some have a temperature that was fitted on val; for a fair log-loss all get one.
        scores = as_scores(candidate.outcome.probabilities["val"])
        loss = log_loss(y_val, softmax(scores / fit_temperature(scores, y_val), axis=1))
        return candidate.outcome.scores["val"].accuracy, -loss

    return max(candidates, key=rank).name


def judge(candidates: Sequence[Candidate], pairs: Iterable[Pair], best: str) -> Verdict:
    """Say which candidate to choose.

    Whether another one is level with the best is asked of McNemar's own p-value, before Holm's
    correction: that makes it harder, not easier, for a cheap candidate to pass as level. Of those
    whose cost is within a tenth of the cheapest, the one with most val images right is chosen.
    """
    level, worse, better = [], [], []
    for pair in pairs:
        if best not in (pair.a, pair.b):
            continue
        other, for_best = (pair.b, pair.only_a) if pair.a == best else (pair.a, pair.only_b)
        if pair.p_value_raw >= SIGNIFICANT:
            level.append(other)
        elif 2 * for_best > pair.only_a + pair.only_b:
            worse.append(other)
        else:
            better.append(other)
    cheap = _list_cheap([c for c in candidates if c.name not in worse])

    def rank(candidate: Candidate) -> tuple[float, bool, bool]:
        val = candidate.outcome.scores.get("val")
        trained = candidate.model.name != "imagenet"
        return (val.accuracy if val else 0.0), candidate.name == best, trained

    choose = max(cheap, key=rank).name
    return Verdict(best, choose, tuple(level), tuple(worse), tuple(better))


def _list_cheap(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that cost about as little as the cheapest.

    Where an extraction was not measured, heads count as cheaper than heads that learned from views,
    which had to be extracted as well, and those as cheaper than fine-tuned networks.
    """
    seconds = [candidate.seconds for candidate in candidates]
    known = [one for one in seconds if one is not None]
    if len(known) == len(seconds):
        return [
            c for c, one in zip(candidates, known, strict=True) if one <= _SAME_COST * min(known)
        ]
    tiers = [(c.kind == "finetuned", c.views) for c in candidates]
    return [c for c, tier in zip(candidates, tiers, strict=True) if tier == min(tiers)]
