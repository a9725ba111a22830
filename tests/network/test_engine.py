import numpy as np
import pytest
import torch

from featx.doctor import probe_rows
from featx.errors import DeviceError
from featx.network import engine
from featx.network.engine import TorchEngine, choose_device, full_float32

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


@pytest.fixture
def restored():
    """What torch is told of float32 is untold."""
    cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
    before = cudnn.conv.fp32_precision
    yield
    torch.backends.fp32_precision = "none"
    cudnn.conv.fp32_precision, mkldnn.conv.fp32_precision = before, "none"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (torch.backends, "tf32"),
        (torch.backends, "bf16"),
        (torch.backends.cudnn.conv, "ieee"),
        (torch.backends.cudnn.conv, "tf32"),
    ],
)
def test_float32_is_float32_whatever_torch_was_told(tiny_weights, pixels, place, value):
    """By the newer of its interfaces, of which the older will not hear."""
    engine = TorchEngine(tiny_weights, "cpu", batch_size=7)
    expected = engine.run(pixels)
    conv = torch.backends.cudnn.conv
    place.fp32_precision = value
    before = conv.fp32_precision
    assert np.array_equal(engine.run(pixels), expected)
    with full_float32():
        assert conv.fp32_precision == torch.backends.mkldnn.conv.fp32_precision == "ieee"
        with full_float32(tf32=True):
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision == "ieee"
    assert conv.fp32_precision == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_said():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match=r"torch finds no CUDA device here \([\w ]+\); say auto"):
        choose_device("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_why_cuda_is_not_there_is_said(monkeypatch):
    def refuse():
        raise RuntimeError(
            "The NVIDIA driver on your system is too old (found version 11040). Please update your "
            "GPU driver by downloading and installing a new version from the URL: http://www."
        )

    monkeypatch.setattr(torch.cuda, "init", refuse)
    with pytest.raises(DeviceError) as found:
        choose_device("cuda")
    assert str(found.value) == (
        "--device cuda: torch finds no CUDA device here (The NVIDIA driver on your system is too "
        "old (found version 11040)); say auto or cpu"
    )


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_devices_that_are_not_there_are_said(monkeypatch, device):
    monkeypatch.setitem(engine._THERE, device, lambda: False)
    with pytest.raises(DeviceError, match=f"torch finds no {device.upper()} device here"):
        choose_device(device)
    monkeypatch.setitem(engine._THERE, device, lambda: True)
    assert choose_device(device).type == device
    assert choose_device("auto").type in ("cpu", "cuda")  # they are taken where they are named
