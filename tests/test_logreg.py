import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from featx import logreg
from featx.logreg import search_logreg

GRID = [10.0**k for k in range(-4, 3)]


def make(n_samples, n_features, n_classes, seed=0):
    X, y = make_classification(
        n_samples * 2, n_features, n_informative=min(8, n_features - 1), n_redundant=0,
        n_classes=n_classes, random_state=seed,
    )  # fmt: skip
    X = X.astype(np.float32)
    return X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:]


@pytest.mark.parametrize("shape", [(60, 200, 3), (150, 20, 3), (50, 120, 2)])
def test_the_optimum_is_scikit_learns(shape):
    X, y, X_val, _ = make(*shape)
    found = search_logreg(X, y, None, [0.03])
    assert (found.C, found.chosen_by, found.converged) == (0.03, "given", True)
    assert found.coef.shape == (shape[2], shape[1])
    reference = LogisticRegression(C=0.03, tol=1e-10, max_iter=10_000).fit(X.astype(float), y)
    probabilities = softmax(X_val @ found.coef.T + found.intercept, axis=1)
    assert np.abs(probabilities - reference.predict_proba(X_val)).max() < 1e-4


def test_val_chooses_by_accuracy_then_log_loss_then_the_smaller():
    X, y, X_val, y_val = make(90, 40, 3)
    found = search_logreg(X, y, (X_val, y_val), GRID)
    assert found.chosen_by == "val"
    table = []
    for C in GRID:
        model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000).fit(X.astype(float), y)
        table.append((-model.score(X_val, y_val), log_loss(y_val, model.predict_proba(X_val)), C))
    assert min(table)[2] == found.C
    assert logreg._choose([1.0, 2.0, 3.0], [[(0.9, 0.5), (0.9, 0.4), (0.9, 0.4)]]) == 1


def test_folds_choose_where_there_is_no_val():
    X, y, _, _ = make(60, 30, 3)
    found = search_logreg(X, y, None, GRID)
    assert found.chosen_by == "folds of train"
    assert found.C == search_logreg(X, y, None, GRID, seed=0).C
    few = np.concatenate([np.flatnonzero(y == k)[: 1 if k == 2 else 9] for k in range(3)])
    alone = search_logreg(X[few], y[few], None, GRID)
    assert alone.chosen_by.startswith("default")
    assert alone.C == 1.0


def test_a_search_that_stops_short_says_so(monkeypatch):
    monkeypatch.setattr(logreg, "MAX_ITER", 2)
    X, y, _, _ = make(60, 30, 3)
    with pytest.warns(ConvergenceWarning):
        assert not search_logreg(X, y, None, [100.0]).converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(logreg, "MAX_ITER", 5000)
        assert search_logreg(X, y, None, [100.0]).converged


def test_centring_changes_nothing_but_the_pace():
    X, y, X_val, _ = make(150, 20, 3)
    near, far = (search_logreg(X + shift, y, None, [0.1]) for shift in (0, 7))
    assert np.allclose(near.coef, far.coef, atol=1e-4)
    assert np.allclose(near.intercept, far.intercept + far.coef.sum(axis=1) * 7, atol=1e-3)
    assert len(X_val)
