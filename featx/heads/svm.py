"""A linear support vector machine, one class against the rest: scikit-learn's, by liblinear."""

from __future__ import annotations

from typing import Any

from sklearn.svm import LinearSVC

from featx.config import MAX_ITER, SVM_GRID
from featx.errors import BudgetError
from featx.heads.kind import Grid, Kind, Learned, Memory
from featx.heads.search import (
    Search,
    Task,
    search_linear,
)
from featx.storage.blocks import Blocks


def search_svm(task: Task) -> Search:
    """Choose C and fit a linear support vector machine, one class against the rest.

    Squared hinge, by liblinear's dual coordinate descent on the rows' span around their mean; the
    columns are centred since liblinear penalises the intercept.

    Parameters
    ----------
    task : Task
        With ascending values of C.

    Raises
    ------
    BudgetError
        X is Blocks: liblinear needs all rows at hand.
    """
    if isinstance(task.X, Blocks):
        raise BudgetError("svm cannot read its features in blocks: take logreg or ridge")

    def make(C: float) -> Any:
        return LinearSVC(
            C=C,
            dual=True,
            class_weight=task.class_weight,
            max_iter=MAX_ITER,
            random_state=task.seed,
        )

    return search_linear(make, task, default=0.01)


KIND = Kind(
    name="svm",
    train=lambda task: Learned(search_svm(task)),
    grid=Grid("C", SVM_GRID, thinned=4),
    weighed=True,
    drawn=True,
    memory=Memory(copies=24, blocks=None),
)
