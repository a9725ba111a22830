from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features, write

from featx.errors import ArgumentError
from featx.features import nearest
from featx.features.nearest import find_nearest
from featx.storage.blocks import Blocks


def search(X, queries, k):
    """By brute force, in float64."""
    X, queries = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (X, queries))
    cosines = queries.astype(float) @ X.astype(float).T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, rows, axis=1), rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("k", [1, 7, 99])
def test_it_is_brute_force(dtype, k, monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK", 13)
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.gamma(1.0, 1.0, (90, 24)).astype(dtype))
    X.flags.writeable = False
    queries = rng.gamma(1.0, 1.0, (5, 24)).astype(np.float32)
    cosines, rows = find_nearest(X, queries, k)
    expected, places = search(X.astype(np.float64), queries.astype(np.float64), k)
    assert cosines.shape == rows.shape == (5, min(k, 90))
    assert np.array_equal(rows, places)
    assert np.allclose(cosines, expected, rtol=0, atol=1e-12)


def test_equal_rows_come_in_their_order(monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK", 2)
    X = np.array([[0, 1], [3, 4], [6, 8], [0, 0], [30, 40], [-3, -4]], np.float32)
    cosines, rows = find_nearest(X, np.array([[3, 4], [0, 0]]), 6)
    assert rows.tolist() == [[1, 2, 4, 0, 3, 5], [0, 1, 2, 3, 4, 5]]
    assert cosines[0] == pytest.approx([1, 1, 1, 0.8, 0, -1])
    assert not cosines[1].any()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_rows_of_a_file_are_found_as_those_in_memory(provenance, tmp_path, storage):
    made = make_features(provenance)
    held = write(replace(made, X=made.X.astype(np.float16).astype(np.float32)), tmp_path, storage)
    expected = find_nearest(held.X[:], made.X[:3], 4)
    for X in (held.X, Blocks((held.X,), np.arange(len(made.X)))):
        for one, other in zip(find_nearest(X, made.X[:3], 4), expected, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_queries_that_are_none(shape):
    with pytest.raises(ArgumentError, match="of 4 numbers as the rows have"):
        find_nearest(np.ones((5, 4), np.float32), np.ones(shape))
