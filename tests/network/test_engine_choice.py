import logging
import shutil

import numpy as np
import pytest
import torch
from shared import CountingEngine, draw_photo

from featx.doctor import probe_rows
from featx.errors import DeviceError
from featx.extraction.extract import extract
from featx.features.file import read_features
from featx.machine import describe_engine
from featx.network import engine_choice
from featx.network.engine import TorchEngine
from featx.network.engine_choice import AGREEMENT, compare_rows, make_engine
from featx.network.openvino_engine import OpenVinoEngine

openvino = pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)


@pytest.fixture
def both(monkeypatch):
    """OpenVINO is there; the other tests run without it, which is quicker."""
    monkeypatch.setattr(engine_choice, "has_openvino", lambda: True)


@pytest.mark.full_width
def test_openvino_gives_torchs_features(tiny_weights, pixels):
    engine = OpenVinoEngine(tiny_weights, batch_size=8)
    found = engine.run(pixels)
    assert found.dtype == np.float32
    assert found.shape == (7, 2048)
    error, _ = compare_rows(found, TorchEngine(tiny_weights, "cpu", batch_size=8).run(pixels))
    assert error < AGREEMENT
    assert probe_rows(engine, 64) == ()
    assert all(np.array_equal(engine.run(pixels[i : i + 1])[0], found[i]) for i in range(7))
    kept = found.copy()
    engine.run(pixels[::-1].copy())
    assert np.array_equal(found, kept)  # no view of what the next batch overwrites


@pytest.mark.full_width
def test_bf16_is_close(tiny_weights, pixels):
    exact = TorchEngine(tiny_weights, "cpu", batch_size=8).run(pixels)
    made = [TorchEngine(tiny_weights, "cpu", batch_size=8, precision="bf16")]
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        made.append(OpenVinoEngine(tiny_weights, batch_size=8, precision="bf16"))
    for engine in made:
        assert engine.precision == "bf16"
        error, cosine = compare_rows(engine.run(pixels), exact)
        assert cosine > 0.999
        assert error > 1e-5  # it really computed in bf16
        assert probe_rows(engine, 64) == ()


def test_errors_and_cosines_by_hand():
    a, b = np.float32([[3, 4], [0, 2]]), np.float32([[3, 4], [2, 0]])
    error, cosine = compare_rows(a, b)
    assert error == pytest.approx(2**0.5)  # of the second row: |(-2, 2)| / 2
    assert cosine == pytest.approx(0)


