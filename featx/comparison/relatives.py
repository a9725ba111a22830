"""What a random split would have said of heads, where test has groups that train has none of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.comparison.curves import needs_blocks, score_test, thin_recipe
from featx.config import RANDOM_DRAWS, SPLITS
from featx.features.content import Features
from featx.features.selection import take_splits
from featx.heads.kind import find_kind
from featx.storage.files import hash_json, write_json
from featx.training.model import Model


@dataclass(frozen=True)
class Inflation:
    """A head on new groups, and on random splits of the same images and sizes.

    Attributes
    ----------
    name : str
    random : tuple of float
        Accuracy on test of each random split, whose relatives are in train.
    grouped : float
        On test as it is: groups that train and val have no image of.
    interval : (float, float)
        Its 95 % interval.
    """

    name: str
    random: tuple[float, ...]
    grouped: float
    interval: tuple[float, float]

    @property
    def expected(self) -> float:
        """Mean accuracy of the random splits."""
        return float(np.mean(self.random))

    @property
    def points(self) -> float:
        """How much better random splits look, in points of accuracy."""
        return 100 * (self.expected - self.grouped)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "random": list(self.random),
            "expected": self.expected,
            "grouped": self.grouped,
            "ci95": list(self.interval),
            "points": self.points,
        }


def keeps_groups_whole(features: Features) -> bool:
    """Whether test has groups, and train and val have no image of any of them."""
    if features.clusters is None:
        return False
    learned = features.clusters[np.isin(features.splits, ("train", "val"))]
    return not np.isin(features.clusters[features.rows("test")], learned).any()


def measure_inflation(
    features: Features,
    models: Sequence[Model],
    *,
    draws: int = RANDOM_DRAWS,
    seed: int = 0,
    weights: str | None = None,
    max_memory: int | None = None,
) -> list[Inflation]:
    """Fit heads anew on random stratified splits of the sizes that there are, and score test.

    Parameters
    ----------
    features : Features
        Whose test `keeps_groups_whole`.
    models : sequence of Model
        Heads that were trained on them.
    draws : int
    seed : int
    weights, max_memory
        See `featx.fit`.
    """
    in_blocks = any(needs_blocks(features, model, max_memory) for model in models)
    found: dict[str, list[float]] = {model.title: [] for model in models}
    readers = {model.title: find_kind(model.name).prior for model in models}
    priors = {
        name: None if read is None else read(features, weights) for name, read in readers.items()
    }
    for draw in range(draws):
        splits = draw_splits(features, np.random.default_rng([seed, draw]))
        # Whoever splits at random knows of no groups.
        dealt = replace(features, splits=splits, groups=None)
        for model in models:
            # As the head itself learned: on val as well where it was fitted anew on both.
            recipe = dict(thin_recipe(model.recipe))
            recipe |= {k: model.recipe[k] for k in ("refit", "choose_on") if k in model.recipe}
            data = take_splits(dealt, in_blocks, recipe.get("layers", ()))
            accuracy = score_test(data, recipe, priors[model.title])
            found[model.title].append(accuracy)
    scores = {model.title: model.outcome.scores["test"] for model in models}
    return [
        Inflation(name, tuple(random), scores[name].accuracy, scores[name].interval)
        for name, random in found.items()
    ]


def draw_splits(features: Features, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Deal the labelled images of all splits out at random, class by class, in the same shares."""
    splits = features.splits.copy()
    there = (features.targets >= 0) & (splits != "")
    shares = np.array([(splits[there] == split).mean() for split in SPLITS])
    for k in np.unique(features.targets[there]).tolist():
        rows = rng.permutation(np.flatnonzero(there & (features.targets == k)))
        ends = np.round(np.cumsum(shares) * len(rows)).astype(int)
        parts = np.split(rows, [max(1, ends[0]), max(1, ends[1])])
        for split, part in zip(SPLITS, parts, strict=True):
            splits[part] = split
    return splits


def keep_inflation(
    path: Path,
    features: Features,
    models: Sequence[Model],
    seed: int,
    weights: str | None,
    max_memory: int | None = None,
) -> tuple[Inflation, ...]:
    """`measure_inflation`, or what it found for the same models before, as `path` keeps it."""
    intervals = [model.outcome.scores["test"].interval for model in models]
    key = hash_json([[model.recipe for model in models], RANDOM_DRAWS, seed, intervals])
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["key"] == key:
            return tuple(
                Inflation(one["name"], tuple(one["random"]), one["grouped"], tuple(one["ci95"]))
                for one in kept["heads"]
            )
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not ours: measured again
    found = measure_inflation(features, models, seed=seed, weights=weights, max_memory=max_memory)
    write_json(path, {"key": key, "heads": [one.to_dict() for one in found]})
    return tuple(found)
