"""The map of a linear head: its mean over places and the bias are the logit, whatever scales."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from made_features import make_features

from featx.config import SCALINGS, TORCHVISION_V1
from featx.errors import ModelError
from featx.explaining.maps import FoldedHead, fold_head
from featx.heads.fit import fit
from featx.heads.head import Head, load_head
from featx.heads.search import LinearFit
from featx.network.engine import TorchEngine
from featx.network.layers import count_places
from featx.training.scaling import Scaler

LINEAR = ("logreg", "linear", "svm", "ridge", "centroid")
OPTIONS = {
    "logreg": {"C": 0.1}, "svm": {"C": 0.1}, "linear": {"epochs": 2, "learning_rate": 1e-2}
}  # fmt: skip


@pytest.fixture
def places():
    return np.random.default_rng(3).gamma(1.0, 2.0, (5, 40, 3, 2)).astype(np.float32)


def measure(head, places):
    """How far mean and bias are off the logit that the head has, beside the logits' size."""
    features = places.mean((2, 3))
    maps, biases = fold_head(head).spread(features, places)
    expected = head.fit.decide(head.scaler.apply(features)) / head.temperature
    assert maps.shape == (5, *expected.shape[1:], 3, 2)
    return np.abs(maps.mean((2, 3)) + biases - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("clf", LINEAR)
def test_mean_and_bias_are_the_logit(provenance, places, clf, scale):
    features = make_features(provenance)
    model = fit(features, clf, scale=scale, **OPTIONS.get(clf, {}))
    assert measure(load_head(model), places) < 1e-5


@pytest.mark.parametrize("kind", SCALINGS)
def test_a_level_below_the_scaling_and_a_temperature_are_folded(places, kind):
    rng = np.random.default_rng(0)
    mean, scale, low, wide = rng.gamma(2.0, 1.0, (4, 40))
    level = Scaler("standard", low, wide)
    scaler = Scaler(
        kind, None if kind in ("none", "l2") else mean, scale if kind == "standard" else None, level
    )
    linear = LinearFit(rng.normal(0, 1, (3, 40)), rng.normal(0, 1, 3))
    assert measure(Head("logreg", ("a", "b", "c"), scaler, linear, 2.5), places) < 1e-5


def test_by_hand():
    # Two features at two places; scaled z = (x - 1) / 2; w = (4, -2), b = 3, T = 2.
    scaler = Scaler("standard", np.ones(2), np.full(2, 2.0))
    head = Head("ridge", ("a",), scaler, LinearFit(np.array([[4.0, -2.0]]), np.array([3.0])), 2.0)
    places = np.array([[[[3.0, 5.0]], [[1.0, 7.0]]]])  # means 4 and 4: z = (1.5, 1.5)
    maps, biases = fold_head(head).spread(places.mean((2, 3)), places)
    # w / (s T) = (1, -0.5): 3 - 0.5 and 5 - 3.5; b / T - w·(m / s) / T = 1.5 - 0.5.
    assert maps.tolist() == [[[[2.5, 1.5]]]]
    assert biases.tolist() == [[1.0]]
    assert maps.mean() + biases[0, 0] == (4 * 1.5 - 2 * 1.5 + 3) / 2


def test_an_image_without_features_has_a_map():
    ones = np.ones((1, 2))
    folded = FoldedHead(ones, np.zeros(1), np.ones(1), np.ones(2), np.zeros(2), unit=True)
    maps, biases = folded.spread(np.zeros((1, 2)), np.zeros((1, 2, 2, 2)))
    assert not maps.any()
    assert biases.tolist() == [[1.0]]


def test_what_is_not_linear_has_none(provenance):
    head = load_head(fit(make_features(provenance), "knn"))
    with pytest.raises(ModelError, match="knn has no map: its scores are no sum over the places"):
        fold_head(head)
    assert fold_head(replace(head, fit=LinearFit(np.ones((3, 40)), np.zeros(3))))


def test_a_head_that_knows_a_patch_points_at_it(tiny_weights):
    """Made by hand: its weights are what the patch changes in the features."""
    rng = np.random.default_rng(0)
    plain = rng.integers(100, 140, (224, 224, 3), np.uint8)
    pictures, corners = [plain], {(0, 6): (4, 196), (6, 0): (196, 4)}
    for y, x in corners.values():
        patched = plain.copy()
        patched[y : y + 24, x : x + 24] = rng.integers(0, 256, (24, 24, 3))
        pictures.append(patched)
    engine = TorchEngine(replace(tiny_weights, preprocessing=TORCHVISION_V1), "cpu", 3, places=True)
    rows, dim = engine.run(np.stack(pictures)), tiny_weights.feature_dim
    features, places = rows[:, :dim], rows[:, dim:].reshape(3, dim, 7, 7)
    for i, (row, column) in enumerate(corners, 1):
        coef = (features[i] - features[0])[None].astype(np.float64)
        head = Head("ridge", ("patch",), Scaler("none"), LinearFit(coef, np.zeros(1)))
        maps, _ = fold_head(head).spread(features, places)
        found = maps[i, 0] - maps[0, 0]
        highest = np.unravel_index(found.argmax(), (7, 7))
        assert max(abs(highest[0] - row), abs(highest[1] - column)) <= 1
        far = np.abs(found[::-1, ::-1][max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3])
        assert far.max() < 0.05 * found.max()


def make_weights(backbone, tiny_weights):
    """Random parameters of a resnet18, or the small resnet50's."""
    if backbone == "resnet50":
        return tiny_weights
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = torchvision.models.get_model(backbone, weights=None).state_dict()
    return replace(tiny_weights, state=state, backbone=backbone)


def run_photos(weights, engine):
    """Features and places of three pictures, as an engine gives them."""
    if engine == "openvino":
        pytest.importorskip("openvino")
        from featx.network.openvino_engine import OpenVinoEngine as Engine
    else:
        Engine = TorchEngine
    made = Engine(weights, batch_size=3, places=True)
    crop, dim = weights.preprocessing.crop, weights.feature_dim
    pixels = np.random.default_rng(5).integers(0, 256, (3, crop, crop, 3), np.uint8)
    rows, side = made.run(pixels), count_places(crop)
    return rows[:, :dim], rows[:, dim:].reshape(3, dim, side, side)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_logit_of_the_engines_own_features_is_met(tiny_weights, backbone, engine):
    """Of the features that predict has, which no mean over places was taken of here."""
    check_heads(*run_photos(make_weights(backbone, tiny_weights), engine))


@pytest.mark.real_weights
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_same_of_the_real_network(keras_weights, engine):
    check_heads(*run_photos(keras_weights, engine))


def check_heads(features, places):
    rng = np.random.default_rng(0)
    dim = features.shape[1]
    fit = LinearFit(rng.normal(0, 1, (4, dim)), rng.normal(0, 1, 4))
    mean, scale = rng.gamma(2.0, 0.2, (2, dim))
    for kind in SCALINGS:
        centred = mean if kind in ("standard", "center-l2") else None
        scaler = Scaler(kind, centred, scale if kind == "standard" else None)
        head = Head("svm", ("a", "b", "c", "d"), scaler, fit, 1.7)
        maps, biases = fold_head(head).spread(features, places)
        expected = fit.decide(scaler.apply(features)) / 1.7
        off = np.abs(maps.mean((2, 3)) + biases - expected)
        assert off.max() <= 1e-4 * np.abs(expected).max()
