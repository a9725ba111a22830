"""Choosing a score of strangers by classes that are left out, and calibrating it out of fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from featx.arrays import Labels, Matrix
from featx.config import CONFIDENCE, SAME_AUROC, STRANGER_CLASSES, STRANGER_FOLDS
from featx.errors import ModelError
from featx.novelty.detector import Detector
from featx.novelty.scores import SCORES, Known, Numbers, Score
from featx.novelty.sets import Calibration
from featx.training.trials import Folds, Kin, plan_folds


class Head(Protocol):
    """What is asked of a head here."""

    @property
    def layer(self) -> tuple[Matrix, Matrix] | None:
        """Coefficients and intercepts of its logits, where it is linear."""

    def decide(self, X: Matrix) -> tuple[Matrix, Numbers]:
        """Rows as it has them, scaled, and their logits."""


_NO_FOLDS = "strangers and sets are calibrated out of fold, and there are no folds"

Refit = Callable[[Matrix, Labels], Head]  # by rows, not scaled, and codes 0 to n - 1


@dataclass(frozen=True)
class Novelty:
    """What a model knows of what it does not know.

    Attributes
    ----------
    detector : Detector
    sets : Calibration
    details : mapping
        JSON values: "score", "images" it is calibrated on, "classes" that were left out, "auroc",
        the mean of each candidate, "auroc_ci95" of the chosen one, and what chose, "by".
    """

    detector: Detector
    sets: Calibration
    details: Mapping[str, Any]

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {**self.detector.to_arrays(), **self.sets.to_arrays()}


def learn_novelty(
    X: Matrix, y: Labels, kin: Kin, head: Head, refit: Refit, seed: int = 0
) -> Novelty:
    """Choose a score and calibrate it; test has no part in it.

    For each class, or for `STRANGER_CLASSES` that a seed draws, one fit learns without the class
    and without a fold of the others: the area under the ROC curve is that of the class's rows
    against the fold's, none of which the fit saw. The score with the highest mean area is taken.
    Then one fit for each of `STRANGER_FOLDS` folds scores the fold's rows, which are what p-values
    and sets go by.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows that the head learned from, not scaled.
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    kin : Kin
    head : Head
    refit : callable
        The same head, its settings chosen, on some of the rows.
    seed : int
        Of the folds and of what is drawn.

    Raises
    ------
    ModelError
        There are no folds: a class has one image, all are one group, or each class is one.
    """
    pool = _Pool(X, y, kin, refit, seed, plan_folds(y, kin, seed))
    if not pool.folds:
        raise ModelError(
            f"{_NO_FOLDS}, since a class has one image or all images are one group: add images, or "
            "leave the class out"
        )
    areas = _leave_classes_out(pool)
    name, by = _choose(areas)
    score = _fit(name, head, X, pool)
    assert score is not None
    held, said, errors, labels = _score_folds(pool, name)
    chosen = areas.get(name, [])
    return Novelty(
        Detector.from_held(name, score, held, said),
        Calibration(errors, labels),
        {
            "score": name,
            "by": by,
            "images": len(held),
            "classes": len(chosen),
            "auroc": {one: float(np.mean(found)) for one, found in areas.items()},
            "auroc_ci95": _find_interval(chosen),
        },
    )


@dataclass(frozen=True)
class _Pool:
    """Rows, who is related, and how a head is fitted on some of them."""

    X: Matrix
    y: Labels
    kin: Kin
    refit: Refit
    seed: int
    folds: Folds


def _fit(name: str, head: Head, X: Matrix, pool: _Pool) -> Score | None:
    scaled, logits = head.decide(X)
    return SCORES[name].fit(Known(scaled, logits, head.layer, pool.seed, len(pool.y)))


def _leave_classes_out(pool: _Pool) -> dict[str, list[float]]:
    """Areas by score, one for each class; only of scores that every fit could have."""
    n_classes = int(pool.y.max()) + 1
    left_out = np.arange(n_classes)
    if n_classes > STRANGER_CLASSES:
        rng = np.random.default_rng(pool.seed)
        left_out = np.sort(rng.choice(n_classes, STRANGER_CLASSES, replace=False))
    areas: dict[str, list[float]] = {name: [] for name in SCORES}
    tried = 0
    for i, stranger in enumerate(left_out):
        inside, outside = pool.folds[i % len(pool.folds)]
        inside, known = (rows[pool.y[rows] != stranger] for rows in (inside, outside))
        strange = np.flatnonzero((pool.y == stranger) & ~pool.kin.view)
        classes, codes = np.unique(pool.y[inside], return_inverse=True)
        known = known[np.isin(pool.y[known], classes)]
        if len(classes) < 2 or not len(known):
            continue
        tried += 1
        head = pool.refit(pool.X[inside], codes.astype(np.int64))
        scaled, logits = head.decide(pool.X[np.concatenate([known, strange])])
        truth = np.repeat([0, 1], [len(known), len(strange)])
        for name in SCORES:
            score = _fit(name, head, pool.X[inside], pool)
            if score is not None:
                areas[name].append(float(roc_auc_score(truth, score.measure(scaled, logits))))
    return {name: found for name, found in areas.items() if tried and len(found) == tried}


def _choose(areas: Mapping[str, list[float]]) -> tuple[str, str]:
    """The score of the highest mean area, of equals the simpler, and what chose it."""
    if not areas:
        return next(iter(SCORES)), "default: of two classes none can be left out"
    means = {name: float(np.mean(found)) for name, found in areas.items()}
    best = max(means.values())
    return next(
        n for n in SCORES if n in means and means[n] >= best - SAME_AUROC
    ), "classes left out"


def _score_folds(pool: _Pool, name: str) -> tuple[Numbers, Labels, Numbers, Labels]:
    """Out-of-fold rows: how strange, what each is taken for, 1 - its class's probability, class."""
    found: list[tuple[Numbers, Labels, Numbers, Labels]] = []
    for inside, outside in plan_folds(pool.y, pool.kin, pool.seed, STRANGER_FOLDS):
        classes, codes = np.unique(pool.y[inside], return_inverse=True)
        outside = outside[np.isin(pool.y[outside], classes)]  # to the others it is no stranger
        if len(classes) < 2 or not len(outside):
            continue
        head = pool.refit(pool.X[inside], codes.astype(np.int64))
        score = _fit(name, head, pool.X[inside], pool)
        assert score is not None
        scaled, logits = head.decide(pool.X[outside])
        y = pool.y[outside]
        own = softmax(logits, axis=1)[np.arange(len(y)), np.searchsorted(classes, y)]
        said = classes[logits.argmax(axis=1)]
        found.append((score.measure(scaled, logits), said, 1 - own, y))
    if not found:
        raise ModelError(
            f"{_NO_FOLDS} with images of a class on both sides, since each class is one group: "
            "group by what divides a class, such as the animal or the day"
        )
    held, taken, errors, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return held, taken, errors, labels


def _find_interval(areas: list[float]) -> list[float] | None:
    """Student's interval of a mean over classes, within [0, 1]; None of fewer than two."""
    n = len(areas)
    if n < 2:
        return None
    mean, error = float(np.mean(areas)), float(np.std(areas, ddof=1)) / n**0.5
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return [max(0.0, mean - half), min(1.0, mean + half)]
