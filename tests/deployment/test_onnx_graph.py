"""A head as one layer: what folds into its weights, and what a softmax does not see."""

import numpy as np
import pytest
from scipy.special import softmax

from featx.deployment.onnx_graph import estimate_head, fold_linear
from featx.heads.head import Head
from featx.heads.search import LinearFit
from featx.training.scaling import fit_scaler


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(3, 2, (30, 5)).astype(np.float32)


@pytest.mark.parametrize("scale", ["none", "standard"])
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_a_folded_layer_gives_the_heads_probabilities(X, scale, temperature):
    rng = np.random.default_rng(1)
    fit = LinearFit(rng.normal(size=(3, 5)), rng.normal(size=3))
    head = Head("logreg", ("a", "b", "c"), fit_scaler(scale, X), fit, temperature)
    weight, bias = fold_linear(head.scaler, fit, temperature)
    found = softmax(X @ weight.T + bias, axis=1)
    assert np.allclose(found, head.predict_proba(X), atol=1e-6)


def test_what_all_classes_share_is_taken_out(X):
    fit = LinearFit(np.full((3, 5), 1e6) + np.eye(3, 5), np.full(3, 1e6) + np.arange(3))
    weight, bias = fold_linear(fit_scaler("none", X), fit, 1.0)
    assert np.allclose(weight.sum(axis=0), 0)
    assert np.allclose(bias, [-1, 0, 1])
    assert np.abs(weight).max() < 1


def test_a_heads_size_is_its_arrays(X):
    head = Head(
        "ridge", ("a", "b"), fit_scaler("standard", X), LinearFit(np.ones((2, 5)), np.ones(2)), 1.0
    )
    assert estimate_head(head) >= 8 * (2 * 5 + 2)
