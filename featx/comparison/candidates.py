"""Ways to classify the same images: how good, at what cost, and how they differ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.comparison.shares import order_shares
from featx.config import MARGIN
from featx.features.content import Features
from featx.features.outputs import take_engine_rows
from featx.heads.head import load_head, read_layers
from featx.novelty.detector import drop_kept, load_detector
from featx.novelty.measures import (
    NoveltyScores,
    Unseen,
    measure_curves,
    measure_refusals,
    measure_sets,
)
from featx.novelty.sets import load_calibration
from featx.timing import add_seconds
from featx.training.calibration import as_scores
from featx.training.evaluation import Evaluation, evaluate
from featx.training.metrics import score_labels
from featx.training.model import Model, Outcome
from featx.training.pairs import compare_paired, holm, judge_difference


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
            return self.model.title
        return f"{self.model.title}+{self.views}view{'s' * (self.views != 1)}"

    @property
    def kind(self) -> str:
        """ "frozen" or "finetuned"."""
        return "frozen" if self.model.kind == "head" else "finetuned"

    @property
    def outcome(self) -> Outcome:
        """Scores, probabilities of val and test, history and seconds."""
        return self.model.outcome

    def score_groups(self, features: Features) -> Candidate:
        """The same with intervals of images that come in groups, where these do."""
        if features.clusters is None:
            return self
        scores = {
            split: score_labels(
                features.targets[features.rows(split)], p.argmax(axis=1),
                features.split_clusters(split),
            )
            for split, p in self.outcome.probabilities.items()
            if len(p)
        }  # fmt: skip
        outcome = replace(self.outcome, scores={**self.outcome.scores, **scores})
        return replace(self, model=replace(self.model, outcome=outcome))

    @property
    def seconds(self) -> float | None:
        """All that it takes from images to a classifier; None where that was not measured."""
        if self.kind == "finetuned":
            return self.outcome.seconds
        return None if self.extraction is None else self.extraction.seconds + self.outcome.seconds

    @property
    def kept_bytes(self) -> int:
        """What must be kept to predict, beside the pretrained network."""
        return sum(array.nbytes for array in drop_kept(self.model.arrays).values())

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


def evaluate_candidates(
    candidates: Sequence[Candidate], features: Features, expected: Mapping[str, float]
) -> list[Candidate]:
    """The same, with all measures on val and test; on test at the expected shares, too."""
    truth = {split: features.targets[features.rows(split)] for split in ("val", "test")}
    shares = {"test": order_shares(expected, features.classes, truth["test"])} if expected else {}

    def measure(candidate: Candidate, split: str) -> Evaluation:
        probabilities = candidate.outcome.probabilities[split]
        clusters = features.split_clusters(split)
        return evaluate(truth[split], probabilities, shares.get(split), clusters)

    there = [split for split, y in truth.items() if len(y)]
    return [
        replace(c.score_groups(features), evaluations={s: measure(c, s) for s in there})
        for c in candidates
    ]


def evaluate_strangers(candidate: Candidate, features: Features) -> NoveltyScores:
    """What a candidate knows of what it does not know, and what test says of it.

    Raises
    ------
    ModelError
        It keeps neither strangers nor sets.
    """
    model, rows = candidate.model, features.rows("test")
    probabilities = candidate.outcome.probabilities["test"]
    detector, calibration = load_detector(model), load_calibration(model)
    if candidate.kind == "frozen":
        X = take_engine_rows(features, read_layers(model))[rows]
        strangeness, _ = detector.measure(*load_head(model).decide(X))
    else:
        logits = as_scores(probabilities)
        strangeness, _ = detector.measure(logits, logits)
    clusters = features.split_clusters("test")
    unseen = Unseen(features.targets[rows], probabilities, strangeness, clusters)
    told = {"score": detector.name, "images": len(detector.held)}
    return NoveltyScores(
        candidate=candidate.name,
        details=told | candidate.outcome.details.get("strangers", {}),
        curves=measure_curves(detector, unseen),
        refusals=measure_refusals(detector, unseen),
        sets=measure_sets(calibration, unseen),
    )


@dataclass(frozen=True)
class Pair:
    """Two candidates on the same test images.

    Attributes
    ----------
    a, b : str
    only_a, only_b : int
        Images that only one of the two got right.
    p_value_raw : float
        McNemar's mid-p: see `mcnemar_mid_p`.
    p_value : float
        The same, Holm-corrected for all pairs.
    p_value_exact : float
        McNemar's exact p, uncorrected.
    difference : float
        Accuracy of a less that of b, a fraction.
    ci95 : (float, float)
        Its 95 % interval (Tango 1998), of this pair alone.
    judgement : str
        What that says of a: see `judge_difference`.
    worth : float or None
        See `Paired`.
    """

    a: str
    b: str
    only_a: int
    only_b: int
    p_value_raw: float
    p_value: float
    p_value_exact: float
    difference: float
    ci95: tuple[float, float]
    judgement: str
    worth: float | None = None

    def seen_from(self, name: str) -> tuple[float, tuple[float, float]]:
        """The difference, and its interval, of one of the two less the other."""
        if name == self.a:
            return self.difference, self.ci95
        low, high = self.ci95
        return -self.difference, (-high, -low)

    def to_dict(self) -> dict[str, Any]:
        """One entry of "paired" in results.json."""
        return {**vars(self), "ci95": list(self.ci95)}


def pair_candidates(
    candidates: Sequence[Candidate],
    y: npt.NDArray[np.int64],
    margin: float = MARGIN,
    clusters: npt.NDArray[np.int64] | None = None,
) -> list[Pair]:
    """Compare every two candidates, with p-values that are Holm-corrected.

    Parameters
    ----------
    candidates : sequence of Candidate
        With probabilities of "test".
    y : ndarray of shape (n_samples,), int64
        True labels of the test images.
    margin : float
        Points of accuracy that count as no difference.
    clusters : ndarray of shape (n_samples,), int64, optional
        Of the test images; see `compare_paired`.
    """
    right = [(c.name, c.outcome.probabilities["test"].argmax(axis=1) == y) for c in candidates]
    return make_pairs(list(itertools.combinations(right, 2)), margin, clusters)


Side = tuple[str, npt.NDArray[np.bool_]]  # who, and which of the images were told right


def make_pairs(
    sides: Sequence[tuple[Side, Side]],
    margin: float = MARGIN,
    clusters: npt.NDArray[np.int64] | None = None,
) -> list[Pair]:
    """Compare two and two on the same images, with p-values that are Holm-corrected for all."""
    found = [compare_paired(a, b, clusters) for (_, a), (_, b) in sides]
    adjusted = holm([one.p_value for one in found])
    return [
        Pair(
            a=a,
            b=b,
            only_a=one.only_a,
            only_b=one.only_b,
            p_value_raw=one.p_value,
            p_value=p_holm,
            p_value_exact=one.p_value_exact,
            difference=one.difference,
            ci95=one.interval,
            judgement=judge_difference(one.interval, margin),
            worth=one.worth,
        )
        for ((a, _), (b, _)), one, p_holm in zip(sides, found, adjusted, strict=True)
    ]
