from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision

from featx.errors import ModelError
from featx.heads.imagenet import ImagenetFit, LastLayer, find_known, map_classes, take_last_layer


def test_train_maps_the_classes():
    # Four ImageNet classes on three features; 0 and 1 fire for the first class, 3 for both others.
    weight = np.array([[9, 0, 0], [6, 0, 0], [0, 0, 0], [0, 9, 9]], np.float32)
    layer = LastLayer(weight, np.zeros(4, np.float32))
    X = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    y = np.repeat(np.arange(3), 2)
    found = map_classes(layer, X, y)
    assert found.stands_for[0] == 0
    assert found.stands_for[3] in (1, 2)
    assert set(found.stands_for.tolist()) == {0, 1, 2}  # each class has one
    assert (found.decide(X).argmax(1) == y)[:2].all()


def test_scores_are_logs_of_summed_probabilities():
    rng = np.random.default_rng(0)
    layer = LastLayer(rng.normal(size=(5, 3)).astype(np.float32), np.arange(5, dtype=np.float32))
    X = rng.normal(size=(4, 3)).astype(np.float32)
    logits = X @ layer.weight.T + layer.bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    fit = ImagenetFit(layer, np.array([0, 1, 0, 1, 1]), 3)
    expected = np.stack([p[:, [0, 2]].sum(1), p[:, [1, 3, 4]].sum(1), np.zeros(4)], axis=1) + 1e-6
    assert np.allclose(np.exp(fit.decide(X))[:, 2], 1e-6)
    assert np.allclose(np.exp(fit.decide(X)), expected, atol=2e-6)


def test_known_names():
    found = find_known(("dalmatian", "084.giraffe", "Siamese_cat", "gorilla-101"))
    assert found == {
        "dalmatian": "dalmatian", "Siamese_cat": "Siamese cat", "gorilla-101": "gorilla"
    }  # fmt: skip


def test_weights_without_a_last_layer(tiny_weights):
    layer = take_last_layer(tiny_weights)
    assert layer.weight.shape == (1000, 2048)
    state = {k: v for k, v in tiny_weights.state.items() if not k.startswith("fc.")}
    with pytest.raises(ModelError, match=r"has no last layer \(fc.weight is not in it\)"):
        take_last_layer(replace(tiny_weights, state=state))


@pytest.mark.full_width
def test_the_layer_is_torchvisions(tiny_weights):
    network = torchvision.models.resnet50()
    network.load_state_dict(tiny_weights.state)
    X = np.random.default_rng(0).normal(size=(5, 2048)).astype(np.float32)
    with torch.inference_mode():
        expected = network.fc(torch.from_numpy(X)).log_softmax(1).numpy()
    assert np.allclose(take_last_layer(tiny_weights).log_proba(X), expected, atol=1e-4)
