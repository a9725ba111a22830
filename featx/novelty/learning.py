"""Choosing a score of strangers by classes that are left out, and calibrating it out of fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from featx.arrays import Labels, Matrix
from featx.config import CONFIDENCE, SAME_AUROC, STRANGER_CLASSES, STRANGER_FOLDS
from featx.errors import ModelError
from featx.novelty.detector import DRIFT, Detector
from featx.novelty.ranks import Evidence
from featx.novelty.scores import CENTRE, KEPT_SCORES, SCORES, Known, Numbers
from featx.novelty.sets import Calibration
from featx.novelty.taxonomy import Taxonomy
from featx.training.trials import Folds, Kin, plan_folds


class Head(Protocol):
    """What is asked of a head here."""

    @property
    def layer(self) -> tuple[Matrix, Matrix] | None:
        """Coefficients and intercepts of its logits, where it is linear."""

    def decide(self, X: Matrix) -> tuple[Matrix, Numbers]:
        """Rows as it has them, scaled, and their logits."""


_NO_FOLDS = "strangers, sets and ranks are calibrated out of fold, and there are no folds"

Refit = Callable[[Matrix, Labels], Head]  # by rows, not scaled, and codes 0 to n - 1


@dataclass(frozen=True)
class Novelty:
    """What a model knows of what it does not know.

    Attributes
    ----------
    detector : Detector
    centre : Detector
        By the distance to centres, of the same held rows; for drift.
    sets : Calibration
    details : mapping
        JSON values: "score", "images" it is calibrated on, "classes" that were left out, "auroc",
        the mean of each candidate, "auroc_ci95" of the chosen one with "auroc_ci95_method", and
        what chose, "by".
    """

    detector: Detector
    centre: Detector
    sets: Calibration
    details: Mapping[str, Any]

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {
            **self.detector.to_arrays(),
            **self.centre.to_arrays(DRIFT),
            **self.sets.to_arrays(),
        }


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
    pool = _gather(X, y, kin, refit, seed)
    known = pool.show(head, X)
    choice = _choose_score(pool, known)
    held = _score_folds(pool, [choice.name, CENTRE])
    detector, centre = (
        Detector.from_held(one, KEPT_SCORES[one].fit(known), scores, held.said)
        for one, scores in zip((choice.name, CENTRE), held.scores, strict=True)
    )
    labels = y[held.rows]
    return Novelty(detector, centre, Calibration(held.errors, labels), choice.describe(len(labels)))


@dataclass(frozen=True)
class Strangeness:
    """How strange rows are to a head that saw neither them nor their relatives.

    Attributes
    ----------
    rows : ndarray of shape (n_held,), int64
        Those that could be held out.
    scores : ndarray of shape (n_held,), float64
        The larger the stranger.
    left_out : ndarray of shape (n_left_out,), float64
        The same of images of classes that were left out, by heads that did not know these.
    details : mapping
        See `Novelty`.
    """

    rows: Labels
    scores: Numbers
    left_out: Numbers
    details: Mapping[str, Any]


def measure_strangeness(
    X: Matrix, y: Labels, kin: Kin, head: Head, refit: Refit, seed: int = 0
) -> Strangeness:
    """Choose a score as `learn_novelty` does, with the same parameters, and score rows by it.

    Raises
    ------
    ModelError
        There are no folds (see `learn_novelty`), or no class can be left out.
    """
    pool = _gather(X, y, kin, refit, seed)
    choice = _choose_score(pool, pool.show(head, X))
    if not len(choice.left_out):
        raise ModelError("no class can be left out, since there are two or each is one group")
    held = _score_folds(pool, [choice.name])
    details = choice.describe(len(held.rows))
    return Strangeness(held.rows, held.scores[0], choice.left_out, details)


def learn_evidence(
    X: Matrix, y: Labels, kin: Kin, refit: Refit, taxonomy: Taxonomy, seed: int = 0
) -> Evidence:
    """What says at which rank of a taxonomy a head answers; test has no part in it.

    One fit for each of `STRANGER_FOLDS` folds says how probable the names of the fold's rows are.

    Parameters
    ----------
    X, y, kin, refit, seed
        See `learn_novelty`.
    taxonomy : Taxonomy
        Of the classes, in the order of their codes.

    Raises
    ------
    ModelError
        There are no folds; see `learn_novelty`.
    """
    pool = _gather(X, y, kin, refit, seed)
    found = []
    for fold in pool.judge_folds():
        _, logits = fold.head.decide(X[fold.outside])
        probabilities = np.zeros((len(logits), len(taxonomy.lines)))
        probabilities[:, fold.classes] = softmax(logits, axis=1)
        found.append(Evidence.judge(taxonomy, probabilities, y[fold.outside]))
    return Evidence(
        np.concatenate([one.scores for one in found]), np.concatenate([one.right for one in found])
    )


def _gather(X: Matrix, y: Labels, kin: Kin, refit: Refit, seed: int) -> _Pool:
    folds = plan_folds(y, kin, seed)
    if not folds:
        raise ModelError(
            f"{_NO_FOLDS}, since a class has one image or all images are one group: add images, or "
            "leave the class out"
        )
    return _Pool(X, y, kin, refit, seed, folds)


@dataclass(frozen=True)
class _Fold:
    """A head that saw none of the rows outside, nor their relatives; all of classes it knows."""

    head: Head
    classes: Labels
    inside: Labels
    outside: Labels


@dataclass(frozen=True)
class _Pool:
    """Rows, who is related, and how a head is fitted on some of them."""

    X: Matrix
    y: Labels
    kin: Kin
    refit: Refit
    seed: int
    folds: Folds

    def show(self, head: Head, X: Matrix) -> Known:
        """What a score is fitted from, by a head that learned from X."""
        scaled, logits = head.decide(X)
        return Known(scaled, logits, head.layer, self.seed, len(self.y))

    def judge_folds(self) -> Iterator[_Fold]:
        """The folds that calibrate, a fit for each."""
        n_folds = 0
        for inside, outside in plan_folds(self.y, self.kin, self.seed, STRANGER_FOLDS):
            classes, codes = np.unique(self.y[inside], return_inverse=True)
            outside = outside[np.isin(self.y[outside], classes)]  # to the others it is no stranger
            if len(classes) < 2 or not len(outside):
                continue
            n_folds += 1
            head = self.refit(self.X[inside], codes.astype(np.int64))
            yield _Fold(head, classes, inside, outside)
        if not n_folds:
            raise ModelError(
                f"{_NO_FOLDS} with images of a class on both sides, since each class is one group: "
                "group by what divides a class, such as the animal or the day"
            )


@dataclass(frozen=True)
class _Choice:
    """The score that was chosen, and by which areas."""

    name: str
    by: str
    areas: Mapping[str, list[float]]
    left_out: Numbers

    def describe(self, images: int) -> dict[str, Any]:
        """See `Novelty.details`."""
        chosen = self.areas.get(self.name, [])
        return {
            "score": self.name,
            "by": self.by,
            "images": images,
            "classes": len(chosen),
            "auroc": {one: float(np.mean(found)) for one, found in self.areas.items()},
            "auroc_ci95": _find_interval(chosen),
            "auroc_ci95_method": "student-of-classes",
        }


def _choose_score(pool: _Pool, known: Known) -> _Choice:
    """By classes that are left out."""
    names = [name for name, score in SCORES.items() if score.suits(known)]
    areas, left_out = _leave_classes_out(pool, names)
    name, by = _choose(areas)
    return _Choice(name, by, areas, np.concatenate([[], *left_out[name]]))


def _leave_classes_out(
    pool: _Pool, names: Sequence[str]
) -> tuple[dict[str, list[float]], dict[str, list[Numbers]]]:
    """By score areas, one for each class, and what the images of each had."""
    n_classes = int(pool.y.max()) + 1
    left_out = np.arange(n_classes)
    if n_classes > STRANGER_CLASSES:
        rng = np.random.default_rng(pool.seed)
        left_out = np.sort(rng.choice(n_classes, STRANGER_CLASSES, replace=False))
    areas: dict[str, list[float]] = {name: [] for name in names}
    scores: dict[str, list[Numbers]] = {name: [] for name in names}
    for i, stranger in enumerate(left_out):
        inside, outside = pool.folds[i % len(pool.folds)]
        inside, known = (rows[pool.y[rows] != stranger] for rows in (inside, outside))
        strange = np.flatnonzero((pool.y == stranger) & ~pool.kin.view)
        classes, codes = np.unique(pool.y[inside], return_inverse=True)
        known = known[np.isin(pool.y[known], classes)]
        if len(classes) < 2 or not len(known):
            continue
        head = pool.refit(pool.X[inside], codes.astype(np.int64))
        scaled, logits = head.decide(pool.X[np.concatenate([known, strange])])
        truth = np.repeat([0, 1], [len(known), len(strange)])
        learned = pool.show(head, pool.X[inside])
        for name, found in areas.items():
            strangeness = SCORES[name].fit(learned).measure(scaled, logits)
            found.append(float(roc_auc_score(truth, strangeness)))
            scores[name].append(strangeness[len(known) :])
    return {name: found for name, found in areas.items() if found}, scores


def _choose(areas: Mapping[str, list[float]]) -> tuple[str, str]:
    """The score of the highest mean area, of equals the simpler, and what chose it."""
    if not areas:
        return next(iter(SCORES)), "default: no class could be left out"
    means = {name: float(np.mean(found)) for name, found in areas.items()}
    best = max(means.values())
    return next(
        n for n in SCORES if n in means and means[n] >= best - SAME_AUROC
    ), "classes left out"


class _Held(NamedTuple):
    """Out-of-fold rows: scores of shape (n_scores, n_held), what each is taken for, 1 - its class's
    probability, and which rows they are."""

    scores: Numbers
    said: Labels
    errors: Numbers
    rows: Labels


def _score_folds(pool: _Pool, names: list[str]) -> _Held:
    found: list[_Held] = []
    for fold in pool.judge_folds():
        learned = pool.show(fold.head, pool.X[fold.inside])
        scaled, logits = fold.head.decide(pool.X[fold.outside])
        scores = [KEPT_SCORES[name].fit(learned) for name in names]
        measured = np.stack([score.measure(scaled, logits) for score in scores])
        codes = np.searchsorted(fold.classes, pool.y[fold.outside])
        own = Calibration.judge(softmax(logits, axis=1), codes)
        said = fold.classes[logits.argmax(axis=1)]
        found.append(_Held(measured, said, own.scores, fold.outside))
    return _Held(*(np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)))


def _find_interval(areas: list[float]) -> list[float] | None:
    """Student's interval of a mean over classes, within [0, 1]; None of fewer than two.

    One observation is a class, as it is a class that will be new: its images, and what groups
    these come in, are within it.
    """
    n = len(areas)
    if n < 2:
        return None
    mean, error = float(np.mean(areas)), float(np.std(areas, ddof=1)) / n**0.5
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return [max(0.0, mean - half), min(1.0, mean + half)]
