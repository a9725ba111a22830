"""What is kept beside the features: how it is said, where it stands, and torchvision for oracle."""

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from featx.config import BACKBONES
from featx.errors import LayersError
from featx.network.backbone import Normalise, build_network
from featx.network.engine import TorchEngine
from featx.network.layers import (
    count_channels,
    count_columns,
    count_places,
    includes,
    list_columns,
    parse_layers,
    spell_layers,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("said", "spelled", "n"),
    [
        ("last", "last", 0),
        ("all", "all", 5632),
        ("avg", "avg", 256 + 512 + 1024),
        ("max", "max", 3840),
        ("layer4:avg", "last", 0),
        ("layer2", "layer2:avg,layer2:max", 1024),
        ("layer3:max, layer1", "layer1:avg,layer1:max,layer3:max", 1536),
        ("avg,max", "all", 5632),
        ("layer1,layer2,layer3,layer4:max", "all", 5632),
        ("max,last", "max", 3840),
    ],
)
def test_one_spelling_for_all_that_is_the_same(said, spelled, n):
    assert spell_layers(parse_layers(said)) == spelled
    assert parse_layers(spelled) == parse_layers(said)
    assert count_columns(said, "resnet50") == n


@pytest.mark.parametrize("said", ["", "layer5", "layer1:min", "first", "layer1:", "all;max", "1"])
def test_what_is_none_is_named(said):
    with pytest.raises(LayersError, match="say last, all, avg, max, or names"):
        parse_layers(said)


def test_columns_stand_one_behind_the_other():
    found = list_columns("layer1,layer3:max", "resnet18")
    assert [(one.layer, one.pool, one.start, one.stop) for one in found] == [
        ("layer1", "avg", 0, 64), ("layer1", "max", 64, 128), ("layer3", "max", 128, 384)
    ]  # fmt: skip


@pytest.mark.parametrize("backbone", BACKBONES)
def test_channels_are_torchvisions(backbone):
    with torch.device("meta"):
        network = torchvision.models.get_model(backbone, weights=None)
        for layer in ("layer1", "layer2", "layer3", "layer4"):
            last = network.get_submodule(layer)[-1]
            bn = last.bn3 if hasattr(last, "bn3") else last.bn2
            assert count_channels(layer, backbone) == bn.num_features


def test_more_includes_less():
    assert includes("all", "last")
    assert includes("all", "layer2:max")
    assert includes("max", "layer4:avg")
    assert not includes("max", "avg")
    assert not includes("last", "layer1:avg")


@pytest.mark.full_width
def test_they_are_what_torchvisions_own_extractor_gives(tiny_weights):
    found = TorchEngine(tiny_weights, "cpu", 3, layers="all").run(PIXELS)
    network = build_network(tiny_weights.state, tiny_weights.stride_in_1x1)
    nodes = {f"layer{k}": f"layer{k}" for k in (1, 2, 3, 4)}
    with torch.no_grad():
        pixels = Normalise(tiny_weights.preprocessing)(torch.from_numpy(PIXELS))
        maps = create_feature_extractor(network, nodes)(pixels)
    expected = [maps["layer4"].mean((2, 3))]
    for one in list_columns("all", "resnet50"):
        there = maps[one.layer]
        expected.append(there.mean((2, 3)) if one.pool == "avg" else there.amax((2, 3)))
    expected = torch.cat(expected, dim=1).numpy()
    assert found.shape == expected.shape == (3, 7680)
    for one in list_columns("all", "resnet50"):
        part = slice(2048 + one.start, 2048 + one.stop)
        assert np.allclose(found[:, part], expected[:, part], rtol=1e-4, atol=1e-4), one


@pytest.mark.full_width
def test_the_features_are_the_same_bits_with_or_without(tiny_weights):
    alone = TorchEngine(tiny_weights, "cpu", 4).run(PIXELS)
    wide = TorchEngine(tiny_weights, "cpu", 4, layers="all").run(PIXELS)
    assert np.array_equal(alone, wide[:, :2048])


@pytest.mark.full_width
def test_openvino_gives_torchs(tiny_weights):
    pytest.importorskip("openvino")
    from featx.network.openvino_engine import OpenVinoEngine

    torchs = TorchEngine(tiny_weights, "cpu", 4, layers="layer1,layer3:max").run(PIXELS)
    found = OpenVinoEngine(tiny_weights, 4, layers="layer1,layer3:max")
    assert found.width == torchs.shape[1] == 2048 + 512 + 1024
    scale = np.abs(torchs).max()
    assert np.abs(found.run(PIXELS) - torchs).max() < 1e-5 * scale


@pytest.mark.parametrize("layers", ["last", "layer2:avg"])
def test_places_stand_behind_everything_and_their_means_are_the_features(tiny_weights, layers):
    alone = TorchEngine(tiny_weights, "cpu", 3, layers=layers).run(PIXELS)
    engine = TorchEngine(tiny_weights, "cpu", 3, layers=layers, places=True)
    rows, dim = engine.run(PIXELS), tiny_weights.feature_dim
    assert rows.shape == (3, engine.width) == (3, alone.shape[1] + dim * 2 * 2)
    assert np.array_equal(rows[:, : alone.shape[1]], alone)
    places = rows[:, alone.shape[1] :].reshape(3, dim, 2, 2)
    assert np.allclose(places.mean((2, 3)), rows[:, :dim], rtol=1e-5, atol=1e-6)
    assert np.ptp(places, axis=(2, 3)).max() > 0


@pytest.mark.parametrize(("crop", "side"), [(224, 7), (225, 8), (64, 2), (256, 8), (33, 2)])
def test_places_are_counted_as_the_network_has_them(crop, side):
    assert count_places(crop) == side
    with torch.device("meta"):
        network = torchvision.models.get_model("resnet18", weights=None)
        stages = torch.nn.Sequential(*list(network.children())[:-2])
        assert stages(torch.zeros(1, 3, crop, crop)).shape[2:] == (side, side)
