"""How images come to the network: threads and processes give the same, and which is chosen."""

import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared import PROVENANCE, CountingEngine

from featx.config import Preprocessing
from featx.data.feeding import Decoding, open_feed, pays_processes, run_batches
from featx.data.hashing import hash_images
from featx.data.loading import Batch
from featx.decoding.decoders import describe_decoder
from featx.decoding.pixel_format import Seen
from featx.errors import ArgumentError
from featx.extraction.extract import extract_inventory
from featx.extraction.parts import name_job
from featx.extraction.request import Request
from featx.extraction.runner import make_decoding
from featx.sources.reading import read_inventory
from featx.timing import Stages


@pytest.fixture
def work(photos, tmp_path):
    """`work(name, processes)`: all photographs and some that are none, without a network."""
    (photos / "cat" / "x.jpg").write_bytes((photos / "cat" / "00.jpg").read_bytes()[:900])
    (photos / "dog" / "x.png").write_bytes(b"")
    (photos / "owl" / "x.jpg").write_text("no image")

    def run(name, processes, decode="pillow"):
        inventory = hash_images(read_inventory(photos, "first:4,2"), "skip")
        request = Request(
            data=photos, output=tmp_path / name / "F.h5", cache_dir=tmp_path / name,
            decode_processes=processes, num_workers=2,
        )  # fmt: skip
        made = replace(PROVENANCE, decoder=describe_decoder(decode))
        return extract_inventory(inventory, CountingEngine(), made, request)

    return run


@pytest.mark.parametrize("decode", ["pillow", "exact"])
def test_processes_give_the_bytes_of_threads(work, caplog, decode):
    caplog.set_level(logging.DEBUG)
    by_threads, by_processes = work("threads", 0, decode), work("processes", 2, decode)
    assert by_processes.features.read_bytes() == by_threads.features.read_bytes()
    assert by_processes.skipped_files == by_threads.skipped_files
    kinds = {one.path: one.kind for one in by_processes.skipped_files}
    assert kinds == {"cat/x.jpg": "damaged", "dog/x.png": "empty", "owl/x.jpg": "not-an-image"}
    assert "in 2 threads beside them" in caplog.text
    assert "in 2 processes beside them" in caplog.text


def test_memory_that_cannot_be_had_means_threads(work, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert work("F", 2).extracted == 27
    assert "decoding in threads, since processes cannot be had" in caplog.text


@pytest.mark.parametrize("wrong", [{"processes": -1}, {"num_workers": -2}])
def test_a_number_below_nothing_is_named(wrong):
    decoding = Decoding(Preprocessing.from_dict(PROVENANCE.preprocessing), "pillow")
    asked = {"num_workers": 1, "processes": 0} | wrong
    feed = open_feed(decoding, CountingEngine(), (), 3, stages=Stages(), **asked)
    said = r"(num_workers|decode_processes) is -[12]: at least 0"
    with pytest.raises(ArgumentError, match=said), feed:
        pass


class Gpu(CountingEngine):
    """An engine that says it is on a GPU."""

    device = "cuda"


@pytest.mark.parametrize(
    ("engine", "seconds", "count", "decoded"),
    [
        (Gpu, -np.inf, 27, "2 processes"),
        (Gpu, 5.0, 27, "2 threads"),  # all threads need less than starting processes takes
        (Gpu, -np.inf, None, "2 threads"),  # nobody knows whether it pays
        (CountingEngine, -np.inf, 27, "2 threads"),
    ],
)
def test_auto_takes_processes_where_a_gpu_waits(
    photos, monkeypatch, engine, seconds, count, decoded
):
    monkeypatch.setattr("featx.data.feeding.PROCESSES_SECONDS", seconds)
    inventory = hash_images(read_inventory(photos), "skip")
    jobs = (name_job(inventory, image) for image in inventory.iterate_read())
    with open_feed(
        make_decoding(PROVENANCE, Seen()), engine(), jobs, count,
        num_workers=2, processes=None, stages=Stages(),
    ) as feed:  # fmt: skip
        assert feed.describe() == decoded


def test_processes_draw_what_threads_draw(photos):
    """Augmented or not, by the seeds that come with an image."""
    decoding = Decoding(Preprocessing.from_dict(PROVENANCE.preprocessing), "pillow")
    paths = sorted(photos.glob("*/*.jpg"))[:3]
    jobs = [(i, (path, None, draw)) for i, (path, draw) in enumerate(
        itertools.product(paths, [None, (0, 1, 7), (0, 2, 7)]))]  # fmt: skip

    def load(processes):
        with open_feed(
            decoding, CountingEngine(), (), 9, num_workers=2, processes=processes, stages=Stages()
        ) as feed:
            return np.concatenate([b.pixels.copy() for b in feed.load_batches(iter(jobs), 4)])

    drawn = load(0)
    assert np.array_equal(load(2), drawn)
    assert len({pixels.tobytes() for pixels in drawn}) == 9


def test_the_next_batch_is_begun_before_the_last_is_waited_for():
    """Of what has `submit`; the others' batches are computed in turn."""
    told = []

    class Ahead(CountingEngine):
        def submit(self, pixels):
            told.append(f"begin {len(pixels)}")
            return lambda: told.append(f"wait {len(pixels)}") or self.run(pixels)

    batches = [Batch(np.arange(n), np.zeros((n, 8, 8, 3), np.uint8), ()) for n in (4, 0, 3)]
    ahead = list(run_batches(Ahead(), batches, Stages()))
    assert told == ["begin 4", "wait 4", "begin 3", "wait 3"]
    for (batch, rows), (_, expected) in zip(
        ahead, run_batches(CountingEngine(), batches, Stages()), strict=True
    ):
        assert len(rows) == len(batch.rows)
        assert np.array_equal(rows, expected)


def test_processes_pay_by_what_waiting_costs():
    # 16,000 images by 1,345/s and a network of 13,600/s: 11.9 s and 1.2 s.
    assert pays_processes(1 / 1345, 1 / 13600, 16_000)
    assert not pays_processes(1 / 1345, 1 / 13600, 6_000)
    assert not pays_processes(1 / 1345, 1 / 900, 1_000_000)


def test_ctrl_c_ends_all_and_keeps_what_is_done(photos, tmp_path):
    """As a terminal sends it: to the process that was started, which ends those it has started."""
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
import test_feeding
test_feeding.run_slowly({str(photos)!r}, {str(tmp_path / "F.h5")!r})
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    numbers = [int(word) for word in process.stdout.readline().split()]
    assert len(numbers) == 2
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "of 27 images are kept" in said
    assert said.rstrip().endswith("KeyboardInterrupt")
    for number in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    assert (tmp_path / "F.h5.parts").is_dir()


def run_slowly(photos, output):
    """The body of a process that is interrupted: says who decodes, and takes its time."""

    class Slow(CountingEngine):
        def run(self, pixels):
            if self.images == 4:
                children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
                print(children, flush=True)  # noqa: T201
            if self.images >= 4:
                time.sleep(60)
            return super().run(pixels)

    inventory = hash_images(read_inventory(photos), "skip")
    request = Request(data=photos, output=Path(output), cache_dir=Path(output).parent,
                      decode_processes=2)  # fmt: skip
    extract_inventory(inventory, Slow(), PROVENANCE, request)
