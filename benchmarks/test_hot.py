"""The functions that a run spends its time in, for pytest-benchmark: has a change made them slower?

make hot          # runs them, keeps the figures, compares with those kept before
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from made import make_features
from PIL import Image

from featx.config import C_GRID, TORCHVISION_V1
from featx.data.hashing import hash_rows
from featx.data.images import load_image
from featx.heads.linear import LinearClassifier
from featx.heads.logreg import search_logreg
from featx.machine import has_openvino
from featx.network.engine import TorchEngine
from featx.network.openvino_engine import OpenVinoEngine
from featx.network.weights import Weights
from featx.sources.reading import read_dataset


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Sixty pictures of 300 x 240, and one of twelve megapixels."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(60):
        path = root / "data" / "ab"[i % 2] / f"{i:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8))
        coarse.resize((300, 240), Image.BICUBIC).save(path)
    coarse.resize((4000, 3000), Image.BICUBIC).save(root / "large.jpg")
    return root


@pytest.fixture(scope="session")
def weights():
    torch.manual_seed(0)
    state = dict(torchvision.models.resnet50().state_dict())
    return Weights("random", TORCHVISION_V1, False, "random", "", state)


@pytest.mark.parametrize(
    ("name", "decode"), [("data/a/00.jpg", "exact"), ("large.jpg", "exact"), ("large.jpg", "fast")]
)
def test_load_image(benchmark, folder, name, decode):
    pixels = benchmark(load_image, folder / name, TORCHVISION_V1, decode=decode)
    assert pixels.shape == (224, 224, 3)


@pytest.mark.parametrize("make", [TorchEngine, OpenVinoEngine])
def test_engine(benchmark, weights, make):
    if make is OpenVinoEngine and not has_openvino():
        pytest.skip("OpenVINO is not installed")
    engine = make(weights, batch_size=8)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    assert benchmark(engine.run, pixels).shape == (8, 2048)


def test_hash_rows(benchmark, folder):
    dataset = read_dataset(folder / "data")
    assert len(benchmark(hash_rows, dataset, "skip").hashes) == 60


def test_search_logreg(benchmark):
    X, y = make_features(360, 10)
    found = benchmark.pedantic(
        search_logreg, (X[:300], y[:300], (X[300:], y[300:]), list(C_GRID)), rounds=3
    )
    assert found.fit.converged


def test_linear(benchmark):
    X, y = make_features(600, 10)
    assert benchmark(LinearClassifier(epochs=15).fit, X, y).best_epoch_ == 15
