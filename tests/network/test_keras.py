import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from featx.errors import WeightsError
from featx.network.backbone import empty_state
from featx.network.engine import TorchEngine
from featx.network.keras import convert_keras
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import check_state

BLOCKS = {2: "abc", 3: "abcd", 4: "abcdef", 5: "abc"}
WIDTHS = {2: (64, 256), 3: (128, 512), 4: (256, 1024), 5: (512, 2048)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A layers model with Keras' names and shapes and random numbers, in two shards."""
    rng = np.random.default_rng(0)
    arrays = {}

    def conv(name, norm, kernel, inside, outside):
        arrays[f"{name}/kernel"] = rng.normal(0, 0.05, (kernel, kernel, inside, outside))
        arrays[f"{name}/bias"] = rng.normal(0, 1, outside)
        arrays[f"{norm}/gamma"] = rng.uniform(0.5, 2, outside)
        arrays[f"{norm}/beta"] = rng.normal(0, 1, outside)
        arrays[f"{norm}/moving_mean"] = rng.normal(0, 1, outside)
        # Small, so that an epsilon of 1e-5 in place of 1e-3 would show.
        arrays[f"{norm}/moving_variance"] = rng.uniform(1e-4, 1e-2, outside)

    conv("conv1", "bn_conv1", 7, 3, 64)
    inside = 64
    for stage, letters in BLOCKS.items():
        narrow, wide = WIDTHS[stage]
        for letter in letters:
            name = f"{stage}{letter}_branch"
            conv(f"res{name}2a", f"bn{name}2a", 1, inside, narrow)
            conv(f"res{name}2b", f"bn{name}2b", 3, narrow, narrow)
            conv(f"res{name}2c", f"bn{name}2c", 1, narrow, wide)
            if letter == "a":
                conv(f"res{name}1", f"bn{name}1", 1, inside, wide)
            inside = wide
    arrays["fc1000/kernel"] = rng.normal(0, 0.02, (2048, 1000))
    arrays["fc1000/bias"] = rng.normal(0, 1, 1000)
    arrays = {name: array.astype("<f4") for name, array in arrays.items()}
    folder = tmp_path_factory.mktemp("keras")
    data = b"".join(array.tobytes() for array in arrays.values())
    (folder / "a.bin").write_bytes(data[:1_000_001])  # not at a number's edge
    (folder / "b.bin").write_bytes(data[1_000_001:])
    weights = [{"name": n, "shape": a.shape, "dtype": "float32"} for n, a in arrays.items()]
    manifest = {"weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": weights}]}
    (folder / "model.json").write_text(json.dumps(manifest))
    return folder, arrays


def keras_conv_norm(x, arrays, conv, norm, **options):
    """Convolution with bias and batch norm with Keras' epsilon, straight from its definition."""
    kernel = torch.from_numpy(arrays[f"{conv}/kernel"]).permute(3, 2, 0, 1).double()
    y = F.conv2d(x, kernel, torch.from_numpy(arrays[f"{conv}/bias"]).double(), **options)
    mean, variance, gamma, beta = (
        torch.from_numpy(arrays[f"{norm}/{k}"]).double().view(-1, 1, 1)
        for k in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    return (y - mean) / torch.sqrt(variance + 1e-3) * gamma + beta


def torch_conv_norm(x, state, conv, norm, **options):
    y = F.conv2d(x, state[f"{conv}.weight"].double(), **options)
    parts = (
        state[f"{norm}.{k}"].double() for k in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(y, *parts, eps=1e-5)


def test_bias_epsilon_and_channel_order_fold_exactly(model):
    folder, arrays = model
    state = check_state(convert_keras(folder), empty_state(), "converted")
    rgb = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, 17, 17)))
    expected = keras_conv_norm(rgb.flip(1), arrays, "conv1", "bn_conv1", stride=2, padding=3)
    found = torch_conv_norm(rgb, state, "conv1", "bn1", stride=2, padding=3)
    assert (found - expected).norm() / expected.norm() < 1e-6
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 512, 5, 5)))
    expected = keras_conv_norm(x, arrays, "res4a_branch1", "bn4a_branch1", stride=2)
    found = torch_conv_norm(x, state, "layer3.0.downsample.0", "layer3.0.downsample.1", stride=2)
    assert (found - expected).norm() / expected.norm() < 1e-6
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 512, 5, 5)))
    expected = keras_conv_norm(x, arrays, "res5c_branch2b", "bn5c_branch2b", padding=1)
    found = torch_conv_norm(x, state, "layer4.2.conv2", "layer4.2.bn2", padding=1)
    assert (found - expected).norm() / expected.norm() < 1e-6
    assert np.array_equal(state["fc.weight"].numpy(), arrays["fc1000/kernel"].T)


def test_what_is_not_that_model(model, tmp_path):
    folder, _ = model
    with pytest.raises(WeightsError, match="does not hold Keras' ResNet50"):
        convert_keras(tmp_path)
    for name in ("model.json", "a.bin"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "b.bin").write_bytes((folder / "b.bin").read_bytes()[:-4])
    with pytest.raises(WeightsError, match="does not hold Keras' ResNet50"):
        convert_keras(tmp_path)
    manifest = json.loads((folder / "model.json").read_text())
    manifest["weightsManifest"][0]["weights"][0]["name"] = "conv9/kernel"
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    (tmp_path / "b.bin").write_bytes((folder / "b.bin").read_bytes())
    with pytest.raises(WeightsError, match="conv1/kernel"):
        convert_keras(tmp_path)


@pytest.mark.real_weights
@pytest.mark.parametrize("engine", [TorchEngine, OpenVinoEngine])
def test_the_real_parameters_meet_the_reference(keras_weights, engine):
    if engine is OpenVinoEngine:
        pytest.importorskip("openvino")
    with np.load(Path(__file__).parent / "reference" / "keras_reference.npz") as reference:
        images, features = reference["images"], reference["features"]
        probabilities = reference["probabilities"]
    found = engine(keras_weights, batch_size=4).run(images)
    error = np.linalg.norm(found - features, axis=1) / np.linalg.norm(features, axis=1)
    assert error.max() < 1e-5
    assert np.abs(found - features).max() / np.abs(features).max() < 1e-5
    fc, bias = (keras_weights.state[f"fc.{k}"].numpy() for k in ("weight", "bias"))
    logits = torch.from_numpy(found @ fc.T + bias)
    assert np.abs(logits.softmax(1).numpy() - probabilities).max() < 1e-5
