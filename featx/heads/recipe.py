"""What decides a head: its recipe, and training by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.config import (
    C_GRID,
    CENTROID_GRID,
    EPOCHS,
    FOLDS,
    HEAD_LEARNING_RATE,
    MAX_ITER,
    NEIGHBOURS_GRID,
    RIDGE_GRID,
    SPLITS,
    SVM_GRID,
    TOLERANCE,
    TRAIN_BATCH_SIZE,
)
from featx.errors import ModelError
from featx.features.content import Features
from featx.heads.centroid import search_centroid
from featx.heads.imagenet import LastLayer, map_classes
from featx.heads.knn import search_neighbours
from featx.heads.linear import LinearClassifier, describe_order
from featx.heads.logreg import search_logreg
from featx.heads.memory import Reading, choose_reading
from featx.heads.ridge import search_ridge
from featx.heads.scaling import Scaler, fit_scaler
from featx.heads.search import LinearFit, Search
from featx.heads.svm import search_svm
from featx.storage.blocks import Blocks, Samples, gather, join_rows
from featx.training.calibration import fit_temperature
from featx.training.model import Epoch

# What is chosen on val for each head, its grid, and how the grid is called in a recipe.
GRIDS: dict[str, tuple[str, tuple[float, ...]]] = {
    "logreg": ("C", C_GRID),
    "svm": ("C", SVM_GRID),
    "ridge": ("alpha", RIDGE_GRID),
    "knn": ("k", NEIGHBOURS_GRID),
    "centroid": ("shrink", CENTROID_GRID),
}
CLASSIFIERS = ("imagenet", "logreg", "linear", "svm", "ridge", "knn", "centroid")
WEIGHED = ("logreg", "linear", "svm", "ridge")  # those that know class weights
CALIBRATED = ("logreg", "linear")  # whose scores are logits; the others have a temperature anyway
DRAWN = ("linear", "svm")  # those that a seed changes even where val chooses


def make_recipe(
    features: Features,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    class_weight: str = "none",
    calibrate: bool = False,
    refit: bool = False,
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
    if clf not in CLASSIFIERS:
        raise ModelError(f"unknown clf {clf!r}: say one of {', '.join(CLASSIFIERS)}")
    if C != "auto" and not 0 < float(C) < float("inf"):
        raise ModelError(f"C is {C}: it must be a positive number, or auto")
    if class_weight not in ("none", "balanced"):
        raise ModelError(f"unknown class_weight {class_weight!r}: say none or balanced")
    recipe: dict[str, Any] = {
        "clf": clf,
        "scale": scale if clf != "imagenet" else "none",
        "seed": seed,
        "class_weight": class_weight if clf in WEIGHED else "none",
        "calibrate": calibrate and clf in CALIBRATED,
        "refit": refit and clf in GRIDS,
        "views": [[one.provenance.key(), one.fingerprint] for one in views] * (clf != "imagenet"),
        "features": features.provenance.key(),
        "fingerprint": features.fingerprint,
    }
    if clf in GRIDS:
        name, grid = GRIDS[clf]
        if C != "auto" and name == "C":
            grid = (float(C),)
        recipe |= {name: list(grid), "folds": FOLDS}
    if clf == "logreg":
        recipe |= {"max_iter": MAX_ITER, "tol": TOLERANCE}
    if clf == "linear":
        recipe |= {
            "epochs": epochs,
            "batch_size": TRAIN_BATCH_SIZE,
            "learning_rate": HEAD_LEARNING_RATE,
        }
        if plan_reading(features, recipe, views, max_memory).in_blocks:
            recipe["order"] = describe_order()
    return recipe


def plan_reading(
    features: Features,
    recipe: Mapping[str, Any],
    views: Sequence[Features] = (),
    max_memory: int | None = None,
) -> Reading:
    """`choose_reading` for a recipe."""
    clf = recipe["clf"]
    return choose_reading(
        features,
        clf,
        scale=recipe["scale"],
        values=len(recipe[GRIDS[clf][0]]) if clf in GRIDS else 1,
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

    search: Search
    scaler: Scaler
    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    before: Matrix | None = None


def train_head(
    data: Mapping[str, tuple[Samples, Labels]],
    recipe: Mapping[str, Any],
    layer: LastLayer | None = None,
    more: tuple[Samples, Labels] | None = None,
) -> Trained:
    """Train one head as a recipe of `make_recipe` says.

    Parameters
    ----------
    data : mapping of str to (X, y)
        "train", and "val" where there is one; others are scored where there are epochs.
    recipe : mapping
    layer : LastLayer, optional
        Of imagenet.
    more : (X, origin), optional
        Rows that show train's images in other ways, and which of train's rows each shows.
    """
    X, y = data["train"]
    origin: Labels | None = None
    if more is not None:
        origin = np.concatenate([np.arange(len(y)), more[1]])
        X, y = join_rows([X, more[0]]), y[origin]
    scaler = fit_scaler(recipe["scale"], X)
    if layer is not None:
        return Trained(Search(map_classes(layer, X, y), 0.0, "nothing is chosen"), scaler)
    scaled = {split: (scaler.apply(X_), y_) for split, (X_, y_) in data.items() if split != "train"}
    train = scaler.apply(X)
    if recipe["clf"] == "linear":
        return _train_linear(train, y, scaled, recipe, scaler)
    found = _search(train, y, scaled.get("val"), recipe, origin)
    if not recipe["refit"]:
        return Trained(found, scaler)
    before = found.predict_proba(scaled["val"][0])
    both = join_rows([X, data["val"][0]]), np.concatenate([y, data["val"][1]])
    scaler = fit_scaler(recipe["scale"], both[0])
    name, _ = GRIDS[recipe["clf"]]
    again = _search(scaler.apply(both[0]), both[1], None, {**recipe, name: [found.value]}, None)
    # The temperature stays the one that val gave while it was held out.
    search = Search(again.fit, found.value, f"{found.chosen_by}, then refitted", found.temperature)
    return Trained(search, scaler, before=before)


def _search(
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    recipe: Mapping[str, Any],
    origin: Labels | None,
) -> Search:
    clf, seed = recipe["clf"], recipe["seed"]
    weight = None if recipe["class_weight"] == "none" else recipe["class_weight"]
    grid = recipe[GRIDS[clf][0]]
    if clf == "logreg":
        return search_logreg(
            X, y, val, grid, seed,
            class_weight=weight, calibrate=recipe["calibrate"] and val is not None, origin=origin,
        )  # fmt: skip
    if clf == "svm":
        return search_svm(X, y, val, grid, seed, class_weight=weight, origin=origin)
    if clf == "ridge":
        return search_ridge(X, y, val, grid, seed, class_weight=weight, origin=origin)
    if clf == "knn":
        return search_neighbours(X, y, val, grid, seed, origin=origin)
    return search_centroid(X, y, val, grid, seed, origin=origin)


def _train_linear(
    X: Samples,
    y: Labels,
    others: Mapping[str, tuple[Samples, Labels]],
    recipe: Mapping[str, Any],
    scaler: Scaler,
) -> Trained:
    weight = None if recipe["class_weight"] == "none" else recipe["class_weight"]
    linear = LinearClassifier(
        epochs=recipe["epochs"],
        batch_size=recipe["batch_size"],
        learning_rate=recipe["learning_rate"],
        seed=recipe["seed"],
        class_weight=weight,
    ).fit(X, y, others)
    fitted = LinearFit(linear.coef_, linear.intercept_)
    temperature = 1.0
    if recipe["calibrate"]:
        X_val, y_val = others["val"]
        temperature = fit_temperature(gather(X_val, fitted.decide), y_val)
    chosen_by = "val" if "val" in others else "the last epoch"
    search = Search(fitted, float(linear.best_epoch_), chosen_by, temperature)
    return Trained(search, scaler, linear.history_, linear.best_epoch_)


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
