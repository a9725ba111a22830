"""Accuracy against images per class: would more labels help?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import CURVE_DRAWS, CURVE_SIZES
from featx.errors import BudgetError
from featx.features.content import Features
from featx.features.selection import take_splits
from featx.heads.kind import find_kind
from featx.heads.memory import plan_reading
from featx.heads.recipe import train_head
from featx.storage.blocks import Samples, gather
from featx.storage.files import hash_json, write_json
from featx.training.model import Model


@dataclass(frozen=True)
class CurvePoint:
    """A candidate's test accuracy with so many train images of each class.

    Attributes
    ----------
    name : str
    per_class : int
        At most; a class that has fewer gives all it has.
    images : int
        In all.
    all : bool
        The candidate itself, once: all train images, and where it was refitted val's, too.
    accuracies : tuple of float
        Of the draws, fractions in [0, 1].
    """

    name: str
    per_class: int
    images: int
    all: bool
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the draws."""
        return float(np.mean(self.accuracies))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; the band is from the lowest to the highest draw."""
        band = {"mean": self.mean, "low": min(self.accuracies), "high": max(self.accuracies)}
        return {**vars(self), "accuracies": list(self.accuracies), **band}


def draw_curves(
    features: Features,
    models: Sequence[Model],
    *,
    sizes: Sequence[int] = CURVE_SIZES,
    draws: int = CURVE_DRAWS,
    seed: int = 0,
    weights: str | None = None,
    max_memory: int | None = None,
) -> list[CurvePoint]:
    """Train heads on a few images of each class, several times; score test.

    All heads learn from the same draws. Each chooses on val anew, over a grid that is thinned to
    every fourth C or second alpha.

    Parameters
    ----------
    features : Features
    models : sequence of Model
        Heads trained on all of train, which are the last point.
    sizes : sequence of int
        Images per class; those that no class has more of are left out.
    draws : int
    seed : int
    weights, max_memory
        See `featx.fit`.
    """
    in_blocks = any(needs_blocks(features, model, max_memory) for model in models)
    y = features.targets[features.rows("train")]
    counts = np.bincount(y)
    points = []
    used = [size for size in sizes if size < counts.max()]
    rows = {
        size: [_draw_rows(y, size, np.random.default_rng([seed, size, d])) for d in range(draws)]
        for size in used
    }
    for model in models:
        recipe, read_prior = thin_recipe(model.recipe), find_kind(model.name).prior
        prior = None if read_prior is None else read_prior(features, weights)
        data = take_splits(features, in_blocks, recipe.get("layers", ()))
        X, _ = data["train"]
        for size in used:
            accuracies = tuple(
                score_test(data | {"train": (np.asarray(X[here]), y[here])}, recipe, prior)
                for here in rows[size]
            )
            points.append(CurvePoint(model.title, size, len(rows[size][0]), False, accuracies))
        learned = np.concatenate([y, data["val"][1]]) if model.recipe["refit"] else y
        itself = (model.outcome.scores["test"].accuracy,)
        most = int(np.bincount(learned).max())
        points.append(CurvePoint(model.title, most, len(learned), True, itself))
    return points


def keep_curves(
    path: Path,
    features: Features,
    models: Sequence[Model],
    seed: int,
    weights: str | None,
    max_memory: int | None = None,
) -> tuple[CurvePoint, ...]:
    """`draw_curves`, or what it found for the same models before, as `path` keeps it."""
    heads = [[model.recipe, model.outcome.scores["test"].accuracy] for model in models]
    key = hash_json([heads, CURVE_SIZES, CURVE_DRAWS, seed])
    try:
        kept = json.loads(path.read_text("utf-8"))
        if kept["key"] == key:
            return tuple(
                CurvePoint(**{**point, "accuracies": tuple(point["accuracies"])})
                for point in kept["points"]
            )
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not ours: drawn again
    points = draw_curves(features, models, seed=seed, weights=weights, max_memory=max_memory)
    write_json(path, {"key": key, "points": [vars(point) for point in points]})
    return tuple(points)


def needs_blocks(features: Features, model: Model, max_memory: int | None) -> bool:
    """Whether a head has to read these features in blocks."""
    try:
        return plan_reading(features, model.recipe, (), max_memory).in_blocks
    except BudgetError:
        return True  # a head that was trained where there was more; a few images it can learn


def _draw_rows(
    y: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """At most `size` rows of each class, in ascending order."""
    parts = [rng.permutation(np.flatnonzero(y == k))[:size] for k in range(int(y.max()) + 1)]
    return np.sort(np.concatenate(parts))


def thin_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe for many fits: a thinner grid, no calibration, nothing learned from val."""
    # Refitting on val would take images beyond the number that is asked about.
    thinned = {**recipe, "refit": False, "calibrate": False}
    grid = find_kind(recipe["clf"]).grid
    if grid is not None:
        # Folds of few images and val would choose for more images than the fit then learns from.
        thinned["choose_on"] = "val"
        # Many small fits stay quick.
        thinned[grid.name] = recipe[grid.name][:: grid.thinned]
    return thinned


def score_test(
    data: Mapping[str, tuple[Samples, npt.NDArray[np.int64]]],
    recipe: Mapping[str, Any],
    prior: Any,
) -> float:
    """Accuracy on test of a head that is trained on the other splits."""
    X_test, y_test = data["test"]
    known = {split: part for split, part in data.items() if split != "test"}
    trained = train_head(known, recipe, prior)
    predicted = gather(
        trained.scaler.apply(X_test), lambda rows: trained.search.fit.decide(rows).argmax(axis=1)
    )
    return float((predicted == y_test).mean())
