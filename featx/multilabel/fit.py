"""A head of several labels an image: its recipe, its training, what is measured of it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featx import config
from featx.arrays import Labels
from featx.config import CLASS_WEIGHTS, EPOCHS, LAST_LAYER, MULTILABEL_CLASSIFIERS, SCALINGS
from featx.errors import BudgetError, FeatureFileError, ModelError
from featx.features.content import Features
from featx.features.file import read_features
from featx.features.selection import hash_groups
from featx.heads.kind import HeadOptions, Size, find_kind, read_grid
from featx.heads.memory import estimate_whole
from featx.machine import describe_machine, measure_memory
from featx.multilabel.head import join_head, make_arrays
from featx.multilabel.judging import describe_fits, judge_model, settle_splits, take_sets
from featx.multilabel.learning import LabelsLearned, learn_labels
from featx.text import format_bytes, list_some
from featx.training.model import MULTILABEL, Model, Outcome, check_place, write_model
from featx.training.trials import Kin

log = logging.getLogger(__name__)


def fit_multilabel(
    features: Features | str | Path,
    clf: str = "logreg",
    *,
    C: float | str = "auto",
    scale: str = "none",
    epochs: int = EPOCHS,
    seed: int = 0,
    class_weight: str = "none",
    calibrate: bool = False,
    learning_rate: float | str = "auto",
    max_memory: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Model:
    """Train one classifier a label on features of images that may have several.

    What each chooses, such as its C, five folds of train and val together choose by log-loss; they
    keep labels' shares, copies and groups. The same folds choose each label's threshold, from which
    on it is said of an image: the one with the highest F1. Then each is fitted on train and val.
    Test chooses nothing. Where there is no test, val is the test, and folds of train choose.

    Parameters
    ----------
    features : Features or path of a feature file
        Of `featx.extract` with `multi_label`.
    clf : {"logreg", "linear", "svm", "ridge"}
        See `featx.fit`. Of linear one learning rate is chosen for all labels.
    C, epochs, seed, learning_rate
        See `featx.fit`.
    scale : {"none", "standard", "l2", "center-l2"}
    class_weight : {"none", "balanced"}
        "balanced": having a label weighs as much as not having it; not for linear.
    calibrate : bool
        Fit a temperature a label for logreg and linear; svm and ridge have one anyway.
    max_memory : int, optional
        Bytes that fitting may take; all rows are in memory.
    output : path, optional
        Write the model there.
    overwrite : bool
        Replace an `output` that holds something else.

    Returns
    -------
    Model
        Its kind is "multilabel"; accuracy is the share of images whose whole set is right, and the
        mean per class that of answers that are right, one less the Hamming loss.

    Raises
    ------
    FeatureFileError
        The images have one label each, there are no train images, or a label that all or none of
        them have.
    ModelError
        A choice that does not exist, or that has no meaning with several labels.
    BudgetError
        `max_memory` is too little.
    OutputExistsError
        `output` holds something else and `overwrite` is False.
    """
    held = features if isinstance(features, Features) else read_features(features)
    options = HeadOptions(
        C=C, scale=scale, epochs=epochs, seed=seed, class_weight=class_weight, calibrate=calibrate,
        learning_rate=learning_rate, layers=LAST_LAYER,
    )  # fmt: skip
    held, promoted = settle_splits(held)
    recipe = make_labels_recipe(held, clf, options)
    if output is not None:
        check_place(Path(output), recipe, overwrite)
    pool = np.flatnonzero(np.isin(held.splits, ("train", "val")))
    sets = take_sets(held)
    _check_labels(held, pool)
    _check_memory(held, recipe, max_memory)
    started = time.perf_counter()
    X = np.asarray(held.X[pool])
    learned = learn_labels(X, sets[pool], take_label_kin(held, pool), recipe)
    arrays = make_arrays(learned.scaler, learned.fits)
    seconds = time.perf_counter() - started
    head = join_head(clf, held.classes, learned.scaler.kind, arrays)
    in_val = held.splits[pool] == "val"
    test = np.flatnonzero(held.splits == "test")
    # Of a label that no fold judged, what is held was learned by heart.
    found = {"val": learned.held[in_val]} if in_val.any() and not learned.unjudged else {}
    if len(test):
        found["test"] = head.predict_proba(np.asarray(held.X[test]))
    kind = find_kind(clf)
    model = Model(
        kind=MULTILABEL,
        name=clf,
        classes=held.classes,
        provenance=held.provenance.to_dict(),
        recipe=recipe,
        outcome=Outcome(
            scores={},
            probabilities=found,
            seconds=seconds,
            trainable_parameters=arrays["coef"].size + arrays["intercept"].size,
            machine=describe_machine(),
            details={
                "calibrated": recipe["calibrate"],
                "val_is_test": promoted,
                "folds": learned.n_folds,
                "notes": [*_note_few(held, learned), *([held.alike] if held.alike else ())],
                "out_of_fold": {"mAP": learned.map_held},
                **describe_fits(
                    held, learned.fits, "learning_rate" if kind.grid is None else kind.grid.name
                ),
                "scale": learned.scaler.kind,
            },
        ),
        arrays=arrays,
    )
    model = judge_model(model, held, head.predict_proba(X[~in_val]))
    return model if output is None else write_model(model, Path(output))


def make_labels_recipe(features: Features, clf: str, options: HeadOptions) -> dict[str, Any]:
    """All that decides what `fit_multilabel` finds, as JSON values.

    Raises
    ------
    FeatureFileError
        The images have one label each.
    ModelError
        A choice that does not exist, or that has no meaning with several labels.
    """
    take_sets(features)
    check_clf(clf)
    kind, C = find_kind(clf), options.C
    if C != "auto" and not 0 < float(C) < float("inf"):
        raise ModelError(f"C is {C}: it must be a positive number, or auto")
    for name, value, closed in (
        ("class_weight", options.class_weight, CLASS_WEIGHTS), ("scale", options.scale, SCALINGS),
        ("layers", options.layers, (LAST_LAYER,)), ("choose_on", options.choose_on, ("folds",)),
    ):  # fmt: skip
        if value not in closed:
            raise ModelError(
                f"{name} {value} is not for several labels an image: say one of {', '.join(closed)}"
            )
    if not options.refit:
        raise ModelError("several labels an image are always fitted on train and val in the end")
    if clf == "linear" and options.class_weight != "none":
        raise ModelError("linear knows no class weights with several labels an image: take logreg")
    recipe: dict[str, Any] = {
        "clf": clf, "multilabel": True, "scale": options.scale, "seed": options.seed,
        "class_weight": options.class_weight, "calibrate": options.calibrate and kind.logits,
        "features": features.provenance.key(), "fingerprint": features.fingerprint,
        "label_sets": hash_sets(features),
        "folds": config.FOLDS,
    }  # fmt: skip
    if kind.grid is not None:
        values = (float(C),) if C != "auto" and kind.grid.name == "C" else kind.grid.values
        recipe[kind.grid.name] = list(values)
        if kind.grid.ends and len(values) > 1:
            recipe["ends"] = [config.PATH_MARGIN, config.PATH_PATIENCE]
    if features.groups is not None:
        recipe["groups"] = hash_groups(features)
    return recipe | kind.settings(options)


def check_clf(clf: str) -> None:
    """Raise ModelError where a head knows no several labels an image."""
    if clf not in MULTILABEL_CLASSIFIERS:
        raise ModelError(
            f"{clf} has no meaning with several labels an image: say one of "
            f"{', '.join(MULTILABEL_CLASSIFIERS)}"
        )


def hash_sets(features: Features) -> str:
    """SHA-256, in hex, of which labels images have."""
    return hashlib.sha256(np.packbits(take_sets(features)).tobytes()).hexdigest()


def take_label_kin(features: Features, rows: Labels) -> Kin:
    """Which rows are copies, and which a group joins."""
    image = np.unique(features.hashes, return_inverse=True)[1]
    return Kin(image, np.zeros(len(image), bool), features.clusters).take(rows)


def _check_labels(features: Features, pool: Labels) -> None:
    """Raise FeatureFileError where a label cannot be learned."""
    where, sets = features.path or Path(features.dataset), take_sets(features)[pool]
    if not (features.splits == "train").any():
        raise FeatureFileError(where, "it has no train images: there is nothing to learn from")
    for wrong, what in ((~sets.any(axis=0), "no"), (sets.all(axis=0), "every")):
        if wrong.any():
            names = list_some([features.classes[k] for k in np.flatnonzero(wrong)])
            raise FeatureFileError(
                where,
                f"{what} image of train and val has the labels {names}: nothing could learn them; "
                "leave them out of the manifest, or split otherwise",
            )


def _check_memory(features: Features, recipe: Mapping[str, Any], max_memory: int | None) -> None:
    """Raise BudgetError where rows in memory take more than they may."""
    counts = [int((features.splits == split).sum()) for split in config.SPLITS]
    size = Size(
        train=counts[0] + counts[1], val=0, test=counts[2], features=features.X.shape[1],
        classes=2, values=len(read_grid(recipe)) or 1, folds=config.FOLDS,
    )  # fmt: skip
    needed = estimate_whole(find_kind(recipe["clf"]), size, recipe["scale"])
    allowed = max_memory or int(config.MEMORY_SHARE * measure_memory())
    if needed > allowed:
        raise BudgetError(
            f"{features.path or features.dataset}: {recipe['clf']} needs {format_bytes(needed)} "
            f"and may have {format_bytes(allowed)}, and several labels an image are learned from "
            "rows in memory: give more by --max-memory, or extract fewer images"
        )


def _note_few(features: Features, learned: LabelsLearned) -> list[str]:
    """Say, and return, which labels have too few images for what chooses."""
    if not learned.few:
        return []
    note = (
        f"fewer than {config.FOLDS} images, or groups, have or lack the labels "
        f"{list_some([features.classes[k] for k in learned.few])}: what is chosen for them, "
        "thresholds above all, is a guess"
    )
    notes = [note]
    if learned.unjudged:
        names = list_some([features.classes[k] for k in learned.unjudged])
        notes.append(f"val is not scored, since no fold could judge the labels {names}")
    for one in notes:
        log.warning("%s: %s", features.dataset, one)
    return notes
