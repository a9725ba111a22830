"""Ridge's leave-one-out is that of fits that left one out, and its fit scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.utils.class_weight import compute_class_weight

from featx.heads.ridge import search_ridge, sum_rows
from featx.heads.search import Task

GRID = [1000.0, 10.0, 0.1]


def make(n=40, dim=9, classes=3):
    rng = np.random.default_rng(4)
    y = np.sort(np.arange(n) % classes)
    y[:5] = 0  # classes of different sizes
    return rng.normal(0, 1, (n, dim)) + 1.5 * rng.normal(0, 1, (classes, dim))[y], y


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize(("dim", "classes"), [(9, 3), (60, 3), (9, 2)])
def test_leaving_each_out_is_exact(dim, classes, class_weight):
    X, y = make(dim=dim, classes=classes)
    weight = compute_class_weight(class_weight, classes=np.arange(classes), y=y)[y]
    targets = np.where(y[:, None] == np.arange(classes), 1.0, -1.0)
    found = list(sum_rows(X, y, class_weight).leave_each_out(X, y, GRID))
    for alpha, scores in zip(GRID, found, strict=True):
        expected = np.empty((len(y), classes))
        for i in range(len(y)):
            rest = np.arange(len(y)) != i
            ridge = Ridge(alpha, solver="cholesky").fit(
                X[rest], targets[rest], sample_weight=weight[rest]
            )
            expected[i] = ridge.predict(X[i : i + 1])
        if classes == 2:
            expected[:, 0] = 0
        assert np.abs(scores - expected).max() < 1e-9


@pytest.mark.parametrize("dim", [9, 60])
def test_leave_one_out_chooses_and_is_what_val_is_shown_as(dim):
    X, y = make(dim=dim)
    found = search_ridge(Task(X, y, None, GRID))
    assert found.chosen_by == "leave-one-out of train"
    path = dict(zip(GRID, sum_rows(X, y).leave_each_out(X, y, GRID), strict=True))
    assert np.allclose(found.choice.held, path[found.value])
    wanted = RidgeClassifier(alpha=found.value).fit(X, y)
    assert np.allclose(found.fit.coef, wanted.coef_)
    assert np.allclose(found.fit.intercept, wanted.intercept_)


def test_where_images_have_relatives_folds_choose():
    X, y = make()
    found = search_ridge(Task(X, y, None, GRID, groups=np.arange(40) // 2))
    assert found.chosen_by.startswith("folds of train")
    assert search_ridge(Task(X, y, (X, y), GRID)).chosen_by == "val"
