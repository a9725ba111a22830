import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.linear import LinearClassifier


# Enough steps for the checks' tiny problems; the defaults are for thousands of features.
@parametrize_with_checks(
    [
        LinearClassifier(epochs=60, learning_rate=0.05),
        LinearClassifier(epochs=60, learning_rate=0.05, class_weight="balanced"),
    ]
)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


def test_seed_decides_everything():
    X, y = make_blobs(90, 5, centers=3, random_state=0)
    first, second = (LinearClassifier(seed=3).fit(X, y) for _ in range(2))
    assert np.array_equal(first.coef_, second.coef_)
    assert not np.array_equal(first.coef_, clone(first).set_params(seed=4).fit(X, y).coef_)


def test_the_kept_epoch_is_the_best_on_val():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 300)), rng.integers(0, 3, 60)
    X_val, y_val = rng.normal(size=(30, 300)), rng.integers(0, 3, 30)
    model = LinearClassifier(epochs=12, learning_rate=0.01).fit(X, y, {"val": (X_val, y_val)})
    ranks = [(e.accuracy["val"], -e.loss["val"]) for e in model.history_]
    assert model.best_epoch_ == 1 + ranks.index(max(ranks))
    assert model.best_epoch_ < 12  # noise: val cannot keep getting better
    assert np.mean(model.predict(X_val) == y_val) == pytest.approx(max(ranks)[0])
    assert LinearClassifier(epochs=3).fit(X, y).best_epoch_ == 3


def test_history_by_hand():
    # One sample, one epoch, one step: the loss and accuracy of the untrained layer.
    X, y = np.array([[1.0, 2.0], [1.0, 2.0]]), np.array(["b", "a"])
    model = LinearClassifier(epochs=1, batch_size=2, learning_rate=1e-9).fit(X, y)
    (epoch,) = model.history_
    p = model.predict_proba(X)[0]
    assert epoch.loss["train"] == pytest.approx(-(np.log(p[0]) + np.log(p[1])) / 2, rel=1e-5)
    assert epoch.accuracy["train"] == 0.5
    assert list(model.classes_) == ["a", "b"]


def test_balanced_weights_are_images_repeated():
    # Two to one, balanced: each of the rare class counts twice as much as each of the other.
    X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    y = np.array([0, 0, 1])
    options = {"epochs": 9, "batch_size": 9, "learning_rate": 0.1}
    balanced = LinearClassifier(class_weight="balanced", **options).fit(X, y)
    repeated = LinearClassifier(**options).fit(X[[0, 1, 2, 2]], y[[0, 1, 2, 2]])
    assert np.allclose(balanced.coef_, repeated.coef_, atol=1e-6)
    assert not np.allclose(balanced.coef_, LinearClassifier(**options).fit(X, y).coef_)
