import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from featx.heads.search import LinearFit, Task, choose_value, search_grid, span_rows
from featx.training.calibration import as_scores, fit_temperature, temper


def test_choice_is_accuracy_then_log_loss_then_the_first():
    assert choose_value([[(0.9, 0.5), (0.9, 0.4), (0.9, 0.4)]]) == 1
    assert choose_value([[(0.9, 0.1), (1.0, 9.0)]]) == 1
    # Means over folds: 0.75 and 0.8.
    assert choose_value([[(1.0, 0), (0.8, 0)], [(0.5, 0), (0.8, 0)]]) == 1


def test_the_span_gives_the_same_classifier():
    rng = np.random.default_rng(0)
    X, y = rng.normal(2.0, 1.0, (30, 80)), rng.integers(0, 3, 30)
    span = span_rows(X)
    assert span.basis.shape[1] == 30
    Z = span.project(X)
    assert np.allclose(Z @ Z.T, (X - X.mean(0)) @ (X - X.mean(0)).T)
    inside = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000).fit(Z, y)
    plain = LogisticRegression(C=0.1, tol=1e-10, max_iter=5000).fit(X, y)
    restored = span.restore(LinearFit(inside.coef_, inside.intercept_))
    new = rng.normal(2.0, 1.0, (9, 80))
    assert np.allclose(softmax(restored.decide(new), axis=1), plain.predict_proba(new), atol=1e-5)
    assert span_rows(X.T).basis is None


def test_temperature_is_the_optimum_of_smoothed_targets():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 400)
    scores = 3.0 * (np.eye(3)[y] + rng.normal(0, 0.8, (400, 3)))
    found = fit_temperature(scores, y)
    target = np.full((400, 3), 1 / 804)
    target[np.arange(400), y] = 401 / 402

    def loss(t):
        return -(target * np.log(softmax(scores / t, axis=1))).sum(1).mean()

    grid = np.geomspace(found / 20, found * 20, 4001)
    assert loss(found) <= min(loss(t) for t in grid) + 1e-9
    calibrated = log_loss(y, softmax(scores / found, axis=1))
    assert calibrated <= log_loss(y, softmax(scores, axis=1)) + 1e-6
    # Twice the scores are at twice the temperature.
    assert fit_temperature(2 * scores, y) == pytest.approx(2 * found, rel=1e-3)


def test_all_right_is_not_certain():
    y = np.arange(3).repeat(10)
    scores = 50.0 * np.eye(3)[y]
    probabilities = softmax(scores / fit_temperature(scores, y), axis=1)
    # Thirty of thirty: (n + 1) / (n + 2).
    assert probabilities.max(axis=1) == pytest.approx(31 / 32, abs=1e-3)
    assert np.isfinite(fit_temperature(np.zeros((4, 2)), np.array([0, 1, 0, 1])))


def test_tempering_probabilities_is_tempering_logits():
    logits = np.random.default_rng(2).normal(0, 3, (5, 4))
    probabilities = softmax(logits, axis=1)
    assert np.allclose(temper(probabilities, 2.5), softmax(logits / 2.5, axis=1))
    assert np.isfinite(as_scores(np.array([[0.0, 1.0]], np.float32))).all()


def count_rows(seen):
    """A fit whose only score is that of the first class; notes which rows it was given."""

    def path(X, y, grid):
        seen.append(X[:, 0].astype(int).tolist())
        for _ in grid:
            yield LinearFit(np.zeros((2, 1)), np.array([1.0, 0.0]))

    return path


def test_folds_keep_views_with_their_image():
    seen = []
    X = np.arange(12, dtype=float)[:, None]  # six images, then a view of each
    origin = np.tile(np.arange(6), 2)
    y = np.array([0, 0, 0, 1, 1, 1] * 2)
    search_grid(count_rows(seen), Task(X, y, None, [1.0, 2.0], origin=origin), default=1.0)
    whole, *folds = seen
    assert whole == list(range(12))
    assert len(folds) == 3
    for rows in folds:
        assert {r % 6 for r in rows} == {r for r in rows if r < 6}
        assert len(rows) == 8


def test_one_image_per_class_takes_the_default():
    found = search_grid(
        count_rows([]), Task(np.zeros((2, 1)), np.array([0, 1]), None, [0.1, 1.0, 9.0]),
        default=1.2, tempered=True,
    )  # fmt: skip
    assert found.value == 1.0
    assert found.chosen_by.startswith("default")
    assert found.temperature == 1.0
