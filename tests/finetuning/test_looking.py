"""The look before training, in threads and processes; and what is pinned for training."""

import contextlib
import threading

import numpy as np
import pytest
import torch
from shared import PROVENANCE, CountingEngine

from featx.data import feeding
from featx.data.feeding import Decoding, open_feed
from featx.data.hashing import hash_rows
from featx.errors import ImageError
from featx.extraction.shared_runner import SharedRunner
from featx.finetuning import tuned_network
from featx.finetuning.looking import leave_out_undecodable
from featx.finetuning.recipe import TuneOptions, make_tune_recipe
from featx.finetuning.tuned_network import TunedNetwork, open_images
from featx.sources.reading import read_dataset
from featx.timing import Stages


@pytest.fixture
def decoding(tiny_weights):
    """By Pillow alone: its processes load no torch."""
    return Decoding(tiny_weights.preprocessing, "pillow")


@pytest.fixture
def rows(photos):
    return hash_rows(read_dataset(photos, "first:4,2"), "skip")


@pytest.fixture
def started(monkeypatch):
    """How many processes each time."""
    start, told = feeding.Decoders, []
    monkeypatch.setattr(feeding, "Decoders", lambda *args: told.append(args[2]) or start(*args))
    return told


def test_processes_leave_out_what_threads_leave_out(photos, decoding, started):
    (photos / "cat" / "00.jpg").write_bytes((photos / "cat" / "00.jpg").read_bytes()[:900])
    (photos / "owl" / "08.jpg").write_text("no image")
    (photos / "dog" / "03.png").write_bytes(b"")
    rows = hash_rows(read_dataset(photos, "first:4,2"), "skip")

    def look(processes, on_error="skip"):
        return leave_out_undecodable(
            rows, on_error, decoding, "cpu", num_workers=2, processes=processes
        )

    kept, skipped = look(0)
    assert [(one.path, one.kind) for one in skipped] == [
        ("cat/00.jpg", "damaged"), ("dog/03.png", "empty"), ("owl/08.jpg", "not-an-image"),
    ]  # fmt: skip
    assert look(None)[1] == skipped  # threads: the network is on a CPU
    assert started == []
    others, again = look(1)
    assert started == [1]
    assert again == skipped
    assert others.dataset.paths == kept.dataset.paths
    assert len(kept.hashes) == 24
    with pytest.raises(ImageError, match=r"00\.jpg"):
        look(1, "fail")


def test_processes_look_where_a_gpu_would_wait(rows, decoding, started, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(feeding, "PROCESSES_SECONDS", -np.inf)
    leave_out_undecodable(rows, "skip", decoding, "cuda", num_workers=2, processes=None)
    assert started == [2]
    (said,) = [m for m in caplog.messages if m.startswith("decoding in processes: ")]
    assert said.endswith(" images/s")  # no network takes them


@pytest.fixture
def pinning():
    """`pinning.pin`, as an engine has it, and the memory that is pinned."""

    class Pinning(CountingEngine):
        now = ()

        @contextlib.contextmanager
        def pin(self, pixels):
            self.now = (pixels,)
            yield
            self.now = ()

    return Pinning()


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_what_processes_share_is_pinned_for_training_on_a_gpu(
    rows, tiny_weights, pinning, monkeypatch, device
):
    network = TunedNetwork(tiny_weights, 3, "fc", 0)
    recipe = make_tune_recipe(rows, tiny_weights, "fc", TuneOptions(decode="pillow", batch_size=5))
    monkeypatch.setattr(tuned_network, "pin_pages", pinning.pin)
    monkeypatch.setattr(TunedNetwork, "device", torch.device(device))
    with open_images(
        rows, network, recipe, tiny_weights.preprocessing, num_workers=1, processes=1
    ) as images:
        first = next(images["train"].iterate(np.arange(12), 5, 0)).numpy()
        assert [np.shares_memory(first, one) for one in pinning.now] == [True] * (device == "cuda")
    assert pinning.now == ()


@pytest.mark.parametrize("has", [True, False])
def test_what_processes_share_is_pinned_for_a_transformer(photos, decoding, pinning, has):
    engine = pinning if has else CountingEngine()
    runner = SharedRunner(engine, PROVENANCE, threading.Lock())
    jobs = enumerate((path,) for path in sorted(photos.glob("*/*.jpg"))[:3])
    with open_feed(
        decoding, runner, (), 3, num_workers=1, processes=1, stages=Stages()
    ) as feed:  # fmt: skip
        (batch,) = feed.load_batches(jobs, 4)
        assert [np.shares_memory(batch.pixels, one) for one in pinning.now] == [True] * has
    assert pinning.now == ()
