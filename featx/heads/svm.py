"""A linear support vector machine, one class against the rest: scikit-learn's, by liblinear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.svm import LinearSVC

from featx.arrays import Labels
from featx.config import MAX_ITER
from featx.errors import BudgetError
from featx.heads.search import (
    Search,
    search_linear,
)
from featx.storage.blocks import Blocks, Samples


def search_svm(
    X: Samples,
    y: Labels,
    val: tuple[Samples, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    class_weight: str | None = None,
    origin: Labels | None = None,
) -> Search:
    """Choose C and fit a linear support vector machine, one class against the rest.

    Squared hinge, by liblinear's dual coordinate descent on the rows' span around their mean; the
    columns are centred since liblinear penalises the intercept.

    Parameters
    ----------
    X, y, val, seed, origin
        See `search_grid`.
    grid : sequence of float
        Ascending values of C.
    class_weight : {"balanced"}, optional

    Raises
    ------
    BudgetError
        X is Blocks: liblinear needs all rows at hand.
    """
    if isinstance(X, Blocks):
        raise BudgetError("svm cannot read its features in blocks: take logreg or ridge")

    def make(C: float) -> Any:
        return LinearSVC(
            C=C, dual=True, class_weight=class_weight, max_iter=MAX_ITER, random_state=seed
        )

    return search_linear(make, X, y, val, grid, default=0.01, seed=seed, origin=origin)
