import threading
import time

import numpy as np
import pytest

from featx.data.loading import load_batches
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
