import itertools
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shared import CountingEngine, draw_photo

from featx.data import feeding
from featx.data.dataset import Leftovers, Skipped
from featx.deployment import stream
from featx.deployment.classifier import read_classifier
from featx.deployment.stream import RunOptions, name_sources, stream_images
from featx.errors import DatasetError, ExtractionError
from featx.features.file import read_features
from featx.heads.fit import fit


@pytest.fixture
def classifier(feature_file, tmp_path):
    fit(read_features(feature_file("first:6,1")), "centroid", output=tmp_path / "m.safetensors")
    return read_classifier(tmp_path / "m.safetensors")


@pytest.mark.parametrize("places", [False, True])
def test_each_image_is_judged_once_in_order_with_what_the_network_gave(classifier, photos, places):
    (photos / "cat" / "05.png").write_text("x")
    left_out = Leftovers()
    (photos / "cat" / "note.txt").touch()
    seen = []

    def judge(batch):
        seen.append((len(batch.paths), batch.pixels.shape, batch.rows.shape))
        return [path.name for path in batch.paths]

    sources = name_sources([photos / "cat"], [photos / "dog" / "00.jpg"], left_out)
    how = RunOptions(engine="torch", batch_size=4, num_workers=0)
    said = list(stream_images(classifier, sources, judge, how, "look", places))
    names = [one.kind if isinstance(one, Skipped) else one for one in said]
    whole = [f"{i:02d}.{'png' if i % 2 else 'jpg'}" for i in range(9)]
    assert names == [*whole[:5], "not-an-image", *whole[6:], "00.jpg"]
    wide = 2048 * (5 if places else 1)
    assert seen == [(n, (n, 64, 64, 3), (n, wide)) for n in (4, 4, 1)]
    assert [one.count for one in left_out.list()] == [1]


def test_what_is_not_there_is_named_before_anything_runs(classifier, tmp_path):
    with pytest.raises(DatasetError, match="no such image: "):
        name_sources([tmp_path / "gone.jpg"])
    nothing = stream_images(classifier, name_sources([]), lambda batch: [], RunOptions(), "look")
    with pytest.raises(DatasetError, match="the list is empty"):
        list(nothing)


@pytest.fixture
def pillows(classifier):
    """The same, of features that Pillow alone decoded: its processes load no torch."""
    return replace(classifier, decode="pillow")


def name_judged(batch):
    return [(path.name, row.tobytes(), p.tobytes()) for path, row, p in
            zip(batch.paths, batch.rows, batch.pixels, strict=True)]  # fmt: skip


def test_processes_give_what_threads_give(pillows, photos):
    (photos / "cat" / "05.png").write_text("x")
    listed = [photos / "dog" / "00.jpg", photos / "gone.jpg"]

    def run(processes):
        how = RunOptions(engine="torch", batch_size=4, decode_processes=processes)
        sources = name_sources([photos / "cat"], listed)
        return list(stream_images(pillows, sources, name_judged, how, "look"))

    assert run(2) == run(0)


def test_what_is_no_number_is_judged_of_no_image(classifier, photos, monkeypatch):
    monkeypatch.setattr(stream, "make_engine", lambda *_, **__: CountingEngine(broken=True))
    found = stream_images(
        classifier, name_sources([photos / "cat"]), name_judged, RunOptions(), "look"
    )
    with pytest.raises(ExtractionError, match=r"NaN or infinite features for .*cat/00\.jpg: check"):
        list(found)


def test_a_process_that_is_killed_is_an_error_with_its_image(pillows, tmp_path):
    for i in range(40):
        draw_photo(tmp_path / f"{i:02d}.jpg", 0, i)
    how = RunOptions(engine="torch", batch_size=4, decode_processes=1)
    found = stream_images(pillows, name_sources([tmp_path]), name_judged, how, "look")
    next(found)
    own = Path(f"/proc/{os.getpid()}/task")
    (child,) = {int(n) for one in own.glob("*/children") for n in one.read_text().split()}
    os.kill(child, signal.SIGKILL)
    with pytest.raises(ExtractionError, match=r"\d\d\.jpg: the process that decoded it was killed"):
        list(found)


def test_a_list_that_is_being_written_is_taken_as_it_comes(classifier, photos):
    taken = []

    def write():
        for path in itertools.cycle(sorted((photos / "cat").iterdir())):
            taken.append(path)
            yield path

    how = RunOptions(engine="torch", batch_size=2, num_workers=0)
    found = stream_images(classifier, name_sources([], write()), name_judged, how, "look")
    next(found)
    found.close()
    assert len(taken) < 10


@pytest.mark.parametrize("written", [False, True])
def test_a_gpu_is_fed_by_processes_where_they_pay(pillows, photos, monkeypatch, caplog, written):
    """Of images in folders and finished lists, which are looked for first."""
    caplog.set_level(logging.INFO)
    make = stream.make_engine

    def pretend(*words, **named):
        engine = make(*words, **named)
        engine.device = "cuda"
        return engine

    monkeypatch.setattr(stream, "make_engine", pretend)
    monkeypatch.setattr(stream, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(feeding, "PROCESSES_SECONDS", -np.inf)  # they pay in any case
    listed = sorted((photos / "cat").iterdir())
    how = RunOptions(device="cpu", engine="torch", batch_size=4, num_workers=2)
    sources = name_sources([photos / "dog"], iter(listed) if written else listed)
    assert len(list(stream_images(pillows, sources, name_judged, how, "look"))) == 18
    assert ("decoding in processes" in caplog.text) != written
