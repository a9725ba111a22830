"""The objective over blocks: its loss and slope, and the coordinates it is walked in."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from featx import config
from featx.heads.logreg_blocks import BlockLogistic, Frame, fit_blocks
from featx.storage.blocks import Blocks


def make(n=90, dim=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = (rng.normal(size=(n, dim)) + 0.7 * rng.normal(size=(classes, dim))[y]).astype(np.float32)
    return Blocks((X - X.mean(axis=0),), np.arange(n)), y


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(config, "BLOCK_BYTES", 4 * 6 * 32)  # 32 rows of six features


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_the_slope_is_the_losss_own(classes, class_weight):
    X, y = make(classes=classes)
    y = np.where(np.arange(len(y)) < 70, y, 0)  # unequal classes
    objective = BlockLogistic(X, y, class_weight)
    rng = np.random.default_rng(1)
    coef = rng.normal(size=(objective.n_outputs, 6))
    intercept = rng.normal(size=objective.n_outputs)

    def loss(place):
        rows = place.reshape(objective.n_outputs, 7)
        return objective.evaluate(rows[:, :6], rows[:, 6], 0.3, np.float64).loss

    found = objective.evaluate(coef, intercept, 0.3, np.float64)
    numeric = approx_fprime(np.column_stack([coef, intercept]).ravel(), loss, 1e-6)
    slope = np.column_stack([found.coef, found.intercept]).ravel()
    assert np.allclose(slope, numeric, atol=1e-5)


def test_the_loss_at_nothing_is_chance():
    X, y = make()
    found = BlockLogistic(X, y).evaluate(np.zeros((3, 6)), np.zeros(3), 1.0, np.float64)
    assert found.loss == pytest.approx(np.log(3))
    assert found.spread == pytest.approx(1 / 3 * 2 / 3)


def test_covariance_is_numpys():
    X, y = make()
    assert np.allclose(BlockLogistic(X, y).covariance(), np.cov(np.asarray(X).T, bias=True))


def test_coordinates_come_back():
    rng = np.random.default_rng(0)
    V, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    frame = Frame(V, rng.uniform(0.5, 2, 6), 1.7)
    coef, intercept = rng.normal(size=(3, 6)), rng.normal(size=3)
    back = frame.unpack(frame.pack(coef, intercept))
    assert np.allclose(back[0], coef)
    assert np.allclose(back[1], intercept)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_path_is_scikit_learns(classes):
    X, y = make(classes=classes)
    grid, rows = [0.01, 0.1, 1.0], np.asarray(X).astype(float)
    for C, (coef, intercept, converged, _) in zip(
        grid, fit_blocks(X, y, grid, None, max_iter=500, tolerance=1e-7), strict=True
    ):
        reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(rows, y)
        assert converged
        assert np.abs(coef - reference.coef_).max() < 1e-4
        assert np.abs(intercept - intercept.mean() - reference.intercept_
                      + reference.intercept_.mean()).max() < 1e-4  # fmt: skip
