"""Classifiers on features: how one is chosen, kept and read back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.config import AUTO_LAYERS, EPOCHS, RANK_PRECISION
from featx.data.dataset import describe_rows
from featx.data.splits import find_untrainable, promote_val
from featx.errors import FeatureFileError, ModelError
from featx.features.content import Features, need_one_label
from featx.features.file import read_features
from featx.features.outputs import find_columns
from featx.features.selection import stack_views, take_kin, take_splits
from featx.heads.head import Head, describe_training, load_head
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.memory import Reading, describe_reading, plan_reading
from featx.heads.recipe import make_recipe, train_head, train_quietly
from featx.heads.search import Task
from featx.machine import describe_machine
from featx.novelty.learning import Refit, learn_evidence, learn_novelty
from featx.novelty.ranks import Ranking, add_ranking, check_precision
from featx.novelty.taxonomy import Taxonomy, take_taxonomy
from featx.storage.blocks import take_columns
from featx.text import format_bytes
from featx.training.choice import Choice
from featx.training.evaluation import measure
from featx.training.metrics import score_labels
from featx.training.model import Model, Outcome, check_place, write_model
from featx.training.scaling import fit_scaler
from featx.training.trials import Kin, join_pool

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
    choose_on: str = "folds",
    refit: bool = True,
    learning_rate: float | str = "auto",
    layers: str = AUTO_LAYERS,
    views: Sequence[Features] = (),
    weights: str | None = None,
    max_memory: int | None = None,
    strangers: bool = False,
    taxonomy: str | Path | Taxonomy | None = None,
    precision_at_least: float = RANK_PRECISION,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train a head on cached features. Test chooses nothing: it is scored once, at the end.

    Where there is no test, val is the test, and folds of train choose.

    Parameters
    ----------
    features : Features or path of a feature file
    clf : {"logreg", "linear", "svm", "ridge", "knn", "centroid", "imagenet"}
        scikit-learn's LogisticRegression, LinearSVC, RidgeClassifier, KNeighborsClassifier with
        cosine distances, NearestCentroid; `LinearClassifier`; or ImageNet's own last layer.
    C : float or "auto"
        Of logreg and svm. What every head chooses by itself is the value of its grid in
        `config` with the lowest log-loss of images that were held out, of equals the simpler one.
        A path over C ends where it leads away from the best: see `PATH_MARGIN`.
    scale : {"none", "standard", "l2", "center-l2", "auto"}
        Learned from what the head learns from. "auto": what chooses the value chooses among the
        others, too; for linear val does, where there is none folds of train.
    epochs : int
        Of linear.
    seed : int
        Of linear's first parameters and batch order, svm's order, and of the folds.
    class_weight : {"none", "balanced"}
        "balanced": a class weighs the same whatever its number of images; for logreg, linear, svm
        and ridge.
    calibrate : bool
        Fit a temperature for logreg, on the images that choose, and for linear, on val. The
        others' scores are no probabilities without one, and have it anyway, but for imagenet's.
    choose_on : {"folds", "val"}
        What chooses: stratified folds of train and val together, five unless a class has fewer
        images, which keep copies, views and groups of images together; or val alone. ridge leaves
        every single image out instead of folds, where no image has relatives. Where there is no
        val folds of train choose; where features are read in blocks val does.
    refit : bool
        Once the value is chosen, fit on train and val together, where there is val; else on train.
    learning_rate : float or "auto"
        Of linear, Adam's. "auto": all of `HEAD_LEARNING_RATES` are trained, and the one with the
        lowest val loss after the last epoch is kept; the lowest mean over folds of train where
        there is no val.
    layers : str
        Which outputs of the network are its columns: "last", the features; of all stages "avg" or
        "max", their means or maxima over places, or "all", both; or some, such as
        "last,layer3:max". Where that is more than the last layer each column is standardised before
        `scale`, learned as that is. "auto": what chooses the value chooses among the first four,
        as far as the features have them; of equals the fewer columns.
    views : sequence of Features
        More rows for train: other views of the same images, as `extract_views`
        makes them.
    weights : str, optional
        Of imagenet: where the last layer is to be had; None: by the features' own name.
    max_memory : int, optional
        Bytes that fitting may take, beside what Python and its libraries do. Features for which
        that is too little are read in blocks, as often as the head needs them. None:
        `MEMORY_SHARE` of what the process may use.
    strangers : bool
        Also learn what `featx.predict` needs for `unknown` and `sets`; see `learn_novelty`. It
        changes nothing else. It takes a fit for each class, twenty at most, and one for each of
        twenty folds.
    taxonomy : path or Taxonomy, optional
        A CSV file: a line for each class, its name and then those of its ranks, the widest last.
        `featx.predict` then answers at the deepest rank that keeps `precision_at_least`. It changes
        nothing else, and takes a fit for each of twenty folds.
    precision_at_least : float
        Share of the answers at each rank that are to be right, in (0, 1); see docs/ranks.md.
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
    DatasetError
        `taxonomy` is no tree, or lacks a class.
    FeatureFileError
        No labels, no train rows, one class only, or a class that train lacks.
    LayersError
        `layers` are none, or the features lack them.
    ModelError
        An unknown choice, a C that is not positive, weights other than the features', `calibrate`
        of linear without val, `strangers` or `taxonomy` where there are no folds or too little
        memory.
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
    held = features if isinstance(features, Features) else read_features(features)
    need_one_label(held, "featx.fit (unlike featx.fit_multilabel)")
    promoted = promote_val(held.targets, held.splits)
    if promoted is not None:
        held = replace(held, splits=promoted)
    where = held.path or Path(held.dataset)
    if reason := find_untrainable(held.classes, held.targets, held.splits):
        raise FeatureFileError(where, reason)
    tree = None if taxonomy is None else take_taxonomy(taxonomy, held.classes)
    check_precision(precision_at_least)
    alike = held.alike is not None  # warned of before the work
    options = HeadOptions(
        C=C, scale=scale, epochs=epochs, seed=seed, class_weight=class_weight,
        calibrate=calibrate, choose_on=choose_on, refit=refit, learning_rate=learning_rate,
        layers=layers,
    )  # fmt: skip
    kind = find_kind(clf)
    recipe = make_recipe(held, clf, options, views=views, max_memory=max_memory)
    doubts = strangers or tree is not None
    reading = plan_reading(held, recipe, views, max_memory, strangers=doubts)
    log.debug("%s", describe_reading(reading, max_memory is not None))
    sets = recipe.get("layers", ())
    data = take_splits(held, reading.in_blocks, sets)
    if recipe["calibrate"] and kind.grid is None and "val" not in data:
        raise ModelError(f"{where} has no val images, and calibrate needs them: give a split")
    if doubts:
        _check_in_memory(reading, clf, where)
    if output is not None:
        check_place(Path(output), recipe, overwrite)
    prior = None if kind.prior is None else kind.prior(held, weights)
    started = time.perf_counter()
    more = stack_views(held, views if recipe["views"] else (), reading.in_blocks, sets)
    kin = take_kin(held)
    trained = train_head(data, recipe, prior, more, kin)
    seconds = time.perf_counter() - started
    head = Head(clf, held.classes, trained.scaler, trained.search.fit, trained.search.temperature)
    found = {s: head.predict_proba(X) for s, (X, _) in data.items() if s != "train"}
    if trained.held is not None:  # val belongs to what it learned from, or to what chose
        found["val"] = trained.held
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
                **describe_training(recipe, trained),
                **trained.learned.details,
                "val_is_test": promoted is not None,
                "alike": alike,
                "data": describe_rows(
                    held.dataset, held.split_rule, held.targets, held.splits, len(held.classes),
                    held.fingerprint,
                ),
                **_measure_test(held, found),
                **({} if held.corrected is None else {"labels": held.corrected.to_dict()}),
            },
        ),
        arrays=head.to_arrays(),
    )  # fmt: skip
    again: dict[str, Any] = {"views": views, "weights": weights, "max_memory": max_memory}
    if strangers:
        model = learn_strangers(model, held, **again)
    if tree is not None:
        model = learn_ranks(model, held, tree, precision_at_least, **again)
    return model if output is None else write_model(model, Path(output))


def _measure_test(features: Features, found: Mapping[str, Matrix]) -> dict[str, Any]:
    """What is measured on test beside the score; {} without test."""
    if "test" not in found:
        return {}
    y, clusters = features.targets[features.rows("test")], features.split_clusters("test")
    return {"evaluation": {"test": measure(y, found["test"], clusters).to_dict()}}


def learn_strangers(
    model: Model,
    features: Features,
    *,
    views: Sequence[Features] = (),
    weights: str | None = None,
    max_memory: int | None = None,
) -> Model:
    """A head that also has what `featx.predict` needs for `unknown` and `sets`.

    Its recipe is the same, and so is all that it had; see `learn_novelty`.

    Parameters
    ----------
    model : Model
        A head.
    features : Features
        What it was fitted on.
    views : sequence of Features
        And these, where its recipe has some.
    weights, max_memory
        See `fit`.

    Raises
    ------
    ModelError
        There are no folds, or too little memory.
    """
    learned = _take_rows(model, features, views, weights, max_memory)
    found = learn_novelty(*learned, model.recipe["seed"])
    details = {**model.outcome.details, "strangers": found.details}
    outcome = replace(model.outcome, details=details)
    return replace(model, outcome=outcome, arrays={**model.arrays, **found.to_arrays()})


def learn_ranks(
    model: Model,
    features: Features,
    taxonomy: Taxonomy,
    precision: float = RANK_PRECISION,
    *,
    views: Sequence[Features] = (),
    weights: str | None = None,
    max_memory: int | None = None,
) -> Model:
    """A head that also has what `featx.predict` answers by ranks with; else it is the same.

    Parameters
    ----------
    model, features, views, weights, max_memory
        See `learn_strangers`.
    taxonomy : Taxonomy
        Of the model's classes, in their order.
    precision : float
        See `fit`.

    Raises
    ------
    ModelError
        There are no folds, or too little memory.
    """
    X, y, kin, _, refit = _take_rows(model, features, views, weights, max_memory)
    evidence = learn_evidence(X, y, kin, refit, taxonomy, model.recipe["seed"])
    return add_ranking(model, Ranking(taxonomy, evidence, precision))


def _take_rows(
    model: Model,
    features: Features,
    views: Sequence[Features],
    weights: str | None,
    max_memory: int | None,
) -> tuple[Matrix, Labels, Kin, Head, Refit]:
    """What a head learned from, itself, and what fits it again, all being chosen."""
    recipe, details, kind = model.recipe, model.outcome.details, find_kind(model.name)
    where = features.path or Path(features.dataset)
    reading = plan_reading(features, recipe, views, max_memory, strangers=True)
    _check_in_memory(reading, model.name, where)
    sets = recipe.get("layers", ())
    more = stack_views(features, views if recipe["views"] else (), False, sets)
    pool = join_pool(take_splits(features, False, sets), more, take_kin(features))
    taken = next((one for one in sets if one["layers"] == details["layers"]), None)
    X = pool.X if taken is None else take_columns(pool.X, find_columns(taken, sets))
    head = load_head(model)
    head = replace(head, scaler=replace(head.scaler, columns=None))  # these are X's own
    settings = dict(recipe)
    if model.outcome.best_epoch is not None:  # without val the last one is kept, and none chosen
        rate = details["chosen"]["value"]
        settings |= {"epochs": model.outcome.best_epoch, "learning_rate": rate}
    prior = None if kind.prior is None else kind.prior(features, weights)

    def refit(X: Matrix, y: Labels) -> Head:
        fresh = fit_scaler(head.scaler.kind, X, head.scaler.level is not None)
        scaled = fresh.apply(X)
        task = Task(
            X=scaled,
            y=y,
            choice=None if kind.grid is None else Choice(details["chosen"]["value"], "given"),
            seed=recipe["seed"],
            class_weight=None if recipe["class_weight"] == "none" else recipe["class_weight"],
            settings=settings,
            prior=prior,
            rough=True,
        )
        learned = train_quietly(kind, task).search.fit
        return Head(model.name, (), fresh, learned, head.temperature)

    n = len(pool.y) if recipe["refit"] else pool.n_train
    kin = pool.kin.take(np.arange(n))
    return np.asarray(X)[:n], pool.y[:n], kin, head, refit


def _check_in_memory(reading: Reading, clf: str, where: Path) -> None:
    if reading.in_blocks:
        needed, allowed = format_bytes(reading.needed), format_bytes(reading.allowed)
        raise ModelError(
            f"{where}: {clf} with strangers or ranks needs {needed} and may have {allowed}, and "
            "strangers are learned from rows in memory, as are ranks: give more by max_memory, or "
            "leave them out"
        )
