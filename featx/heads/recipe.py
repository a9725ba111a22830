"""What decides a head: its recipe, and training by it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.config import (
    CHOOSE_ON,
    CLASS_WEIGHTS,
    FOLDS,
    LAST_LAYER,
    PATH_MARGIN,
    PATH_PATIENCE,
    SAME_LOSS,
    SCALES,
    SCALINGS,
)
from featx.data.splits import find_untrainable, promote_val
from featx.errors import ModelError
from featx.features.content import Features
from featx.features.outputs import (
    count_columns,
    find_columns,
    plan_layers,
)
from featx.features.selection import hash_groups, take_kin
from featx.heads.kind import HeadOptions, Kind, Learned, find_kind
from featx.heads.memory import Reading, choose_reading
from featx.heads.search import Search, Task
from featx.storage.blocks import Samples, join_rows, take_columns
from featx.training.metrics import log_loss
from featx.training.scaling import Scaler, fit_scaler
from featx.training.trials import (
    Kin,
    Trial,
    find_few,
    hold_val,
    join_kin,
    know_nothing,
    plan_folds,
    say_folds,
)

log = logging.getLogger(__name__)


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
    the same but for rounding. But where they are read in blocks val chooses, if there is one, since
    every fold would read them as often as the whole; `choose_on` says so then. And linear has no
    optimum that it reaches: its batches come in another order, as another seed's would, and `order`
    says so. Groups are in it where they are known: folds keep them whole.

    Raises
    ------
    ModelError
        A choice that does not exist, or that this head does not know.
    LayersError
        The features have no such layers.
    BudgetError
        Linear would need more than `max_memory`.
    """
    kind, C = find_kind(clf), options.C
    if C != "auto" and not 0 < float(C) < float("inf"):
        raise ModelError(f"C is {C}: it must be a positive number, or auto")
    if options.class_weight not in CLASS_WEIGHTS:
        known = " or ".join(CLASS_WEIGHTS)
        raise ModelError(f"unknown class_weight {options.class_weight!r}: say {known}")
    for name, value, closed in (
        ("scale", options.scale, SCALES), ("choose_on", options.choose_on, CHOOSE_ON)
    ):  # fmt: skip
        if value not in closed:
            raise ModelError(f"unknown {name} {value!r}: say one of {', '.join(closed)}")
    has_val = len(features.rows("val")) > 0
    recipe: dict[str, Any] = {
        "clf": clf,
        "scale": "none" if kind.untouched else options.scale,
        "seed": options.seed,
        "class_weight": options.class_weight if kind.weighed else "none",
        "calibrate": options.calibrate and kind.logits,
        "refit": options.refit and kind.grid is not None and has_val,
        "views": [[one.provenance.key(), one.fingerprint] for one in views if not kind.untouched],
        "features": features.provenance.key(),
        "fingerprint": features.fingerprint,
    }
    if kind.grid is not None:
        values = (float(C),) if C != "auto" and kind.grid.name == "C" else kind.grid.values
        recipe |= {kind.grid.name: list(values), "folds": FOLDS, "choose_on": options.choose_on}
        if kind.grid.ends and len(values) > 1:
            recipe |= {"ends": [PATH_MARGIN, PATH_PATIENCE]}
    if features.groups is not None:
        recipe |= {"groups": hash_groups(features)}
    if recipe["scale"] == "auto":
        recipe |= {"scales": list(SCALINGS)}
    if not kind.untouched and (sets := plan_layers(features, options.layers, views)):
        recipe |= {"layers": sets}
    recipe |= kind.settings(options)
    folds = has_val and recipe.get("choose_on") == "folds"
    if (folds or kind.order) and plan_reading(features, recipe, views, max_memory).in_blocks:
        recipe |= {"choose_on": "val"} if folds else {}
        recipe |= {"order": kind.order()} if kind.order else {}
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
        choose_on=recipe.get("choose_on", "val"),
        views=views if recipe["views"] else (),
        max_memory=max_memory,
        layers=recipe.get("layers", ()),
    )


def warn_few(features: Features, names: Iterable[str]) -> str | None:
    """Say, and return, that classes have too few images for all folds that choose for heads."""
    promoted = promote_val(features.targets, features.splits)
    held = features if promoted is None else replace(features, splits=promoted)
    if find_untrainable(held.classes, held.targets, held.splits):
        return None
    parts = take_kin(held)
    y = np.concatenate([held.targets[held.rows(split)] for split in parts])
    kin = join_kin(list(parts.values()))
    kinds = map(find_kind, names)
    if not any(one.grid is not None and not (one.exact and kin.independent) for one in kinds):
        return None
    said = find_few(held.classes, y, kin)
    if said is not None:
        log.warning("%s: %s", held.dataset, said)
    return said


