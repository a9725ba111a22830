"""What decides a head: its recipe, and training by it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
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
from featx.features.outputs import count_columns, find_columns, plan_layers
from featx.features.selection import hash_groups, take_kin
from featx.heads.kind import HeadOptions, Kind, Learned, find_kind, read_grid
from featx.heads.memory import plan_reading
from featx.heads.search import Search, Task
from featx.storage.blocks import Samples
from featx.training.choice import Choice
from featx.training.metrics import log_loss
from featx.training.scaling import Scaler, fit_scaler
from featx.training.trials import (
    Kin,
    Pool,
    Trial,
    find_few,
    hold_val,
    join_kin,
    join_pool,
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
    more, kin
        See `join_pool`.
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
    if not (sets := recipe.get("layers", ())):
        best = _judge_scalings(pool, recipe, task, LAST_LAYER)
        return best.trained or _fit(best, pool, task)
    losses: list[float | None] = []

    def judge_each() -> Iterator[_Candidate]:
        for one in sets:
            columns = find_columns(one, sets)
            some = pool.take_columns(columns)
            found = _judge_scalings(some, recipe, task, one["layers"], columns)
            losses.append(found.loss)
            yield found

    best = reduce(_prefer, judge_each())  # each is let go of once another is better
    trained = best.trained or _fit(best, pool.take_columns(best.columns), task)
    tried = tuple(
        {"layers": one["layers"], "columns": count_columns(one), "log_loss": loss}
        for one, loss in zip(sets, losses, strict=True)
    )
    scaler = replace(trained.scaler, columns=best.columns)
    return replace(trained, scaler=scaler, layers=best.layers, tried=tried)


@dataclass(frozen=True)
class _Candidate:
    """Some columns, scaled in some way: as what chooses judges them.

    Attributes
    ----------
    recipe : mapping
        With the "scale" that it is, and whether columns are to "level".
    layers : str
    columns : ndarray of int64, or None
    loss : float or None
        By which it was judged; None where nothing could.
    choice : Choice or None
    judged : str
        Which images were judged, as a trial's `of`.
    trained : Trained or None
        What was judged itself, where that is kept.
    """

    recipe: Mapping[str, Any]
    layers: str
    columns: Labels | None
    loss: float | None = None
    choice: Choice | None = None
    judged: str = ""
    trained: Trained | None = None


def _judge_scalings(
    pool: Pool,
    recipe: Mapping[str, Any],
    task: Task,
    layers: str,
    columns: Labels | None = None,
) -> _Candidate:
    """The best of each scaling that is to be tried of a pool's columns."""
    its = {**recipe, "level": layers != LAST_LAYER}
    return reduce(
        _prefer,
        (
            _judge(_Candidate({**its, "scale": scale}, layers, columns), pool, task)
            for scale in recipe.get("scales", [recipe["scale"]])
        ),
    )


def _prefer(best: _Candidate, other: _Candidate) -> _Candidate:
    """That of the lower log-loss; of equals, and where nothing chose, the first."""
    if best.loss is None or other.loss is None:
        return best
    return other if other.loss < best.loss - SAME_LOSS else best


def _judge(candidate: _Candidate, pool: Pool, task: Task) -> _Candidate:
    """Let a trial choose for these columns; epochs that val looks at are trained for good."""
    kind = find_kind(candidate.recipe["clf"])
    loss: float | None = None
    if kind.choose is None or (kind.grid is None and pool.has_val):
        trained = _train_by_epochs(candidate, pool, task)
        if pool.val is not None:
            X_val, y_val = pool.val
            loss = log_loss(y_val, trained.search.predict_proba(trained.scaler.apply(X_val)))
        return replace(candidate, loss=loss, trained=trained)
    trial = _plan_trial(pool, candidate.recipe)
    with _quietly():
        choice = kind.choose(replace(task, X=pool.X, trial=trial))
    loss = None if choice is None else choice.loss
    return replace(candidate, loss=loss, choice=choice, judged=trial.of)


