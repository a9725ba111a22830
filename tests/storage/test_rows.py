"""Rows in a file: numpy's own indexing is the reference."""

import numpy as np
import pytest

from featx.errors import FeatureFileError
from featx.storage import rows as rows_module
from featx.storage.rows import StoredRows, all_finite, count_bytes, file_state


@pytest.fixture
def stored(tmp_path):
    """A matrix after seven bytes of something else, as it is in memory and as it lies there."""
    X = np.random.default_rng(0).normal(size=(3000, 50)).astype(np.float16)
    path = tmp_path / "rows"
    path.write_bytes(b"seven b" + X.tobytes())
    state = file_state(path.stat())
    return X, StoredRows(path, state, 7, X.shape, X.dtype, np.dtype(np.float32))


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(5, 9),
        slice(9, 5),
        slice(None, None, -7),
        slice(2990, 9999),
        0,
        -1,
        np.array([5, 5, 2999, 0, -3]),  # repeated, out of order, from the end
        np.array([0, 1400, 2999]),  # too far apart to be read together
        np.arange(6).reshape(2, 3) * 450,
        np.array([], dtype=np.int64),
        np.arange(3000) % 700 == 3,
        [1, 2],
    ],
    ids=str,
)
def test_rows_are_those_of_numpy(stored, key):
    X, rows = stored
    found = rows[key]
    assert found.dtype == np.float32
    assert np.array_equal(found, X[key].astype(np.float32))


@pytest.mark.parametrize("most", [1, 1000, 1 << 25])
def test_scattered_rows_whatever_is_read_and_asked_for_at_a_time(stored, monkeypatch, most):
    X, rows = stored
    monkeypatch.setattr(rows_module, "_MOST", most)
    for gap in (1, 300, 1 << 16):
        monkeypatch.setattr(rows_module, "_GAP", gap)
        for key in (np.arange(0, 3000, 2), np.arange(3000) % 3 > 0, np.array([2999, 7, 8, 7])):
            assert np.array_equal(rows[key], X[key].astype(np.float32))


def test_a_third_of_the_rows_takes_no_more_than_some_memory(stored, monkeypatch):
    X, rows = stored
    monkeypatch.setattr(rows_module, "_MOST", 10_000)
    ranges = []
    real = StoredRows._read
    monkeypatch.setattr(
        StoredRows, "_read", lambda self, asked: ranges.extend(asked) or real(self, asked)
    )
    assert np.array_equal(rows[np.arange(3000) % 3 == 0], X[::3].astype(np.float32))
    assert max(stop - start for start, stop in ranges) <= 100


def test_finite_is_what_numpy_says():
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    singles = np.array([0, -1, np.inf, -np.inf, np.nan, 3.4e38, -1e-45], np.float32)
    for values in (halves, singles):
        finite = np.isfinite(values)
        assert [all_finite(values[i : i + 1]) for i in range(len(values))] == finite.tolist()
        assert all_finite(values[finite])
        assert all_finite(values[:0])


def test_what_an_array_is_asked(stored):
    X, rows = stored
    assert (len(rows), rows.ndim, rows.nbytes) == (3000, 2, 3000 * 50 * 4)
    assert count_bytes(rows.astype(np.float64)) == 2 * rows.nbytes
    assert np.array_equal(np.asarray(rows, np.float64), X.astype(np.float64))
    for key in (3000, -3001, [0, 3000], np.ones(5, dtype=bool)):
        with pytest.raises(IndexError):
            rows[key]


def test_another_file_of_the_name_is_no_longer_read(stored):
    _, rows = stored
    data = rows.path.read_bytes()
    rows.path.with_name("other").write_bytes(data)
    rows.path.with_name("other").replace(rows.path)
    with pytest.raises(FeatureFileError, match="changed or replaced"):
        rows[0]