@dataclass(frozen=True)
class Trained:
    """What `train_head` gives back.

    Attributes
    ----------
    learned : Learned
    scaler : Scaler
    held : ndarray of shape (n_val, n_classes) or None
        Probabilities of val's rows by fits that did not see them; None where the kept fit is one
        that did not.
    val_is : str
        What val's figures are: "held out", "held out, before refitting" or "out of fold".
    layers : str
        Which outputs of the network it reads, as `spell_outputs` spells them.
    tried : tuple of dict
        Of each set of layers that it chose from: "layers", "columns", how many they are, and
        "log_loss", None where nothing chose.
    """

    learned: Learned
    scaler: Scaler
    held: Matrix | None = None
    val_is: str = "held out"
    layers: str = LAST_LAYER
    tried: tuple[Mapping[str, Any], ...] = ()

    @property
    def search(self) -> Search:
        """Its fit, what chose it, and its temperature."""
        return self.learned.search


def train_head(
    data: Mapping[str, tuple[Samples, Labels]],
    recipe: Mapping[str, Any],
    prior: Any = None,
    more: tuple[Samples, Labels] | None = None,
    kin: Mapping[str, Kin] | None = None,
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
    kin : mapping of str to Kin, optional
        Which rows of "train" and "val" are related; None: none are.
    """
    pool = join_pool(data, more, kin)
    task = Task(
        X=pool.X,
        y=pool.y,
        groups=pool.kin.units,
        grid=read_grid(recipe),
        seed=recipe["seed"],
        class_weight=None if recipe["class_weight"] == "none" else recipe["class_weight"],
        calibrate=recipe["calibrate"],
        settings=recipe,
        prior=prior,
    )
    sets = recipe.get("layers", ())
    if not sets:
        return _choose_scaling(data, pool, {**recipe, "level": False}, task)[1]
    found = []
    for one in sets:
        columns, layers = find_columns(one, sets), one["layers"]
        some = {split: (take_columns(X, columns), y) for split, (X, y) in data.items()}
        narrow = replace(pool, X=take_columns(pool.X, columns))
        levelled = {**recipe, "level": layers != LAST_LAYER}
        loss, trained = _choose_scaling(some, narrow, levelled, task)
        scaler = replace(trained.scaler, columns=columns)
        found.append((loss, replace(trained, scaler=scaler, layers=layers)))
    tried = tuple(
        {"layers": one.layers, "columns": count_columns(each), "log_loss": loss}
        for each, (loss, one) in zip(sets, found, strict=True)
    )
    return replace(_take_best(found)[1], tried=tried)


def _choose_scaling(
    data: Mapping[str, tuple[Samples, Labels]],
    pool: Pool,
    recipe: Mapping[str, Any],
    task: Task,
) -> _Found:
    """Train by each scaling that is to be tried; the best, with the log-loss that chose."""
    train = _train_by_epochs if find_kind(recipe["clf"]).grid is None else _train_by_grid
    scales = recipe.get("scales", [recipe["scale"]])
    return _take_best([train(data, pool, {**recipe, "scale": one}, task) for one in scales])


_Found = tuple[float | None, Trained]  # with the log-loss that chose; None where nothing did


def _take_best(found: Sequence[_Found]) -> _Found:
    """That of the lowest log-loss; of equals, and where nothing chose, the first."""
    best = found[0]
    for one in found[1:]:
        if one[0] is not None and best[0] is not None and one[0] < best[0] - SAME_LOSS:
            best = one
    return best


@dataclass(frozen=True)
class Pool:
    """Train's rows, views of them, and after these val's; not scaled."""

    X: Samples
    y: Labels
    kin: Kin
    n_train: int

    @property
    def has_val(self) -> bool:
        return len(self.y) > self.n_train


def join_pool(
    data: Mapping[str, tuple[Samples, Labels]],
    more: tuple[Samples, Labels] | None,
    kin: Mapping[str, Kin] | None,
) -> Pool:
    """One after the other what a head learns from and what chooses; see `train_head`."""
    X, y = data["train"]
    X_val, y_val = data.get("val", (None, y[:0]))
    if kin is None:
        n, every = len(y), know_nothing(len(y) + len(y_val))
        kin = {"train": every.take(np.arange(n)), "val": every.take(np.arange(n, len(every.view)))}
    rows, labels, kins = [X], [y], [kin["train"]]
    if more is not None:
        seen = kin["train"].take(more[1])
        rows, labels = [X, more[0]], [y, y[more[1]]]
        kins.append(replace(seen, view=np.ones(len(more[1]), bool)))
    n_train = sum(len(one) for one in labels)
    if X_val is not None:
        rows, labels, kins = [*rows, X_val], [*labels, y_val], [*kins, kin["val"]]
    joined = X if len(rows) == 1 else join_rows(rows)
    return Pool(joined, np.concatenate(labels), join_kin(kins), n_train)


def _train_by_grid(
    data: Mapping[str, tuple[Samples, Labels]],
    pool: Pool,
    recipe: Mapping[str, Any],
    task: Task,
) -> _Found:
    """Let a trial choose, then fit train, or train and val; with the log-loss that chose."""
    trial = _plan_trial(pool, recipe)
    n = len(pool.y) if recipe["refit"] else pool.n_train
    X = pool.X if n == len(pool.y) else pool.X[:n]
    scaler = fit_scaler(recipe["scale"], X, recipe["level"])
    task = replace(task, X=scaler.apply(X), y=pool.y[:n], trial=trial)
    learned = train_quietly(find_kind(recipe["clf"]), task)
    found, choice = learned.search, learned.search.choice
    assert choice is not None
    if recipe["refit"] and pool.has_val and found.chosen_by != "given":
        found = replace(found, chosen_by=f"{found.chosen_by}, then refitted")
    learned = replace(learned, search=replace(found, choice=replace(choice, held=None)))
    if not pool.has_val or choice.held is None or trial is None:
        return choice.loss, Trained(learned, scaler)
    if trial.of == "val" and not recipe["refit"]:
        return choice.loss, Trained(learned, scaler)
    held = softmax(choice.held[pool.n_train :] / choice.temperature, axis=1)
    val_is = "held out, before refitting" if trial.of == "val" else "out of fold"
    return choice.loss, Trained(learned, scaler, held, val_is)


def _plan_trial(pool: Pool, recipe: Mapping[str, Any]) -> Trial | None:
    """What chooses; None where nothing can, or need."""
    tells = pool.has_val and (recipe["refit"] or recipe["choose_on"] == "folds")
    tempered = not find_kind(recipe["clf"]).logits or recipe["calibrate"]
    if len(read_grid(recipe)) == 1 and not (tells or tempered or "scales" in recipe):
        return None
    name = "val"
    if recipe["choose_on"] == "folds" or not pool.has_val:
        of = "train and val" if pool.has_val else "train"
        folds = plan_folds(pool.y, pool.kin, recipe["seed"])
        if folds:
            return Trial(
                pool.X, pool.y, folds, say_folds(folds, of, pool.kin), of, recipe["scale"],
                independent=pool.kin.independent, level=recipe["level"],
            )  # fmt: skip
        why = "a class has one image" if pool.kin.group is None else "all images are one group"
        name = f"val, since {why}, which leaves no folds"
    if not pool.has_val:
        return None
    held = hold_val(pool.n_train, len(pool.y) - pool.n_train)
    return Trial(pool.X, pool.y, held, name, "val", recipe["scale"], level=recipe["level"])


def _train_by_epochs(
    data: Mapping[str, tuple[Samples, Labels]],
    pool: Pool,
    recipe: Mapping[str, Any],
    task: Task,
) -> _Found:
    """Train on train, while val and the others are looked at; with val's log-loss."""
    X, y = pool.X[: pool.n_train] if pool.has_val else pool.X, pool.y[: pool.n_train]
    scaler = fit_scaler(recipe["scale"], X, recipe["level"])
    scaled = {split: (scaler.apply(X_), y_) for split, (X_, y_) in data.items() if split != "train"}
    val = scaled.pop("val", None)
    calibrate = task.calibrate and val is not None
    task = replace(task, X=scaler.apply(X), y=y, val=val, calibrate=calibrate, others=scaled)
    if val is None and (folds := plan_folds(pool.y, pool.kin, recipe["seed"])):
        name = say_folds(folds, "train", pool.kin)
        scale, level = recipe["scale"], recipe["level"]
        trial = Trial(pool.X, pool.y, folds, name, "train", scale, level=level)
        task = replace(task, trial=trial)
    learned = train_quietly(find_kind(recipe["clf"]), task)
    loss = None
    if val is not None:
        loss = log_loss(val[1], learned.search.predict_proba(val[0]))
    return loss, Trained(learned, scaler)


def train_quietly(kind: Kind, task: Task) -> Learned:
    """Train one head; what libraries remark is left to what is said of the fit itself.

    Of few images of many classes, constant columns and scales far apart they speak in their own
    words, once for each value of the grid; that a fit did not converge stands in its search.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.train(task)
