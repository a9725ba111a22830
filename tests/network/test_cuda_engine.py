"""What of CUDA can be tried without it: how a batch comes to fit, what failures say."""

import gc
import logging
import weakref

import numpy as np
import pytest
import torch
from made_gpu import PretendedGpu
from shared import TINY

from featx.data.feeding import Decoding, open_feed, run_batches
from featx.errors import DeviceError, ExtractionError
from featx.network.cuda_engine import CudaEngine, build_largest, explain_device
from featx.network.engine import TorchEngine
from featx.network.engine_choice import warm_up
from featx.timing import Stages

NO_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 13.50 MiB is free."
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(NO_MEMORY),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_a_batch_is_halved_until_it_fits_and_that_is_said(caplog, error):
    tried = []

    def build(size):
        tried.append(size)
        if size > 20:
            raise error
        return f"of {size}"

    assert build_largest(build, 128) == ("of 16", 16)
    assert tried == [128, 64, 32, 16]
    assert [message.partition(";")[0] for message in caplog.messages] == [
        f"cuda: not enough memory for batches of {size} images" for size in (128, 64, 32)
    ]


def test_no_memory_for_one_image_is_an_error():
    def build(size):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceError, match=r"not enough memory for a single image \(CUDA out of m"):
        build_largest(build, 3)


def test_what_is_no_lack_of_memory_halves_nothing(caplog):
    def build(size):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        build_largest(build, 3)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might"),
            r"the GPU failed \(CUDA error: unspecified launch failure\): what an extraction has",
        ),
        (torch.AcceleratorError("HIP error: invalid device"), r"the GPU failed \(HIP error: inv"),
        (
            torch.OutOfMemoryError(NO_MEMORY),
            r"^the GPU has not enough memory \(CUDA out of memory. Tried to allocate 20.00 MiB\): "
            r"say a smaller --batch-size, or free some",
        ),
    ],
)
def test_a_device_that_fails_is_a_sentence(error, said):
    with pytest.raises(DeviceError, match=said), explain_device():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ExtractionError("CUDA.jpg: the process that decoded it was killed; memory was short"),
    ],
)
def test_what_is_none_of_the_devices_is_left_as_it_is(error):
    with pytest.raises(type(error)) as found, explain_device():
        raise error
    assert found.value is error


def test_a_device_that_does_not_begin_is_a_sentence(monkeypatch):
    def fail(*_, **__):
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution")

    monkeypatch.setattr("featx.network.engine_choice.choose_device", torch.device)
    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(DeviceError, match=r"the GPU failed \(CUDA error: no kernel image is avai"):
        warm_up("cuda")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, TINY.crop, TINY.crop, 3), np.uint8)


@pytest.mark.parametrize("captures", [True, False])
def test_two_batches_under_way_do_not_meet(tiny_weights, pixels, monkeypatch, caplog, captures):
    expected = TorchEngine(tiny_weights, "cpu", 8).run(pixels)
    with PretendedGpu(monkeypatch, captures=captures) as gpu:
        engine = CudaEngine(tiny_weights, 8)
        assert (
            caplog.messages == []
            if captures
            else [
                "cuda: operations are started one by one, since no graph is made: CUDA error: "
                "operation not permitted"
            ]
        )
        with engine.pin(pixels):
            assert len(gpu.pinned) == 1
            # Each is asked for before the one before it is waited for.
            waits = [engine.submit(pixels), engine.submit(loose := pixels[:3].copy())]
            loose[:] = 0  # it is not pinned, and so it was copied
            found = [waits.pop(0)()]
            waits.append(engine.submit(pixels[::-1].copy()))
            found += [wait() for wait in waits]
        assert not gpu.pinned
    for rows, wanted in zip(found, (expected, expected[:3], expected[::-1]), strict=True):
        assert np.array_equal(rows, wanted)


def test_an_engine_that_nobody_has_leaves_its_memory(tiny_weights, monkeypatch):
    """At once: the next one may need it."""
    gc.disable()
    try:
        with PretendedGpu(monkeypatch):
            seen = weakref.ref(engine := CudaEngine(tiny_weights, 2))
            engine.run(np.zeros((1, TINY.crop, TINY.crop, 3), np.uint8))
            engine._pass._graph.steps.clear()  # which torch's would not refer to
            del engine
            assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("pins", [True, False])
def test_processes_write_where_a_gpu_reads_and_not_too_early(
    photos, tiny_weights, monkeypatch, caplog, pins
):
    caplog.set_level(logging.DEBUG)
    paths = sorted(photos.glob("*/*.jpg"))
    decoding = Decoding(TINY, "pillow")
    expected = TorchEngine(tiny_weights, "cpu", 4).run
    with PretendedGpu(monkeypatch, pins) as gpu:
        engine = CudaEngine(tiny_weights, 4)
        with open_feed(
            decoding, engine, (), len(paths), num_workers=1, processes=2, stages=Stages()
        ) as feed:
            assert len(gpu.pinned) == pins
            batches = feed.load_batches(((i, (path,)) for i, path in enumerate(paths)), 4)
            found = np.concatenate([rows for _, rows in run_batches(engine, batches, Stages())])
        assert not gpu.pinned
    pixels = np.stack([decoding(path) for path in paths])
    wanted = [expected(pixels[i : i + 4]) for i in range(0, len(paths), 4)]
    assert np.array_equal(found, np.concatenate(wanted))
    assert ("memory for batches is not pinned: CUDA error 801" in caplog.text) != pins


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
