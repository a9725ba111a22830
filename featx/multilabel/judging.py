"""What is measured of a model of several labels an image, whatever trained it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.arrays import Matrix
from featx.config import SPLITS
from featx.data.splits import promote_val
from featx.errors import FeatureFileError
from featx.features.content import Features
from featx.multilabel.head import LabelFit
from featx.multilabel.metrics import Draws, Sets, SetScores, draw_sets, measure_sets
from featx.training.metrics import Score, score_labels
from featx.training.model import Model


def take_sets(features: Features) -> Sets:
    if features.label_sets is None:
        raise FeatureFileError(
            features.path or Path(features.dataset),
            "each image has one label; featx extract --multi-label makes features of several",
        )
    return features.label_sets


def settle_splits(features: Features) -> tuple[Features, bool]:
    """The features, with val as the test where there is none, and whether that is so."""
    promoted = promote_val(np.zeros(len(features.splits), np.int64), features.splits)
    return (features, False) if promoted is None else (replace(features, splits=promoted), True)


def judge_model(model: Model, features: Features, on_train: Matrix) -> Model:
    """A model with its scores: of train by these probabilities, of others by those that it has."""
    outcome, thresholds = model.outcome, model.arrays["thresholds"]
    every = {"train": on_train, **outcome.probabilities}
    evaluation = {
        split: measure_labels(features, split, p, thresholds).to_dict()
        for split, p in outcome.probabilities.items()
    }
    scores = {split: score_sets(features, split, p >= thresholds) for split, p in every.items()}
    details = {**outcome.details, "evaluation": evaluation}
    return replace(model, outcome=replace(outcome, scores=scores, details=details))


def describe_fits(features: Features, fits: Sequence[LabelFit], chosen: str) -> dict[str, Any]:
    """What was chosen for each label, and from which images, as JSON values of an outcome.

    `chosen` is what the chosen value is called.
    """
    sets = take_sets(features)
    there = [split for split in SPLITS if (features.splits == split).any()]
    return {
        "scale": "none",
        "converged": all(one.converged for one in fits),
        "labels": [
            {
                "name": name,
                "threshold": one.threshold,
                "temperature": one.temperature,
                "chosen": {"name": chosen, "value": one.value, "by": one.by},
            }
            for name, one in zip(features.classes, fits, strict=True)
        ],
        "data": {
            "name": features.dataset,
            "split": features.split_rule,
            "images": {split: int((features.splits == split).sum()) for split in there},
            "per_class": {s: sets[features.splits == s].sum(axis=0).tolist() for s in there},
            "fingerprint": features.fingerprint,
        },
    }


def measure_labels(
    features: Features, split: str, probabilities: Matrix, thresholds: Matrix
) -> SetScores:
    """`measure_sets` of a split, whose groups are drawn whole."""
    rows = np.flatnonzero(features.splits == split)
    clusters = None if features.clusters is None else features.clusters[rows]
    return measure_sets(take_sets(features)[rows], probabilities, thresholds, clusters)[0]


def draw_labels(features: Features, model: Model) -> Draws:
    """`draw_sets` of a model's answers on test."""
    rows = np.flatnonzero(features.splits == "test")
    clusters = None if features.clusters is None else features.clusters[rows]
    said, thresholds = model.outcome.probabilities["test"], model.arrays["thresholds"]
    return draw_sets(take_sets(features)[rows], said, thresholds, clusters)


def score_sets(features: Features, split: str, said: Sets) -> Score:
    """Whole sets that are right, and the mean share of answers that are."""
    rows = np.flatnonzero(features.splits == split)
    truth = take_sets(features)[rows]
    clusters = None if features.clusters is None else features.clusters[rows]
    right = (truth == said).all(axis=1).astype(np.int64)
    score = score_labels(np.ones_like(right), right, clusters)
    return replace(score, mean_per_class=float((truth == said).mean()))
