import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from shared import draw_photo

from featx.config import Preprocessing
from featx.data.images import load_image
from featx.data.loading import SHARED_BATCHES, load_batches, load_shared
from featx.decoding import crops
from featx.decoding.pixel_format import Seen
from featx.decoding.processes import Decoders
from featx.errors import ImageError


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_keep_order_and_name_failures(workers):
    def load(i):
        if i % 5 == 2:
            raise ImageError(str(i), "broken", "damaged")
        time.sleep(0.002 * (i % 3))  # later ones finish first
        return np.full((2, 2, 3), i, np.uint8)

    batches = list(load_batches(load, range(13), 4, workers))
    rows = np.concatenate([b.rows for b in batches])
    assert rows.tolist() == [i for i in range(13) if i % 5 != 2]
    assert (np.concatenate([b.pixels for b in batches])[:, 0, 0, 0] == rows).all()
    assert [len(b.rows) for b in batches] == [4, 4, 2]
    assert [i for b in batches for i, _ in b.failures] == [2, 7, 12]


def test_decoding_does_not_run_away():
    started, lock = [], threading.Lock()

    def load(i):
        with lock:
            started.append(i)
        return np.zeros((1, 1, 3), np.uint8)

    batches = load_batches(load, range(1000), 4, 2)
    next(batches)
    time.sleep(0.1)
    assert len(started) <= 4 + 2 * 4 + 1
    batches.close()


def test_a_long_run_of_failures_is_given_out():
    def load(i):
        raise ImageError(str(i), "broken", "damaged")

    sizes = [len(batch.failures) for batch in load_batches(load, range(10), 4, 2)]
    assert sizes == [4, 4, 2]


def test_only_failures():
    def load(i):
        raise ImageError(str(i), "broken", "damaged")

    (batch,) = load_batches(load, range(3), 4, 0)
    assert len(batch.rows) == 0
    assert len(batch.failures) == 3


class LoadNoting:
    """Decodes as extraction does, in whatever process, and notes each picture that is decoded."""

    preprocessing = Preprocessing(20, 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))

    def __init__(self, notes):
        self.notes = notes

    def __call__(self, path):
        if crops.decode_sooner.__name__ != "note":
            decode = crops.decode_sooner

            def note(name, *rest):
                with self.notes.open("a") as file:
                    file.write(f"{name}\n")
                return decode(name, *rest)

            crops.decode_sooner = note
        return load_image(path, self.preprocessing)


def test_processes_decode_a_picture_once_for_all_its_boxes(tmp_path):
    pictures = [draw_photo(tmp_path / f"{i}.jpg", 0, i) for i in range(7)]
    boxes = [one / f"[{k},{k},30,40]" for one in pictures for k in range(3)]
    load, seen = LoadNoting(tmp_path / "notes"), Seen()
    with Decoders(load, (SHARED_BATCHES * 8, 16, 16, 3), 2, seen, lambda seconds: None) as decoders:
        jobs = [(i, (one,)) for i, one in enumerate(boxes)]
        batches = [(one.rows.tolist(), one.pixels.copy()) for one in load_shared(decoders, jobs, 8)]
    assert [len(rows) for rows, _ in batches] == [6, 6, 6, 3]
    assert sorted(load.notes.read_text().split()) == [str(one) for one in pictures]
    alone = np.stack([load_image(one, load.preprocessing) for one in boxes])
    assert np.array_equal(np.concatenate([pixels for _, pixels in batches]), alone)


class Asked:
    """What `load_shared` asks of processes, without any."""

    def __init__(self, batch_size):
        self.places, self.pieces = np.zeros((SHARED_BATCHES * batch_size, 1, 1, 3), np.uint8), []

    def __len__(self):
        return 1

    def submit(self, first, jobs):
        self.pieces.append([str(path) for (path,) in jobs])
        done = Future()
        done.set_result([])
        return done


def test_boxes_of_a_picture_are_one_piece_of_work():
    names = ["a/[0,0,1,1]", "a/[1,0,1,1]", "b", "c", *(f"d/[{k},0,1,1]" for k in range(5)), "e"]
    asked = Asked(4)
    jobs = [(i, (Path(name),)) for i, name in enumerate(names)]
    batches = [one.rows.tolist() for one in load_shared(asked, jobs, 4)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert asked.pieces == [names[:2], names[2:4], names[4:8], names[8:]]


def test_steps_of_training_have_their_size_whatever_boxes_they_are_of():
    jobs = [(i, (Path(f"{i // 3}/[{i % 3},0,1,1]"),)) for i in range(9)]

    def deal(exact):
        return [one.rows.tolist() for one in load_shared(Asked(4), jobs, 4, exact)]

    assert deal(exact=False) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert deal(exact=True) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
