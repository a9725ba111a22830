"""Rows that are unlike all classes, by the score of strangers that suits the data best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.auditing.findings import Finding, name_row
from featx.auditing.labels import OutOfFold, fit_rows
from featx.features.content import Features
from featx.heads.head import Head
from featx.novelty.learning import measure_strangeness
from featx.novelty.scores import Numbers
from featx.training.trials import Kin


@dataclass(frozen=True)
class Strangers:
    """Images that a head which did not see them finds unlike all classes.

    Attributes
    ----------
    rows : ndarray of shape (n_strangers,), int64
        The strangest first.
    scores : ndarray of shape (n_strangers,), float64
    bound : float
        The score from which on a row is a stranger: what half of the images of classes have that
        were left out, by heads that did not know these.
    median : float
        Of all images' scores.
    details : mapping
        See `Novelty` of `learn_novelty`.
    """

    rows: Labels
    scores: Numbers
    bound: float
    median: float
    details: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.details, "bound": self.bound, "median": self.median}


def find_strangers(
    X: Matrix, y: Labels, kin: Kin, judged: OutOfFold, seed: int = 0, level: bool = False
) -> Strangers:
    """Score every image that was judged by fits that saw neither it nor its relatives.

    The score is chosen by classes that are left out; see `learn_novelty`. The head is the logistic
    regression that judged labels, with its C.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,), int64
    kin : Kin
        Of all rows.
    judged : OutOfFold
    seed : int
        Of the folds.
    level : bool
        See `predict_out_of_fold`.

    Raises
    ------
    ModelError
        There are no folds.
    """
    codes = np.unique(y[judged.rows], return_inverse=True)[1].astype(np.int64)

    def refit(X: Matrix, y: Labels) -> Head:
        scaler, (fit,) = fit_rows(X, y, (judged.C,), level)
        return Head("logreg", (), scaler, fit)

    rows = X[judged.rows]
    found = measure_strangeness(rows, codes, kin.take(judged.rows), refit(rows, codes), refit, seed)
    bound = float(np.median(found.left_out))
    beyond = np.flatnonzero(found.scores >= bound)
    beyond = beyond[np.argsort(-found.scores[beyond], kind="stable")]
    return Strangers(
        judged.rows[found.rows[beyond]],
        found.scores[beyond],
        bound,
        float(np.median(found.scores)),
        found.details,
    )


def list_strangers(features: Features, found: Strangers) -> Iterator[Finding]:
    """A finding for each."""
    name = found.details["score"]
    for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True):
        words = f"{name} {score:.2f}, from {found.bound:.2f} on; the median is {found.median:.2f}"
        yield Finding("stranger", **name_row(features, row), score=score, detail=words)
