import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import featx.heads.logreg
from featx.heads.logreg import search_logreg
from featx.heads.search import Task

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
    found = search_logreg(Task(X, y, None, [0.03]))
    assert (found.value, found.chosen_by, found.fit.converged) == (0.03, "given", True)
    assert found.fit.coef.shape == (shape[2], shape[1])
    reference = LogisticRegression(C=0.03, tol=1e-10, max_iter=10_000).fit(X.astype(float), y)
    probabilities = found.predict_proba(X_val)
    assert np.abs(probabilities - reference.predict_proba(X_val)).max() < 1e-4


def test_val_chooses_by_log_loss():
    X, y, X_val, y_val = make(90, 40, 3)
    found = search_logreg(Task(X, y, (X_val, y_val), GRID))
    assert found.chosen_by == "val"
    table = []
    for C in GRID:
        model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000).fit(X.astype(float), y)
        table.append((log_loss(y_val, model.predict_proba(X_val)), C))
    assert min(table)[1] == found.value
    assert found.choice.loss == pytest.approx(min(table)[0], abs=1e-3)


def test_folds_choose_where_there_is_no_val():
    X, y, _, _ = make(60, 30, 3)
    found = search_logreg(Task(X, y, None, GRID))
    assert found.chosen_by == "folds of train"
    losses = []
    for C in GRID:
        model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        p = cross_val_predict(model, X.astype(float), y, cv=folds, method="predict_proba")
        losses.append(log_loss(y, p))
    assert found.value == GRID[int(np.argmin(losses))]
    assert found.choice.loss == pytest.approx(min(losses), abs=1e-3)
    few = np.concatenate([np.flatnonzero(y == k)[: 1 if k == 2 else 9] for k in range(3)])
    alone = search_logreg(Task(X[few], y[few], None, GRID))
    assert alone.chosen_by.startswith("default")
    assert alone.value == 1.0


def test_a_search_that_stops_short_says_so(monkeypatch):
    monkeypatch.setattr(featx.heads.logreg, "MAX_ITER", 2)
    X, y, _, _ = make(60, 30, 3)
    with pytest.warns(ConvergenceWarning):
        assert not search_logreg(Task(X, y, None, [100.0])).fit.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(featx.heads.logreg, "MAX_ITER", 5000)
        assert search_logreg(Task(X, y, None, [100.0])).fit.converged


def test_centring_changes_nothing_but_the_pace():
    X, y, X_val, _ = make(150, 20, 3)
    near, far = (search_logreg(Task(X + shift, y, None, [0.1])).fit for shift in (0, 7))
    assert np.allclose(near.coef, far.coef, atol=1e-4)
    assert np.allclose(near.intercept, far.intercept + far.coef.sum(axis=1) * 7, atol=1e-3)
    assert len(X_val)


def test_class_weights_are_scikit_learns():
    X, y, X_val, _ = make(120, 20, 3)
    keep = np.flatnonzero((y != 0) | (np.arange(120) % 5 == 0))
    X, y = X[keep], y[keep]
    found = search_logreg(Task(X, y, None, [0.1], class_weight="balanced"))
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=9999, class_weight="balanced")
    expected = reference.fit(X.astype(float), y).predict_proba(X_val)
    assert np.abs(found.predict_proba(X_val) - expected).max() < 1e-4


def test_calibration_moves_probabilities_and_no_choice():
    X, y, X_val, y_val = make(90, 40, 3)
    plain, tempered = (
        search_logreg(Task(X, y, (X_val, y_val), GRID, calibrate=bool(c))) for c in (0, 1)
    )
    assert (plain.value, plain.temperature) == (tempered.value, 1.0)
    assert tempered.temperature != 1.0
    assert np.array_equal(plain.fit.coef, tempered.fit.coef)
    losses = [log_loss(y_val, one.predict_proba(X_val)) for one in (plain, tempered)]
    assert losses[1] < losses[0] + 0.01
