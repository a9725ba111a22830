import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC

from featx.heads.centroid import search_centroid
from featx.heads.ridge import search_ridge
from featx.heads.search import Task
from featx.heads.svm import search_svm


def make(n=60, dim=100, classes=3, seed=0):
    X, y = make_blobs(2 * n, dim, centers=classes, cluster_std=9.0, random_state=seed)
    X = (X + 20).astype(np.float32)
    return X[:n], y[:n], X[n:], y[n:]


@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_found_is_scikit_learns(classes):
    X, y, X_new, _ = make(classes=classes)
    wide = X.astype(float)
    ridge = search_ridge(Task(X, y, None, [50.0])).fit.decide(X_new).argmax(1)
    assert np.array_equal(ridge, RidgeClassifier(alpha=50.0).fit(wide, y).predict(X_new))
    centred = wide - wide.mean(0)
    svm = search_svm(Task(X, y, None, [1e-3])).fit.decide(X_new).argmax(1)
    plain = LinearSVC(C=1e-3, dual=True, max_iter=5000, random_state=0).fit(centred, y)
    assert np.array_equal(svm, plain.predict(X_new - wide.mean(0)))
    for threshold in (0.0, 0.5):
        centroid = search_centroid(Task(X, y, None, [threshold])).fit.decide(X_new).argmax(1)
        same = NearestCentroid(shrink_threshold=threshold or None).fit(wide, y)
        assert np.array_equal(centroid, same.predict(X_new))


def test_val_chooses_and_gives_the_temperature():
    X, y, X_val, y_val = make()
    for search, grid in (
        (search_svm, [1e-6, 1e-4, 1e-2]),
        (search_ridge, [1e4, 1e2, 1.0]),
        (search_centroid, [1.0, 0.0]),
    ):
        found = search(Task(X, y, (X_val, y_val), grid))
        assert found.chosen_by == "val"
        scores = [search(Task(X, y, None, [g])).fit.decide(X_val).argmax(1) for g in grid]
        best = max((s == y_val).mean() for s in scores)
        assert (found.fit.decide(X_val).argmax(1) == y_val).mean() == best
        probabilities = found.predict_proba(X_val)
        assert np.allclose(probabilities.sum(1), 1)
        # One number of freedom: mean confidence comes out near the accuracy.
        assert abs(probabilities.max(1).mean() - best) < 0.15


def test_class_weights_reach_scikit_learn():
    X, y, X_new, _ = make()
    few = np.flatnonzero((y != 0) | (np.arange(len(y)) % 7 == 0))
    X, y = X[few].astype(float), y[few]
    options = {"class_weight": "balanced"}
    ridge = search_ridge(Task(X, y, None, [50.0], **options)).fit.decide(X_new)
    assert np.allclose(
        ridge, RidgeClassifier(alpha=50.0, **options).fit(X, y).decision_function(X_new)
    )
    svm = search_svm(Task(X, y, None, [1e-3], **options)).fit.decide(X_new)
    plain = LinearSVC(C=1e-3, dual=True, max_iter=5000, random_state=0, **options)
    expected = plain.fit(X - X.mean(0), y).decision_function(X_new - X.mean(0))
    assert np.allclose(svm, expected, atol=1e-3)


def test_no_variation_within_classes():
    X = np.repeat(np.eye(3, 5, dtype=np.float32), 2, axis=0)
    y = np.repeat(np.arange(3), 2)
    for X_, y_ in ((X, y), (X[::2], y[::2])):
        found = search_centroid(Task(X_, y_, None, [1.0, 0.0]))
        assert np.array_equal(found.fit.decide(X_).argmax(1), y_)
