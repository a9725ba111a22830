"""The rows that are nearest to others: every row is looked at, a block at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from featx.arrays import Labels, Matrix
from featx.config import NEAREST_SHOWN
from featx.errors import ArgumentError
from featx.machine import count_cores
from featx.storage.blocks import Blocks
from featx.storage.rows import StoredRows, iterate_slices

_BLOCK = 1 << 10  # rows that a thread reads together
_CACHED = 1 << 7  # rows that it converts and multiplies together: 1 MB stays in its cache
_SPARE = 16  # rows beyond k, whose order float32 may have wrong


def find_nearest(
    X: Matrix | StoredRows | Blocks, queries: Matrix, k: int = NEAREST_SHOWN
) -> tuple[npt.NDArray[np.float64], Labels]:
    """Cosines and numbers of the rows that are nearest to each query.

    Every row is looked at, in float32 and by all cores; rows of a file are read a block at a time,
    and may be more than memory holds. The cosines of those that are given are in float64; a row of
    zeros has cosine 0.

    Parameters
    ----------
    X : ndarray, or rows of a feature file, of shape (n_samples, n_features)
        float16 or float32.
    queries : ndarray of shape (n_queries, n_features)
    k : int
        At least 1.

    Returns
    -------
    cosines : ndarray of shape (n_queries, min(k, n_samples)), float64
        Falling; of equals the row that comes first.
    rows : ndarray of the same shape, int64

    Raises
    ------
    ArgumentError
        Queries are no rows, or have other columns.

    Examples
    --------
    >>> import featx
    >>> import numpy as np
    >>> X = np.array([[1, 0], [3, 4], [0, 2]], np.float32)
    >>> cosines, rows = featx.find_nearest(X, np.array([[0, 1]]), k=2)
    >>> cosines.round(3).tolist(), rows.tolist()
    ([[1.0, 0.8]], [[2, 1]])
    """
    wanted = np.asarray(queries, np.float64)
    if wanted.ndim != 2 or wanted.shape[1] != X.shape[1]:
        raise ArgumentError(
            f"queries of shape {wanted.shape}: one row each is expected, of {X.shape[1]} numbers "
            "as the rows have"
        )
    wanted = _normalise(wanted)
    if isinstance(X, StoredRows):
        X = X.astype(X.stored)
    k = min(k, len(X))
    held = min(len(X), k + _SPARE)
    turned = np.ascontiguousarray(wanted.T, np.float32)

    def look(some: slice) -> tuple[npt.NDArray[np.float32], Labels]:
        block = np.asarray(X[some])
        cosines = np.empty((len(wanted), len(block)), np.float32)
        for here in iterate_slices(len(block), _CACHED):
            part = _widen(block[here])
            lengths = np.sqrt(np.vecdot(part, part))
            cosines[:, here] = (part @ turned).T / np.where(lengths, lengths, 1)
        return _keep_largest(cosines, np.arange(some.start, some.stop)[None], held)

    best = np.empty((len(wanted), 0), np.float32)
    rows = np.empty((len(wanted), 0), np.int64)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(count_cores()) as pool:
        for cosines, numbers in pool.map(look, iterate_slices(len(X), _BLOCK)):
            best, rows = _keep_largest(
                np.concatenate([best, cosines], axis=1),
                np.concatenate([rows, numbers], axis=1),
                held,
            )
    exact, nearest = np.empty((len(wanted), k)), np.empty((len(wanted), k), np.int64)
    for i, query in enumerate(wanted):
        some = np.sort(rows[i])
        cosines = _normalise(np.asarray(X[some], np.float64)) @ query
        order = np.argsort(-cosines, kind="stable")[:k]
        exact[i], nearest[i] = cosines[order], some[order]
    return exact, nearest


def _widen(rows: Matrix) -> npt.NDArray[np.float32]:
    """The same in float32."""
    if rows.dtype == np.float16:
        import torch  # which has the processor do it: numpy takes ten times as long

        plain = np.require(rows, requirements=["C", "W"])  # it warns of what it may not write to
        widened: npt.NDArray[np.float32] = torch.from_numpy(plain).float().numpy()
        return widened
    return rows.astype(np.float32, copy=False)


def _normalise(X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(lengths, lengths, 1)


def _keep_largest(
    values: npt.NDArray[np.float32], rows: Labels, k: int
) -> tuple[npt.NDArray[np.float32], Labels]:
    """Of each row of values the k largest, in no order, and the numbers that go with them."""
    rows = np.broadcast_to(rows, values.shape)
    if values.shape[1] <= k:
        return values, rows
    kept = np.argpartition(-values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(values, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
