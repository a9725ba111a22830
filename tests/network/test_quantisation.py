"""Ranges of 8-bit networks: from batch norms alone, against values by hand and by drawing."""

import numpy as np
import pytest
import torch
from test_family import make_weights

from featx.config import BACKBONES
from featx.errors import DeviceError
from featx.network import engine_choice, openvino_engine
from featx.network.backbone import build_network
from featx.network.engine import TorchEngine
from featx.network.engine_choice import compare_rows, make_engine
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.quantisation import _Moments, find_ranges

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 64, 64, 3), np.uint8)


@pytest.fixture
def openvino(monkeypatch):
    """OpenVINO is there; the other tests run without it."""
    pytest.importorskip("openvino")
    for module in (engine_choice, openvino_engine):
        monkeypatch.setattr(module, "has_openvino", lambda: True)


def test_moments_of_what_a_relu_leaves_are_those_of_drawn_numbers():
    mean, deviation = (
        torch.tensor([0.5, -1.0, 0.0]).double(),
        torch.tensor([2.0, 0.5, 1.0]).double(),
    )
    drawn = torch.from_numpy(np.random.default_rng(0).normal(size=(400_000, 3))) * deviation + mean
    found, seen = _Moments(mean, deviation).rectify(), drawn.clamp(min=0)
    assert torch.allclose(found.mean, seen.mean(0), atol=5e-3)
    assert torch.allclose(found.deviation, seen.std(0), atol=5e-3)
    # 1 / sqrt(2 pi), and sqrt(1/2 - 1/(2 pi)).
    assert found.mean[2] == pytest.approx(0.3989423)
    assert found.deviation[2] == pytest.approx(0.5838194)


def test_a_range_is_six_deviations_of_the_widest_channel(tiny_weights):
    network = build_network(tiny_weights.state, backbone=tiny_weights.backbone)
    with torch.no_grad():
        network.bn1.bias.fill_(1.0)
        network.bn1.weight.fill_(0.5)
        network.bn1.weight[0] = -2.0  # a deviation has no sign
        network.layer1[0].bn3.bias.fill_(3.0)
        network.layer1[0].bn3.weight.fill_(3.0)
        network.layer1[0].downsample[1].bias.fill_(-1.0)
        network.layer1[0].downsample[1].weight.fill_(4.0)
    ranges = find_ranges(network)
    convolutions = {n for n, one in network.named_modules() if isinstance(one, torch.nn.Conv2d)}
    assert set(ranges) == convolutions - {"conv1"}
    assert ranges["layer1.0.conv1"] == ranges["layer1.0.downsample.0"] == pytest.approx(1 + 6 * 2)
    # Of the sum of two that are independent: 3 - 1, and sqrt(9 + 16).
    assert ranges["layer1.1.conv1"] == pytest.approx(2 + 6 * 5)


# Blocks of two convolutions, and of three of which one is grouped. Drawn
# networks make much of any difference, the more the deeper: so here of the first stage.
@pytest.mark.parametrize("backbone", ["resnet18", "resnext50_32x4d"])
def test_int8_is_near_and_its_rows_stand_alone(backbone, openvino):
    weights = make_weights(backbone)
    wide, layers = BACKBONES[backbone], "layer1:avg"
    engine = OpenVinoEngine(weights, 4, "int8", layers=layers)
    rows = engine.run(PIXELS[:4])
    expected = TorchEngine(weights, "cpu", 4, layers=layers).run(PIXELS[:4])
    error, cosine = compare_rows(rows[:, wide:], expected[:, wide:])
    assert cosine > 0.999
    assert error > 1e-3  # it really computed in 8 bits
    assert np.array_equal(engine.run(PIXELS[2:3])[0], rows[2])


def test_images_that_8_bits_do_not_suit_are_refused(openvino, tiny_weights, monkeypatch):
    made = make_engine(tiny_weights, lambda n: PIXELS[:n], engine="openvino", precision="int8")
    assert (made.precision, made.name.split()[0]) == ("int8", "openvino")
    monkeypatch.setattr(engine_choice, "INT8_COSINE", 0.99999)
    with pytest.raises(DeviceError, match=r"too far from those of float32 \(least cosine 0\.9"):
        make_engine(tiny_weights, lambda n: PIXELS[:n], precision="int8")


def test_torch_has_no_int8(tiny_weights):
    with pytest.raises(DeviceError, match=r"OpenVINO's, on a CPU: pip install 'featx\[openvino\]'"):
        make_engine(tiny_weights, lambda n: PIXELS[:n], engine="torch", precision="int8")
