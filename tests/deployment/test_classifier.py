"""A model with its network: the pixels it learned on, the weights it belongs to."""

from dataclasses import replace

import numpy as np
import pytest

import featx
from featx.decoding.decoders import describe_decoder
from featx.decoding.pixel_format import Reading, describe_colours
from featx.deployment.classifier import find_weights, read_classifier
from featx.errors import ModelError
from featx.network.weights import hash_state, save_weights


@pytest.fixture
def model(feature_file, tmp_path):
    return featx.fit(feature_file("first:4,2"), "centroid", output=tmp_path / "m.safetensors")


def test_a_head_comes_with_its_network_and_its_pixels(model, tiny_weights):
    found = read_classifier(model.path)
    assert found.weights.sha256 == tiny_weights.sha256
    assert found.weights.preprocessing == tiny_weights.preprocessing
    assert (found.decode, found.reading) == ("exact", Reading())
    assert found.head.classes == model.classes
    X = np.random.default_rng(0).normal(size=(3, 2048)).astype(np.float32)
    assert found.head.predict_proba(X).sum(axis=1) == pytest.approx(1)


def test_pixels_are_read_as_they_were_when_it_learned(model):
    reading = Reading(profiles="ignore", depth="used 12")
    told = {"decoder": describe_decoder("fast"), "colours": describe_colours(reading)}
    found = read_classifier(replace(model, provenance={**model.provenance, **told}))
    assert (found.decode, found.reading) == ("fast", reading)


def test_a_model_from_before_colours_were_told_follows_no_profile(model):
    old = {k: v for k, v in model.provenance.items() if k != "colours"}
    assert read_classifier(replace(model, provenance=old)).reading.profiles == "ignore"


def test_other_weights_are_refused_by_their_hashes(model, tiny_weights, tmp_path):
    state = {name: tensor + 1 for name, tensor in tiny_weights.state.items()}
    other = replace(tiny_weights, name="mine", state=state, sha256=hash_state(state))
    save_weights(other, tmp_path / "mine.safetensors")
    with pytest.raises(ModelError, match="the numbers would mean nothing"):
        read_classifier(model.path, str(tmp_path / "mine.safetensors"))


def test_weights_are_found_under_another_name(model, stored):
    named = {**model.provenance, "weights": "what-it-was-called"}
    (stored / "imagenet1k-v1.safetensors").rename(stored / "renamed.safetensors")
    found = find_weights(replace(model, provenance=named))
    assert found.sha256 == model.provenance["weights_sha256"]


def test_weights_that_are_nowhere_are_asked_for(model):
    lost = {**model.provenance, "weights": "mine", "weights_sha256": "f" * 64}
    with pytest.raises(ModelError, match="name it with --weights"):
        find_weights(replace(model, provenance=lost))
