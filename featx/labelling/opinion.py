"""What the labels so far say of images without one: logistic regression, quickly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.heads.kind import find_kind
from featx.heads.recipe import train_quietly
from featx.heads.search import LinearFit, Task

CLF = "logreg"


@dataclass(frozen=True)
class Opinion:
    """A head that was fitted to be asked, not to be kept.

    Attributes
    ----------
    known : ndarray of shape (n_classes,), int64
        The classes it knows, ascending.
    fit : LinearFit or None
        None where it knows one class alone.
    C : float
        Of logistic regression.
    """

    known: Labels
    fit: LinearFit | None
    C: float

    def decide(self, X: Matrix) -> Matrix:
        """Logits in X's own precision, shape (n_samples, n_classes)."""
        if self.fit is None:
            return np.zeros((len(X), 1), X.dtype)
        # A pool is large and its rows only compared: float64 would take ten times as long.
        coef, intercept = (one.astype(X.dtype) for one in (self.fit.coef, self.fit.intercept))
        scores: Matrix = X @ coef.T + intercept
        return scores

    def predict_proba(self, X: Matrix) -> Matrix:
        """Probabilities of the known classes, shape (n_samples, n_classes)."""
        found: Matrix = softmax(self.decide(X), axis=1)
        return found

    def predict(self, X: Matrix) -> Labels:
        """The most probable of the known classes, shape (n_samples,)."""
        found: Labels = self.known[self.decide(X).argmax(axis=1)]
        return found


def form_opinion(X: Matrix, y: Labels, C: float | None = None, seed: int = 0) -> Opinion:
    """Fit logistic regression to labelled rows; C is chosen by folds where it is not given.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
    C : float, optional
    seed : int
        Of the folds.
    """
    known, codes = np.unique(y, return_inverse=True)
    if len(known) < 2:
        return Opinion(known, None, C or 1.0)
    kind = find_kind(CLF)
    assert kind.grid is not None
    grid = kind.grid.values[:: kind.grid.thinned] if C is None else (C,)
    task = Task(X, codes.astype(np.int64), grid=grid, seed=seed, rough=True)
    found = train_quietly(kind, task).search
    assert isinstance(found.fit, LinearFit)
    return Opinion(known, found.fit, found.value)