@pytest.mark.full_width
def test_auto_takes_the_fastest_that_agrees(both, tiny_weights, pixels, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    made = make_engine(tiny_weights, lambda most: pixels[:most], batch_size=8)
    assert made.name == describe_engine("openvino")
    assert caplog.messages == [
        f"engine: {describe_engine('openvino')}, the fastest that is installed"
    ]
    real = OpenVinoEngine.run
    monkeypatch.setattr(OpenVinoEngine, "run", lambda self, pixels: real(self, pixels) * 1.001)
    made = make_engine(tiny_weights, lambda most: pixels[:most], batch_size=8)
    assert made.name == describe_engine("torch")
    assert (
        "openvino refused, because its features differ from torch's: relative error 1.0e-03"
        in (caplog.messages[-1])
    )


class Pretender(CountingEngine):
    """An engine of any speed and error."""

    def __init__(self, precision, seconds, factor=1.0):
        super().__init__()
        self.name, self.precision = "pretender 1", precision
        self.seconds, self.factor = seconds, factor

    def run(self, pixels):
        rows = super().run(pixels).copy()
        rows[:, 0] *= self.factor
        return rows


@pytest.mark.parametrize(
    ("rough", "taken", "said"),
    [
        (Pretender("bf16", 0.5), "bf16", "bf16, 2.0 times as fast, cosine 1.00000"),
        (Pretender("bf16", 0.9), "fp32", "bf16 refused, because it is no faster: 1.11 times"),
        (Pretender("bf16", 0.1, 3.0), "fp32", "bf16 refused, because its features differ: cosine"),
        (Pretender("bf16", 0.1, np.nan), "fp32", "bf16 refused, because its features differ"),
        (DeviceError("no bf16 here"), "fp32", "bf16 refused, because it does not run here: no bf"),
    ],
)
def test_bf16_is_taken_where_it_is_good_and_faster(
    tiny_weights, pixels, monkeypatch, caplog, rough, taken, said
):
    caplog.set_level(logging.INFO)

    def build(name, weights, place, batch_size, precision, given):
        assert given == ("last", False)
        if precision == "fp32":
            return Pretender("fp32", 1.0)
        if isinstance(rough, DeviceError):
            raise rough
        return rough

    monkeypatch.setattr(engine_choice, "_build", build)
    monkeypatch.setattr(engine_choice, "_time", lambda engine, x: (engine.run(x), engine.seconds))
    made = make_engine(
        tiny_weights, lambda most: pixels[:most][:4], engine="torch", precision="auto"
    )
    assert made.precision == taken
    assert caplog.messages[-1].removeprefix("precision: ").startswith(said)


@pytest.mark.parametrize(
    ("fp16", "bf16", "taken", "said"),
    [
        ((0.2, 1.0), (0.2, 1.0), "fp16", "fp16, 5.0 times as fast"),
        ((0.2, 3.0), (0.5, 1.0), "bf16", "fp16 refused, because its features differ"),
        ((0.9, 1.0), (0.9, 1.0), "fp32", "fp16 refused, because it is no faster: 1.11 times; bf16"),
    ],
)
def test_cuda_tries_fp16_first(tiny_weights, pixels, monkeypatch, fp16, bf16, taken, said):
    made = {"fp16": Pretender("fp16", *fp16), "bf16": Pretender("bf16", *bf16)}
    monkeypatch.setattr(engine_choice, "_build", lambda *told: made[told[4]])
    monkeypatch.setattr(engine_choice, "_time", lambda engine, x: (engine.run(x), engine.seconds))
    exact = Pretender("fp32", 1.0)
    exact.device = "cuda"
    found, why = engine_choice.try_faster(tiny_weights, exact, lambda most: pixels[:4])
    assert found.precision == taken
    assert why.startswith(said)


@pytest.mark.parametrize(
    ("bf16", "gain", "good", "taken", "said"),
    [
        (0.5, 0.3, True, "bf16", "bf16, 2.0 times as fast, cosine 1.00000"),
        (0.9, 0.3, True, "int8", "int8, 3.3 times as fast, cosine 1.00000; as it should be"),
        (0.9, 0.3, False, "fp32", "int8 refused, because as it should be"),
        (0.9, 0.95, True, "fp32", "int8 refused, because it is no faster: 1.05 times"),
    ],
)
def test_int8_is_judged_where_bf16_does_not_pay(
    tiny_weights, pixels, monkeypatch, bf16, gain, good, taken, said
):
    made = {"bf16": Pretender("bf16", bf16), "int8": Pretender("int8", gain)}
    monkeypatch.setattr(engine_choice, "_build", lambda *told: made[told[4]])
    monkeypatch.setattr(engine_choice, "_time", lambda engine, x: (engine.run(x), engine.seconds))
    exact, asked = Pretender("fp32", 1.0), []
    exact.name = "openvino 1"

    def judge(*engines):
        asked.append(engines)
        return good, "as it should be"

    found, why = engine_choice.try_faster(tiny_weights, exact, lambda most: pixels[:4], judge)
    assert found.precision == taken
    assert why.endswith(said)
    assert asked == ([(exact, made["int8"])] if (bf16, gain) == (0.9, 0.3) else [])
    # Without images to judge by, and under torch, which has none, it is not tried.
    found, why = engine_choice.try_faster(tiny_weights, exact, lambda most: pixels[:4])
    assert found.precision == ("bf16" if taken == "bf16" else "fp32")
    exact.name = "torch 2"
    assert "int8" not in engine_choice.try_faster(tiny_weights, exact, lambda m: pixels[:4])[1]


def test_a_device_of_which_nobody_knows_is_held_against_the_cpu(tiny_weights, pixels, monkeypatch):
    """A CPU by another name, right and wrong."""

    class Named(TorchEngine):
        factor = 1.0

        def __init__(self, weights, place, *rest):
            super().__init__(weights, "cpu", *rest)
            self.device = place

        def run(self, pixels):
            return super().run(pixels) * np.float32(self.factor)

    monkeypatch.setattr(engine_choice, "choose_device", lambda device: torch.device(device))
    monkeypatch.setattr(engine_choice, "_build", lambda name, *told: Named(*told[:-1], *told[-1]))
    options = {"device": "mps", "batch_size": 4}
    assert make_engine(tiny_weights, lambda most: pixels[:most], **options).device == "mps"
    Named.factor = 1.01
    with pytest.raises(
        DeviceError, match=r"--device mps: its features differ from the CPU's \(rel"
    ):
        make_engine(tiny_weights, lambda most: pixels[:most], **options)


def test_what_is_not_there_is_said(tiny_weights, pixels, monkeypatch):
    with pytest.raises(DeviceError, match="--precision fp16 is for CUDA; on a CPU say bf16"):
        make_engine(tiny_weights, lambda most: pixels[:most], engine="torch", precision="fp16")
    for name in ("torch", "openvino"):
        with pytest.raises(DeviceError, match="--precision tf32 is for CUDA"):
            make_engine(tiny_weights, lambda most: pixels[:most], engine=name, precision="tf32")
    monkeypatch.setattr("featx.network.openvino_engine.has_openvino", lambda: False)
    with pytest.raises(DeviceError, match=r"OpenVINO is not installed; pip install 'featx\[open"):
        make_engine(tiny_weights, lambda most: pixels[:most], engine="openvino")


def test_what_a_file_has_is_gone_on_with(both, stored, photos, tmp_path):
    path = tmp_path / "F.h5"
    options = {"output": path, "batch_size": 4}
    assert extract(photos, engine="torch", **options).engine == describe_engine("torch")
    draw_photo(photos / "cat" / "new.png", 0, 50)
    done = extract(photos, **options)
    assert (done.engine, done.extracted) == (describe_engine("torch"), 1)
    # Another precision is another file; auto takes the one that is there.
    assert extract(photos, precision="auto", **options).precision == "fp32"
    rough = tmp_path / "rough.h5"
    done = extract(photos, engine="torch", precision="bf16", output=rough, batch_size=4)
    assert (done.precision, done.extracted) == ("bf16", 28)
    assert read_features(rough).provenance.precision == "bf16"
    shutil.copy(photos / "cat" / "00.jpg", photos / "cat" / "copy.jpg")
    done = extract(photos, precision="auto", output=rough, batch_size=4)
    assert (done.precision, done.engine, done.extracted) == ("bf16", describe_engine("torch"), 0)


@pytest.mark.parametrize("batch_size", [-1, 65_537, 10**30])
def test_no_batch_is_larger_than_any_memory(tiny_weights, batch_size):
    with pytest.raises(DeviceError, match=f"batches of {batch_size} images: say from 1 to 65536"):
        make_engine(tiny_weights, None, batch_size=batch_size)
