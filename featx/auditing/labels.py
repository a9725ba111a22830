"""Labels that the rest of the data contradicts: confident learning on out-of-fold probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from featx.arrays import Labels
from featx.config import FOLDS
from featx.heads.logreg import fit_penalties
from featx.heads.search import LinearFit, span_rows
from featx.storage.blocks import Samples, gather
from featx.storage.rows import iterate_slices
from featx.training.metrics import log_loss
from featx.training.scaling import Scaler, fit_scaler

Probabilities = npt.NDArray[np.floating]

# From far simpler than photographs ask for to far more flexible. The log-loss of held-out folds
# chooses, since what follows reads probabilities, not labels.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_UNLIKELY = 0.1  # of a label that is contradicted outright
_JUDGED = 1 << 16  # rows whose counts are made together


@dataclass(frozen=True)
class OutOfFold:
    """What a classifier says of rows it did not learn from.

    Attributes
    ----------
    rows : ndarray of shape (n_judged,), int64
        Those whose class has enough images to be judged.
    probabilities : ndarray of shape (n_judged, n_classes), float32
    C : float
        The penalty that the folds chose.
    loss : float
        Their log-loss with it, in nats.
    """

    rows: Labels
    probabilities: Probabilities
    C: float
    loss: float


@dataclass(frozen=True)
class Suspect:
    """A label that is probably wrong.

    Attributes
    ----------
    row : int
    label, suggested : int
        Codes: the label it has, and the most probable one.
    given, best : float
        Their out-of-fold probabilities.
    """

    row: int
    label: int
    suggested: int
    given: float
    best: float


def predict_out_of_fold(
    X: Samples, y: Labels, groups: Labels, n_classes: int, seed: int = 0, level: bool = False
) -> OutOfFold | None:
    """Probabilities of every row by logistic regression that did not see it, nor a copy of it.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        -1: no label.
    groups : ndarray of shape (n_samples,), int64
        Rows of one number stay in one fold.
    n_classes : int
    seed : int
        Of the folds.
    level : bool
        The columns are of several layers: each fold standardises them; see `Scaler`.

    Returns
    -------
    OutOfFold or None
        None where fewer than two classes have two groups of images.
    """
    kept = np.unique(np.stack([y, groups]), axis=1)[0]
    enough = np.bincount(kept[kept >= 0], minlength=n_classes) >= 2
    rows = np.flatnonzero((y >= 0) & enough[y])
    if enough.sum() < 2:
        return None
    most = int(np.bincount(kept[kept >= 0], minlength=n_classes)[enough].max())
    folds = StratifiedGroupKFold(min(FOLDS, most), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class smaller than the folds is known
        parts = list(folds.split(np.zeros(len(rows)), y[rows], groups[rows]))
    found = np.zeros((len(PENALTIES), len(rows), n_classes), np.float32)
    for inside, outside in parts:
        known, codes = np.unique(y[rows[inside]], return_inverse=True)
        if not len(outside) or len(known) < 2:
            continue
        scaler, fits = fit_rows(X[rows[inside]], codes.astype(np.int64), PENALTIES, level)
        others = scaler.apply(X[rows[outside]])
        for i, fit in enumerate(fits):
            scores = gather(others, fit.decide)
            found[i][outside[:, None], known[None, :]] = softmax(scores, axis=1)
    judged = found[0].sum(axis=1) > 0
    losses = [log_loss(y[rows[judged]], p[judged]) for p in found]
    best = int(np.argmin(losses))
    return OutOfFold(rows[judged], found[best][judged], PENALTIES[best], losses[best])


def fit_rows(
    X: Samples, y: Labels, penalties: Sequence[float], level: bool
) -> tuple[Scaler, list[LinearFit]]:
    """Logistic regression on rows, not scaled, for each penalty, and what scales rows for it."""
    scaler = fit_scaler("none", X, level)
    own = scaler.apply(X)
    span = span_rows(own)
    fits = fit_penalties(span.project(own), y, penalties)
    return scaler, [span.restore(fit) for fit in fits]


def find_suspects(y: Labels, probabilities: Probabilities) -> Labels:
    """Positions of labels that are probably wrong, the worst first.

    Confident learning (Northcutt, Jiang, Chuang 2021): an image is confidently of the class with
    the highest probability among those whose probability is at least the mean of that of the images
    that bear its label. Counts of confident images by label and class, scaled to the labels'
    numbers, say how many labels of each class are really of another. So many are pruned both ways
    that the paper has: "by noise rate" for each pair of classes, those with the largest margin
    between both probabilities, and "by class" over all other classes, those with the lowest
    probability of their label. Either is enough: where a class has few images, each pair's share
    of an error is rounded to none, and their sum is not.

    About half of a class's images are confident, since a mean is the threshold, and a few errors
    may all be in the other half. So a plain contradiction is enough, too: the label has less than
    one in ten (less than chance with more than ten classes), and another more than one in two.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
    probabilities : ndarray of shape (n_samples, n_classes)
        Out of fold.
    """
    n, n_classes = probabilities.shape
    counts = np.bincount(y, minlength=n_classes)
    own = probabilities[np.arange(n), y]
    sums = np.bincount(y, weights=own, minlength=n_classes)
    least = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    joint = np.zeros((n_classes, n_classes))
    for some in iterate_slices(n, _JUDGED):
        sure = np.where(probabilities[some] >= least - 1e-6, probabilities[some], -1.0)
        has = sure.max(axis=1) >= 0
        np.add.at(joint, (y[some][has], sure.argmax(axis=1)[has]), 1)
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = 1
    joint *= (counts / joint.sum(axis=1))[:, None]
    picked = np.zeros(n, bool)
    best = probabilities.argmax(axis=1)
    for i in np.flatnonzero(counts):
        rows = np.flatnonzero(y == i)
        for j in np.flatnonzero(np.round(joint[i]) > 0):
            if i == j:
                continue
            margins = probabilities[rows, j] - own[rows]
            worst = np.argsort(-margins, kind="stable")[: round(joint[i, j])]
            picked[rows[worst]] = True
        wrong = round(joint[i].sum() - joint[i, i])
        picked[rows[np.argsort(own[rows], kind="stable")[:wrong]]] = True
    picked |= (own < min(_UNLIKELY, 1 / n_classes)) & (probabilities.max(axis=1) > 0.5)
    picked &= best != y
    positions = np.flatnonzero(picked)
    return positions[np.argsort(own[positions], kind="stable")]


def list_suspects(y: Labels, judged: OutOfFold) -> tuple[Suspect, ...]:
    """`find_suspects` of rows that were judged out of fold, with what is suggested instead."""
    labels, p = y[judged.rows], judged.probabilities
    return tuple(
        Suspect(
            int(judged.rows[i]),
            int(labels[i]),
            int(p[i].argmax()),
            float(p[i, labels[i]]),
            float(p[i].max()),
        )
        for i in find_suspects(labels, p)
    )
