"""What of CUDA can be tried without it: how a batch comes to fit, what failures say."""

import numpy as np
import pytest
import torch
from shared import TINY

from featx.errors import DeviceError
from featx.network.cuda_engine import CudaEngine, build_largest, explain_device
from featx.network.engine import TorchEngine


def test_a_batch_is_halved_until_it_fits_and_that_is_said(caplog):
    tried = []

    def build(size):
        tried.append(size)
        if size > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return f"of {size}"

    assert build_largest(build, 128) == ("of 16", 16)
    assert tried == [128, 64, 32, 16]
    assert [message.partition(";")[0] for message in caplog.messages] == [
        f"cuda: not enough memory for batches of {size} images" for size in (128, 64, 32)
    ]


def test_no_memory_for_one_image_is_an_error():
    def build(size):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceError, match="not enough memory for a single image"):
        build_largest(build, 3)


def test_a_device_that_fails_is_a_sentence_and_a_bug_is_none():
    with pytest.raises(DeviceError, match=r"the GPU failed \(CUDA error: unspecified launch fai"):  # noqa: SIM117
        with explain_device():
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might")
    with pytest.raises(RuntimeError, match="mat1 and mat2") as found, explain_device():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not isinstance(found.value, DeviceError)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_is_said(tiny_weights):
    with pytest.raises(DeviceError, match="torch finds no CUDA device here"):
        CudaEngine(tiny_weights, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_gpu_gives_the_cpus_features(tiny_weights, precision):
    pixels = np.random.default_rng(0).integers(0, 256, (7, TINY.crop, TINY.crop, 3), np.uint8)
    expected = TorchEngine(tiny_weights, "cpu", 7).run(pixels)
    engine = CudaEngine(tiny_weights, 8, precision)
    found = engine.run(pixels)
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < (1e-4 if precision == "fp32" else 5e-2)
    # Two under way, pinned or not, and a batch that is not full: the same bits.
    with engine.pin(full := np.concatenate([pixels, pixels[:1]])):
        first, second = engine.submit(full), engine.submit(pixels[:3])
        assert np.array_equal(first()[:7], found)
        assert np.array_equal(second(), found[:3])
