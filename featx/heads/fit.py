"""Classifiers on features: how one is chosen, kept and read back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from featx.config import EPOCHS
from featx.data.splits import find_untrainable, promote_val
from featx.errors import FeatureFileError, ModelError
from featx.features.content import Features
from featx.features.file import read_features
from featx.heads.head import Head
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.memory import describe_reading
from featx.heads.recipe import (
    make_recipe,
    plan_reading,
    stack_views,
    take_splits,
    train_head,
)
from featx.heads.search import Search
from featx.machine import describe_machine
from featx.training.metrics import score_labels
from featx.training.model import Model, Outcome, check_place, write_model

log = logging.getLogger(__name__)


def fit(
    features: Features | str | Path,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    class_weight: str = "none",
    calibrate: bool = False,
    refit: bool = False,
    learning_rate: float | str = "auto",
    views: Sequence[Features] = (),
    weights: str | None = None,
    max_memory: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train a head on cached features. val only chooses; test is scored once, at the end.

    Where there is no test, val is the test, and folds of train choose.

    Parameters
    ----------
    features : Features or path of a feature file
    clf : {"logreg", "linear", "svm", "ridge", "knn", "centroid", "imagenet"}
        scikit-learn's LogisticRegression, LinearSVC, RidgeClassifier, KNeighborsClassifier with
        cosine distances, NearestCentroid; `LinearClassifier`; or ImageNet's own last layer.
    C : float or "auto"
        Of logreg and svm. What every head chooses by itself is the value of its grid in
        `config` with the highest accuracy on val, ties by lower log-loss, then by the simpler
        one; on stratified folds of train where there is no val.
    scale : {"none", "standard", "l2"}
        Learned from train alone.
    epochs : int
        Of linear.
    seed : int
        Of linear's first parameters and batch order, svm's order, and of the folds.
    class_weight : {"none", "balanced"}
        "balanced": a class weighs the same whatever its number of images; for logreg, linear, svm
        and ridge.
    calibrate : bool
        Fit a temperature on val for logreg and linear. The others' scores are no probabilities
        without one, and have it anyway, but for imagenet's.
    refit : bool
        Once the value is chosen, fit again on train and val together.
    learning_rate : float or "auto"
        Of linear, Adam's. "auto": all of `HEAD_LEARNING_RATES` are trained, and the one with the
        lowest val loss after the last epoch is kept; the lowest mean over folds of train where
        there is no val.
    views : sequence of Features
        More rows for train: other views of the same images, as `extract_views`
        makes them.
    weights : str, optional
        Of imagenet: where the last layer is to be had; None: by the features' own name.
    max_memory : int, optional
        Bytes that fitting may take, beside what Python and its libraries do. Features for which
        that is too little are read in blocks, as often as the head needs them. None:
        `MEMORY_SHARE` of what the process may use.
    output : path, optional
        Write the model there.
    overwrite : bool
        Replace an `output` that holds something else.

    Returns
    -------
    Model
        With a path where there is an `output`.

    Raises
    ------
    FeatureFileError
        No labels, no train rows, one class only, or a class that train lacks.
    ModelError
        An unknown choice, a C that is not positive, weights other than the features', `calibrate`
        or `refit` without val.
    BudgetError
        `max_memory` is too little even for reading in blocks, or for a head that cannot.
    OutputExistsError
        `output` holds something else and `overwrite` is False.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> features = featx.load_features("F.h5")
    >>> model = featx.fit(features, "centroid", output="model.safetensors")
    >>> sorted(model.outcome.scores), model.classes
    (['test', 'train', 'val'], ('cat', 'dog', 'owl'))
    """
    held = features if isinstance(features, Features) else read_features(Path(features))
    promoted = promote_val(held.targets, held.splits)
    if promoted is not None:
        held = replace(held, splits=promoted)
    where = held.path or Path(held.dataset)
    if reason := find_untrainable(held.classes, held.targets, held.splits):
        raise FeatureFileError(where, reason)
    options = HeadOptions(
        C=C, scale=scale, epochs=epochs, seed=seed, class_weight=class_weight,
        calibrate=calibrate, refit=refit, learning_rate=learning_rate,
    )  # fmt: skip
    kind = find_kind(clf)
    recipe = make_recipe(held, clf, options, views=views, max_memory=max_memory)
    reading = plan_reading(held, recipe, views, max_memory)
    log.debug("%s", describe_reading(reading, max_memory is not None))
    data = take_splits(held, reading.in_blocks)
    for wish in ("calibrate", "refit"):
        if recipe[wish] and "val" not in data:
            raise ModelError(f"{where} has no val images, and {wish} needs them: give a split")
    if output is not None:
        check_place(Path(output), recipe, overwrite)
    prior = None if kind.prior is None else kind.prior(held, weights)
    started = time.perf_counter()
    more = stack_views(held, views if recipe["views"] else (), reading.in_blocks)
    trained = train_head(data, recipe, prior, more)
    seconds = time.perf_counter() - started
    head = Head(clf, held.classes, trained.scaler, trained.search.fit, trained.search.temperature)
    found = {s: head.predict_proba(X) for s, (X, _) in data.items() if s != "train"}
    if trained.before is not None:  # val belongs to what it learned from by now
        found["val"] = trained.before
    labels = {s: p.argmax(axis=1) for s, p in found.items()}
    labels["train"] = head.predict(data["train"][0])
    model = Model(
        kind="head",
        name=clf,
        classes=held.classes,
        provenance=held.provenance.to_dict(),
        recipe=recipe,
        outcome=Outcome(
            scores={
                s: score_labels(y, labels[s], held.split_clusters(s)) for s, (_, y) in data.items()
            },
            probabilities=found,
            seconds=seconds,
            trainable_parameters=head.fit.n_trained,
            machine=describe_machine(),
            history=trained.learned.history,
            best_epoch=trained.learned.best_epoch,
            details={
                **_describe(recipe, trained.search),
                **trained.learned.details,
                "val_is_test": promoted is not None,
            },
        ),
        arrays=head.to_arrays(),
    )
    return model if output is None else write_model(model, Path(output))


def _describe(recipe: Mapping[str, Any], search: Search) -> dict[str, Any]:
    """What this training chose, as JSON values."""
    grid = find_kind(recipe["clf"]).grid
    name = None if grid is None else grid.name
    return {
        "scale": recipe["scale"],
        "class_weight": recipe["class_weight"],
        "calibrated": recipe["calibrate"],
        "views": len(recipe["views"]),
        "temperature": search.temperature,
        "C": search.value if name == "C" else None,
        "chosen_by": search.chosen_by,
        "chosen": {"name": name, "value": search.value if name else None, "by": search.chosen_by},
        "converged": search.fit.converged,
        "n_iter": search.fit.n_iter,
    }