def _plan_trial(pool: Pool, recipe: Mapping[str, Any]) -> Trial:
    """What chooses; it has no folds where nothing can, or need."""
    scaled = {"scale": recipe["scale"], "level": recipe["level"]}
    nothing = Trial(pool.X, pool.y, (), "nothing", "nothing", **scaled)
    on_folds = recipe.get("choose_on") == "folds"
    tells = pool.has_val and (recipe["refit"] or on_folds)
    tempered = not find_kind(recipe["clf"]).logits or recipe["calibrate"]
    if _is_settled(recipe) and not (tells or tempered):
        return nothing
    name = "val"
    if on_folds or not pool.has_val:
        of = "train and val" if pool.has_val else "train"
        folds = plan_folds(pool.y, pool.kin, recipe["seed"])
        if folds:
            name, alone = say_folds(folds, of, pool.kin), pool.kin.independent
            return Trial(pool.X, pool.y, folds, name, of, independent=alone, **scaled)
        why = "a class has one image" if pool.kin.group is None else "all images are one group"
        name = f"val, since {why}, which leaves no folds"
    if not pool.has_val:
        return nothing
    held = hold_val(pool.n_train, len(pool.y) - pool.n_train)
    return Trial(pool.X, pool.y, held, name, "val", **scaled)


def _is_settled(recipe: Mapping[str, Any]) -> bool:
    """Whether it leaves one value, one scaling and one set of layers: nothing to choose from."""
    values = read_grid(recipe) or recipe["learning_rate"]
    single = isinstance(values, (int, float)) or len(values) == 1
    return single and "scales" not in recipe and len(recipe.get("layers", ())) < 2


def _fit(candidate: _Candidate, pool: Pool, task: Task) -> Trained:
    """Fit what was chosen: on train, or where the recipe says so on train and val."""
    recipe, choice = candidate.recipe, candidate.choice
    kind = find_kind(recipe["clf"])
    if kind.grid is None:
        return _train_by_epochs(candidate, pool, task)
    assert choice is not None
    n = len(pool.y) if recipe["refit"] else pool.n_train
    X = pool.X if n == len(pool.y) else pool.X[:n]
    scaler = fit_scaler(recipe["scale"], X, recipe["level"])
    learned = train_quietly(kind, replace(task, X=scaler.apply(X), y=pool.y[:n], choice=choice))
    found = replace(learned.search, choice=replace(choice, held=None))
    if recipe["refit"] and pool.has_val and found.chosen_by != "given":
        found = replace(found, chosen_by=f"{found.chosen_by}, then refitted")
    learned = replace(learned, search=found)
    on_val = candidate.judged == "val"
    if not pool.has_val or choice.held is None or (on_val and not recipe["refit"]):
        return Trained(learned, scaler)
    held = softmax(choice.held[pool.n_train :] / choice.temperature, axis=1)
    return Trained(learned, scaler, held, "held out, before refitting" if on_val else "out of fold")


def _train_by_epochs(candidate: _Candidate, pool: Pool, task: Task) -> Trained:
    """Train on train, while val, which chooses the epoch, and the others are looked at."""
    recipe = candidate.recipe
    X = pool.X[: pool.n_train] if pool.has_val else pool.X
    scaler = fit_scaler(recipe["scale"], X, recipe["level"])
    val = None if pool.val is None else (scaler.apply(pool.val[0]), pool.val[1])
    task = replace(
        task,
        X=scaler.apply(X),
        y=pool.y[: pool.n_train],
        val=val,
        others={split: (scaler.apply(rows), y) for split, (rows, y) in pool.others.items()},
        choice=candidate.choice,
        calibrate=task.calibrate and val is not None,
    )
    return Trained(train_quietly(find_kind(recipe["clf"]), task), scaler)


def train_quietly(kind: Kind, task: Task) -> Learned:
    """Train one head; what libraries remark is left to what is said of the fit itself."""
    with _quietly():
        return kind.train(task)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to itself what libraries remark.

    Of few images of many classes, constant columns and scales far apart they speak in their own
    words, once for each value of the grid; that a fit did not converge stands in its search.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
