"""One classifier a label, by the heads that there are: chosen out of fold, then fitted on all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.metrics import average_precision_score

from featx.arrays import Matrix
from featx.config import FOLDS
from featx.heads.kind import Kind, find_kind, read_grid
from featx.heads.search import LinearFit, Task, span_rows
from featx.multilabel.folds import (
    LabelTrial,
    PreparedFold,
    count_units,
    plan_label_folds,
    prepare_folds,
)
from featx.multilabel.head import EVEN, LabelFit
from featx.multilabel.metrics import Sets, choose_threshold
from featx.training.scaling import Scaler, fit_scaler
from featx.training.trials import Kin


@dataclass(frozen=True)
class LabelsLearned:
    """What was learned of all labels.

    Attributes
    ----------
    scaler : Scaler
    fits : tuple of LabelFit
    held : ndarray of shape (n_samples, n_labels), float64
        Probabilities of all rows by fits that did not see them; of labels that no fold judged, by
        the fit itself.
    n_folds : int
    few : tuple of int
        Labels that too few images have, or lack, for every fold to have one.
    unjudged : tuple of int
        Labels of one image, or group, or where there are no folds: nothing chose for them.
    map_held : float or None
        mAP of `held`, of labels that folds judged, by which heads are ranked: test chooses nothing.
    """

    scaler: Scaler
    fits: tuple[LabelFit, ...]
    held: Matrix
    n_folds: int
    few: tuple[int, ...]
    unjudged: tuple[int, ...]
    map_held: float | None


def learn_labels(X: Matrix, sets: Sets, kin: Kin, recipe: Mapping[str, Any]) -> LabelsLearned:
    """Learn each label from all rows, with what folds of them choose.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32
        Not scaled.
    sets : ndarray of shape (n_samples, n_labels), bool
        Each label is there at least once, and lacks at least once.
    kin : Kin
    recipe : mapping
        Of `make_labels_recipe`.
    """
    kind = find_kind(recipe["clf"])
    folds = plan_label_folds(sets, kin, recipe["seed"])
    prepared = prepare_folds(X, folds, recipe["scale"], turn=kind.grid is not None)
    scaler = fit_scaler(recipe["scale"], X)
    units = [min(count_units(y, kin), count_units(~y, kin)) for y in sets.T]
    # With one image, or one group, that has a label, no fold that learns it can be asked for it.
    foldable = np.array([n > 1 and len(prepared) > 1 for n in units])
    scaled = np.asarray(scaler.apply(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fit did not converge is said of the model
        if kind.grid is None:
            from featx.multilabel.linear import learn_by_epochs

            fits, held = learn_by_epochs(scaled, sets, prepared, recipe)
        else:
            fits, held = _learn_each(kind, scaled, sets, foldable, prepared, recipe)
    fits = [
        replace(one, threshold=choose_threshold(y, p)) if there else one
        for one, y, p, there in zip(fits, sets.T, held.T, foldable, strict=True)
    ]
    few = tuple(k for k, n in enumerate(units) if n < FOLDS)
    judged = [
        average_precision_score(y, p)
        for y, p in zip(sets.T[foldable], held.T[foldable], strict=True)
    ]
    ranked_by = float(np.mean(judged)) if judged else None
    unjudged = tuple(np.flatnonzero(~foldable).tolist())
    return LabelsLearned(scaler, tuple(fits), held, len(prepared), few, unjudged, ranked_by)


def _learn_each(
    kind: Kind,
    scaled: Matrix,
    sets: Sets,
    foldable: npt.NDArray[np.bool_],
    prepared: Sequence[PreparedFold],
    recipe: Mapping[str, Any],
) -> tuple[list[LabelFit], Matrix]:
    """One label after the other, on rows that are in their span already."""
    assert kind.choose is not None
    span = span_rows(scaled)
    X = np.asarray(span.project(scaled))
    held = np.empty(sets.shape)
    fits = []
    for k, has in enumerate(sets.T):
        y = has.astype(np.int64)
        own = tuple(prepared) if foldable[k] else ()
        task = Task(
            X=X,
            y=y,
            grid=read_grid(recipe),
            seed=recipe["seed"],
            class_weight=None if recipe["class_weight"] == "none" else recipe["class_weight"],
            calibrate=recipe["calibrate"] and bool(own),
            settings=recipe,
            trial=LabelTrial(X, y, (), "folds of all labels", "train and val", prepared=own),
        )
        choice = kind.choose(task)
        assert choice is not None
        found = kind.train(replace(task, choice=choice)).search.fit
        assert isinstance(found, LinearFit)
        # Two rows of coefficients, whose softmax is the sigmoid of their difference.
        whole = span.restore(found)
        coef, intercept = whole.coef[1] - whole.coef[0], whole.intercept[1] - whole.intercept[0]
        scores = scaled.astype(np.float64) @ coef + intercept
        if choice.held is not None:
            parts = [part.rows for part in task.trial.cut()] if task.trial is not None else []
            judged = np.concatenate(parts)
            scores[judged] = choice.held[judged, 1] - choice.held[judged, 0]
        held[:, k] = expit(scores / choice.temperature)
        fits.append(
            LabelFit(
                coef.astype(np.float64), float(intercept), choice.temperature, EVEN, choice.value,
                choice.by, found.converged,
            )
        )  # fmt: skip
    return fits, held
