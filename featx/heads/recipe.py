"""What decides a head: its recipe, and training by it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.config import CLASS_WEIGHTS, FOLDS, SPLITS
from featx.errors import ModelError
from featx.features.content import Features
from featx.heads.head import Scaler, fit_scaler
from featx.heads.kind import HeadOptions, Kind, Learned, find_kind
from featx.heads.memory import Reading, choose_reading
from featx.heads.search import Search, Task
from featx.storage.blocks import Blocks, Samples, join_rows


def make_recipe(
    features: Features,
    clf: str,
    options: HeadOptions,
    *,
    views: Sequence[Features] = (),
    max_memory: int | None = None,
) -> dict[str, Any]:
    """All that decides what `fit` finds, as JSON values.

    The memory is not in it: whether features are kept there or read in blocks, a head's optimum is
    the same but for rounding. Only linear has no optimum that it reaches: its batches come in
    another order where it reads in blocks, as another seed's would, and `order` says so then.

    Raises
    ------
    ModelError
        A choice that does not exist, or that this head does not know.
    BudgetError
        Linear would need more than `max_memory`.
    """
    kind, C = find_kind(clf), options.C
    if C != "auto" and not 0 < float(C) < float("inf"):
        raise ModelError(f"C is {C}: it must be a positive number, or auto")
    if options.class_weight not in CLASS_WEIGHTS:
        known = " or ".join(CLASS_WEIGHTS)
        raise ModelError(f"unknown class_weight {options.class_weight!r}: say {known}")
    recipe: dict[str, Any] = {
        "clf": clf,
        "scale": "none" if kind.untouched else options.scale,
        "seed": options.seed,
        "class_weight": options.class_weight if kind.weighed else "none",
        "calibrate": options.calibrate and kind.logits,
        "refit": options.refit and kind.grid is not None,
        "views": [[one.provenance.key(), one.fingerprint] for one in views if not kind.untouched],
        "features": features.provenance.key(),
        "fingerprint": features.fingerprint,
    }
    if kind.grid is not None:
        values = (float(C),) if C != "auto" and kind.grid.name == "C" else kind.grid.values
        recipe |= {kind.grid.name: list(values), "folds": FOLDS}
    recipe |= kind.settings(options)
    if kind.order is not None and plan_reading(features, recipe, views, max_memory).in_blocks:
        recipe["order"] = kind.order()
    return recipe


def read_grid(recipe: Mapping[str, Any]) -> Sequence[float]:
    """The values that a recipe has its head choose from; () where it chooses nothing."""
    grid = find_kind(recipe["clf"]).grid
    values: Sequence[float] = () if grid is None else recipe[grid.name]
    return values


def plan_reading(
    features: Features,
    recipe: Mapping[str, Any],
    views: Sequence[Features] = (),
    max_memory: int | None = None,
) -> Reading:
    """`choose_reading` for a recipe."""
    return choose_reading(
        features,
        find_kind(recipe["clf"]),
        scale=recipe["scale"],
        values=len(read_grid(recipe)) or 1,
        refit=recipe["refit"],
        views=views if recipe["views"] else (),
        max_memory=max_memory,
    )


def take_splits(features: Features, in_blocks: bool) -> dict[str, tuple[Samples, Labels]]:
    """X and y of the labelled rows of each split that has any."""
    take = features.split_blocks if in_blocks else features.split
    data = {split: take(split) for split in SPLITS}
    return {split: (X, y) for split, (X, y) in data.items() if len(y)}


@dataclass(frozen=True)
class Trained:
    """What `train_head` gives back; `before` are val's probabilities before it was learned from."""

    learned: Learned
    scaler: Scaler
    before: Matrix | None = None

    @property
    def search(self) -> Search:
        """Its fit, what chose it, and its temperature."""
        return self.learned.search


def train_head(
    data: Mapping[str, tuple[Samples, Labels]],
    recipe: Mapping[str, Any],
    prior: Any = None,
    more: tuple[Samples, Labels] | None = None,
) -> Trained:
    """Train one head as a recipe of `make_recipe` says.

    Parameters
    ----------
    data : mapping of str to (X, y)
        "train", and "val" where there is one; others are scored where there are epochs.
    recipe : mapping
    prior : object
        See `Kind.prior`.
    more : (X, origin), optional
        Rows that show train's images in other ways, and which of train's rows each shows.
    """
    kind = find_kind(recipe["clf"])
    X, y = data["train"]
    origin: Labels | None = None
    if more is not None:
        origin = np.concatenate([np.arange(len(y)), more[1]])
        X, y = join_rows([X, more[0]]), y[origin]
    scaler = fit_scaler(recipe["scale"], X)
    scaled = {split: (scaler.apply(X_), y_) for split, (X_, y_) in data.items() if split != "train"}
    val = scaled.pop("val", None)
    task = Task(
        X=scaler.apply(X),
        y=y,
        val=val,
        grid=read_grid(recipe),
        seed=recipe["seed"],
        class_weight=None if recipe["class_weight"] == "none" else recipe["class_weight"],
        calibrate=recipe["calibrate"] and val is not None,
        origin=origin,
        others=scaled,
        settings=recipe,
        prior=prior,
    )
    learned = _train(kind, task)
    if not recipe["refit"]:
        return Trained(learned, scaler)
    assert val is not None
    found = learned.search
    before = found.predict_proba(val[0])
    X, y = join_rows([X, data["val"][0]]), np.concatenate([y, data["val"][1]])
    scaler = fit_scaler(recipe["scale"], X)
    whole = replace(task, X=scaler.apply(X), y=y, val=None, grid=[found.value], origin=None)
    again = _train(kind, replace(whole, calibrate=False))
    # The temperature stays the one that val gave while it was held out.
    search = Search(
        again.search.fit, found.value, f"{found.chosen_by}, then refitted", found.temperature
    )
    return Trained(replace(again, search=search), scaler, before)


def _train(kind: Kind, task: Task) -> Learned:
    """Train one head; what libraries remark is left to what is said of the fit itself.

    Of few images of many classes, constant columns and scales far apart they speak in their own
    words, once for each value of the grid; that a fit did not converge stands in its search.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.train(task)


def stack_views(
    features: Features, views: Sequence[Features], in_blocks: bool = False
) -> tuple[Samples, Labels] | None:
    """Rows of views, and which of train's labelled rows each shows; None where there are none.

    A view that could not be computed of an image is left out.
    """
    if not views:
        return None
    train = features.hashes[features.rows("train")].tolist()
    parts: list[Samples] = []
    origins = []
    for view in views:
        row_of = {digest: row for row, digest in enumerate(view.hashes.tolist())}
        here = [i for i, digest in enumerate(train) if digest in row_of]
        rows = np.array([row_of[train[i]] for i in here], dtype=np.int64)
        parts.append(Blocks((view.X,), rows) if in_blocks else view.X[rows])
        origins.append(np.array(here, dtype=np.int64))
    return join_rows(parts), np.concatenate(origins)
