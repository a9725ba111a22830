import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from featx.heads.search import LinearFit, Task, Way, search_grid, span_rows
from featx.training.calibration import as_scores, fit_temperature, temper


def say(*logits, seen=None):
    """A way whose i-th value gives every row of class 0 or 1 the true one's logit, by hand."""

    def path(X, y, grid):
        for value in grid:
            if seen is not None:
                seen.append(value)
            z = dict(zip(GRID, logits, strict=True))[value]
            yield LinearFit(np.array([[z], [-z]]), np.zeros(2))

    return path


GRID = [float(i) for i in range(1, 9)]
SIDES = np.array([[1.0], [-1.0]] * 4)  # class 0, class 1, class 0, ...


def test_log_loss_chooses_and_of_equals_the_first():
    y, z = np.array([0, 1] * 4), [0.1, 0.2, 2.0, 1.0, 2.0, 0.3, 0.1, 0.0]
    found = search_grid(Way(fit_path=say(*z), default=1.0), Task(SIDES, y, (SIDES, y), GRID))
    assert (found.value, found.chosen_by) == (3.0, "val")
    # All rows are right from the first value on: the softmax of (2, -2) is what makes the third.
    assert found.choice.loss == pytest.approx(np.log(1 + np.exp(-4)))
    assert np.allclose(found.choice.held[8:], [[2, -2], [-2, 2]] * 4)


def test_a_path_ends_where_it_leads_away():
    y, z = np.array([0, 1] * 4), [1.0, 0.9, 1.1, 1.0, 1.09, 0.5, 0.4, 2.0]
    seen, whole = [], []
    task = Task(SIDES, y, (SIDES, y), GRID)
    ended = search_grid(Way(fit_path=say(*z, seen=seen), default=1.0, ends=True), task)
    # Worse by more than a twentieth: 2, then 4; 5 is within it; 6, 7 and, of three in a row, 8.
    assert (ended.value, ended.choice.tried, seen) == (8.0, 8, [*GRID, 8.0])
    z[4] = 1.0
    early = search_grid(Way(fit_path=say(*z, seen=whole), default=1.0, ends=True), task)
    assert (early.value, early.choice.tried, whole) == (3.0, 6, [*GRID[:6], 3.0])
    assert search_grid(Way(fit_path=say(*z), default=1.0), task).value == 8.0


def test_the_span_gives_the_same_classifier():
    rng = np.random.default_rng(0)
    X, y = rng.normal(2.0, 1.0, (30, 80)), rng.integers(0, 3, 30)
    span = span_rows(X)
    assert span.basis.shape[1] == 29  # around their mean
    assert np.allclose(span.basis.T @ span.basis, np.eye(29))
    assert span_rows(np.ones((3, 80))).basis is None
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


def test_one_image_per_class_takes_the_default():
    way = Way(fit_path=say(*GRID), default=3.2, tempered=True)
    found = search_grid(way, Task(np.zeros((2, 1)), np.array([0, 1]), None, GRID))
    assert found.value == 3.0
    assert found.chosen_by.startswith("default")
    assert found.temperature == 1.0
