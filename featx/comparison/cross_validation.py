"""Repeated cross-validation of heads: each is chosen and trained anew without the fold it meets."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from featx.arrays import Labels
from featx.comparison.curves import needs_blocks
from featx.comparison.fold_scores import CrossValidation, FoldScore, FoldScores, FoldStore
from featx.config import SPLITS
from featx.errors import ModelError
from featx.features.content import Features
from featx.features.outputs import take_rows
from featx.heads.head import Head
from featx.heads.kind import find_kind
from featx.heads.memory import plan_reading
from featx.heads.recipe import Trained, train_head
from featx.machine import count_cores
from featx.storage.blocks import Blocks, Samples
from featx.timing import Meter
from featx.training.metrics import log_loss
from featx.training.model import Model
from featx.training.resampling import (
    Fold,
    Resampling,
    draw_folds,
    find_unfoldable,
    hold_part,
    parse_resampling,
)
from featx.training.trials import know_nothing

_NO_VIEWS = "only train images have views: cross-validate without --views"
_PATIENCE = 4.0  # seconds of fitting, before other processes are worth their start


@dataclass(frozen=True)
class DealtRows:
    """The rows that are dealt into folds.

    Attributes
    ----------
    here : ndarray of shape (n_samples,), int64
        Where they are among all rows.
    y : ndarray of shape (n_samples,), int64
    groups : ndarray of shape (n_samples,), int64
        Rows of one group are in one fold.
    """

    here: Labels
    y: Labels
    groups: Labels


def gather_rows(features: Features, spec: Resampling) -> DealtRows:
    """All labelled rows of a split, whichever; what is in none was left out on purpose.

    Raises
    ------
    ModelError
        A class has fewer of them than there are folds.
    """
    here = np.flatnonzero(np.isin(features.splits, SPLITS) & (features.targets >= 0))
    groups = features.clusters
    if groups is None:  # copies stay together
        groups = np.unique(features.hashes, return_inverse=True)[1].astype(np.int64)
    rows = DealtRows(here, features.targets[here], groups[here])
    if reason := find_unfoldable(features.classes, rows.y, rows.groups, spec):
        raise ModelError(reason)
    return rows


def check_foldable(features: Features, cv: str, views: int = 0) -> None:
    """Raise ModelError where `cross_validate` would, before anything is trained."""
    gather_rows(features, parse_resampling(cv))
    if views:
        raise ModelError(_NO_VIEWS)


@dataclass(frozen=True)
class FoldTask:
    """What is learned from and scored on each fold.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
    y, groups : ndarray of shape (n_samples,), int64
        See `DealtRows`.
    classes : tuple of str
    """

    X: Samples
    y: Labels
    groups: Labels
    classes: tuple[str, ...]

    def score(self, recipe: Mapping[str, Any], prior: Any, fold: Fold) -> FoldScore:
        """Choose and train on the rows inside, as a recipe says; score those outside."""
        inside, outside = fold
        began = time.perf_counter()
        with threadpool_limits(1):  # by one thread everywhere: equal bits whoever computes it
            rows, kin = self._split(recipe, inside), None
            if "val" not in rows:
                kin = {"train": replace(know_nothing(len(inside)), group=self.groups[inside])}
            trained = train_head(rows, recipe, prior, kin=kin)
            seconds = time.perf_counter() - began
            found = trained.search
            head = Head(recipe["clf"], self.classes, trained.scaler, found.fit, found.temperature)
            probabilities = head.predict_proba(self.X[outside])
        truth = self.y[outside]
        return FoldScore(
            accuracy=float((probabilities.argmax(axis=1) == truth).mean()),
            log_loss=log_loss(truth, probabilities),
            chosen=_read_choice(recipe["clf"], trained),
            seconds=seconds,
        )

    def _split(
        self, recipe: Mapping[str, Any], inside: Labels
    ) -> dict[str, tuple[Samples, Labels]]:
        """What a head learns from; of what is trained in epochs a part is val, which chooses."""
        part = None
        if "epochs" in recipe:
            part = hold_part(self.y[inside], self.groups[inside], recipe["seed"])
        if part is None:
            return {"train": (self.X[inside], self.y[inside])}
        train, val = (inside[rows] for rows in part)
        return {"train": (self.X[train], self.y[train]), "val": (self.X[val], self.y[val])}


def cross_validate(
    features: Features,
    models: Sequence[Model],
    cv: str = "5x5",
    *,
    seed: int = 0,
    weights: str | None = None,
    max_memory: int | None = None,
    kept: str | Path | None = None,
    progress: bool = False,
) -> CrossValidation:
    """Train heads anew on all images but a fold of them, and score that fold, for every fold.

    What a head chooses, such as C, is chosen anew each time by folds of the images that it learns
    from: nothing of a held-out fold decides anything. All heads meet the same folds; images of the
    same bytes, and of the same group, are in one fold.

    Parameters
    ----------
    features : Features
        Of all its labelled images that are in a split, whichever.
    models : sequence of Model
        Heads of `featx.fit`, without views: how they were trained is what is done again.
    cv : str
        REPEATSxFOLDS.
    seed : int
        Of the folds.
    weights, max_memory
        See `featx.fit`.
    kept : path, optional
        A JSON file. What it has of the same heads on the same folds is not computed again, and
        what is computed is put there.
    progress : bool

    Returns
    -------
    CrossValidation

    Raises
    ------
    ModelError
        `cv` cannot be read, a class has fewer images than there are folds, or a model is no head.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> features = featx.load_features("F.h5")
    >>> models = [featx.fit(features, clf) for clf in ("centroid", "ridge")]
    >>> found = featx.cross_validate(features, models, "2x4")
    >>> [one.name for one in found.candidates], len(found.candidates[0].folds)
    (['centroid', 'ridge'], 8)
    """
    spec = parse_resampling(cv)
    rows = gather_rows(features, spec)
    if networks := [model.name for model in models if model.kind != "head"]:
        raise ModelError(f"{networks[0]} is a fine-tuned network: only heads learn from features")
    store = FoldStore(None if kept is None else Path(kept), [str(spec), seed, rows.groups.tolist()])
    recipes = {model.title: _adapt(model.recipe) for model in models}
    missing = [recipe for recipe in recipes.values() if store.find(recipe) is None]
    missing.sort(key=_read_layers)
    if missing:
        blocked = any(needs_blocks(features, model, max_memory) for model in models)
        folds = list(draw_folds(rows.y, rows.groups, spec, seed))
        workers = 1 if blocked else _count_workers(features, models, max_memory)
        for _, alike in itertools.groupby(missing, _read_layers):
            some = list(alike)
            every = take_rows(features, some[0].get("layers", ()))
            X = Blocks((every,), rows.here) if blocked else every[rows.here]
            task = FoldTask(X, rows.y, rows.groups, features.classes)
            jobs = []
            for recipe in some:
                read_prior = find_kind(recipe["clf"]).prior
                prior = None if read_prior is None else read_prior(features, weights)
                jobs += [(recipe, prior, fold) for fold in folds]
            scores = run_jobs(task, jobs, workers, progress)
            for recipe in some:
                store.keep(recipe, tuple(itertools.islice(scores, spec.runs)))
    found = tuple(
        FoldScores(name, "frozen", store.find(recipe) or ()) for name, recipe in recipes.items()
    )
    return CrossValidation(spec, len(rows.y), len(np.unique(rows.groups)), found)


def run_jobs(
    task: FoldTask, jobs: Sequence[tuple[Any, ...]], workers: int, progress: bool = False
) -> Iterator[FoldScore]:
    """Scores of jobs, in their order; where there are many, by several processes.

    A process takes seconds to start and to import what it needs: the first jobs are done here, and
    the rest only then elsewhere, if they are not done by that time. Threads would do as well, did
    not `warnings` belong to all of them together.
    """
    left, began = deque(jobs), time.perf_counter()
    with Meter("cross-validation", len(jobs), progress, unit="fit") as meter:
        while left and (workers == 1 or time.perf_counter() - began < _PATIENCE):
            yield task.score(*left.popleft())
            meter.update(1)
        if not left:
            return
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            for score in joblib.Parallel(workers, return_as="generator")(
                joblib.delayed(task.score)(*job) for job in left
            ):
                yield score
                meter.update(1)


def _read_choice(clf: str, trained: Trained) -> float | None:
    """The value of a head's grid, or its learning rate."""
    if find_kind(clf).grid is not None:
        return trained.search.value
    value: float | None = trained.learned.details.get("chosen", {}).get("value")
    return value


def _read_layers(recipe: Mapping[str, Any]) -> list[str]:
    """The sets of layers that a head chooses from; [] where it has the last one alone."""
    return [one["layers"] for one in recipe.get("layers", ())]


def _adapt(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe for folds, where there is no val to refit on."""
    if recipe["views"]:
        raise ModelError(_NO_VIEWS)
    return {**recipe, "refit": False}


def _count_workers(features: Features, models: Sequence[Model], max_memory: int | None) -> int:
    """As many processes as there are cores, and as memory holds at a time."""
    readings = [plan_reading(features, model.recipe, (), max_memory) for model in models]
    fitting = min(reading.allowed // max(1, reading.needed) for reading in readings)
    return max(1, min(count_cores(), fitting))
