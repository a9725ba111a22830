import numpy as np
import pytest
import torch

from featx.doctor import probe_rows
from featx.errors import DeviceError
from featx.network import engine
from featx.network.engine import TorchEngine, choose_device

pytestmark = pytest.mark.full_width


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)


def test_batch_sizes_give_the_same_features(tiny_weights, pixels):
    whole = TorchEngine(tiny_weights, "cpu", batch_size=7).run(pixels)
    assert whole.dtype == np.float32
    assert whole.shape == (7, 2048)
    for size in (1, 3):
        engine = TorchEngine(tiny_weights, "cpu", batch_size=size)
        parts = [engine.run(pixels[i : i + size]) for i in range(0, 7, size)]
        error = np.linalg.norm(np.concatenate(parts) - whole) / np.linalg.norm(whole)
        assert error < 1e-5


def test_a_row_does_not_depend_on_its_neighbours(tiny_weights, pixels):
    engine = TorchEngine(tiny_weights, "cpu", batch_size=8)
    together = engine.run(pixels)
    assert all(np.array_equal(engine.run(pixels[i : i + 1])[0], together[i]) for i in range(7))
    assert np.array_equal(engine.run(pixels[::-1].copy()), together[::-1])


def test_the_probe_agrees(tiny_weights):
    assert probe_rows(TorchEngine(tiny_weights, "cpu", batch_size=8), 64) == ()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_said():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match="torch finds no CUDA device here"):
        choose_device("cuda")


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_devices_that_are_not_there_are_said(monkeypatch, device):
    monkeypatch.setitem(engine._THERE, device, lambda: False)
    with pytest.raises(DeviceError, match=f"torch finds no {device.upper()} device here"):
        choose_device(device)
    monkeypatch.setitem(engine._THERE, device, lambda: True)
    assert choose_device(device).type == device
    assert choose_device("auto").type in ("cpu", "cuda")  # they are taken where they are named
