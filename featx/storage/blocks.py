"""Rows that come a block at a time, so that what reads them needs no memory for all of them.

A head takes its features as an ndarray or as `Blocks`; an ndarray is the case of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx import config
from featx.arrays import Labels, Matrix
from featx.storage.rows import Picked, StoredRows, iterate_slices


@dataclass(frozen=True)
class Beside:
    """Columns of several arrays side by side, read when rows are asked for.

    Attributes
    ----------
    parts : tuple of (StoredRows, Picked or ndarray, ndarray of int64)
        Of as many rows each, with which of its columns are taken.
    """

    parts: tuple[tuple[npt.NDArray[np.float32] | StoredRows | Picked, Labels], ...]

    def __len__(self) -> int:
        return len(self.parts[0][0])

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_columns)."""
        return len(self), sum(len(columns) for _, columns in self.parts)

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        return np.concatenate(
            [np.take(rows[key], columns, axis=-1) for rows, columns in self.parts], axis=-1
        )


RowSource = npt.NDArray[np.float32] | StoredRows | Picked | Beside


@dataclass(frozen=True)
class Blocks:
    """Some rows of feature files, in any order, read and changed a block at a time.

    It stands where an ndarray of shape (n_samples, n_features), float32, would: it has `len` and
    `shape`, ``X[rows]`` are some of the rows, iterating gives slices with their rows,
    `numpy.asarray` all of them in memory. How many make a block is `BLOCK_BYTES`,
    whatever the memory, so that sums do not depend on it.

    Attributes
    ----------
    sources : tuple of StoredRows, Picked, Beside or ndarray
        Their rows are counted through, one source after the other.
    rows : ndarray of shape (n_samples,), int64
        Which of them, in which order.
    steps : tuple of callable
        What is done to the rows of every block, such as scaling; a row's result must not depend
        on the other rows.
    columns : ndarray of int64, or None
        Which of the sources' columns; None: all.
    """

    sources: tuple[RowSource, ...]
    rows: Labels
    steps: tuple[Callable[[Matrix], Matrix], ...] = ()
    columns: Labels | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_features)."""
        width = self.sources[0].shape[1] if self.columns is None else len(self.columns)
        return len(self.rows), width

    def __getitem__(self, key: Labels | slice) -> Blocks:
        return replace(self, rows=self.rows[key])

    def __iter__(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        # All columns of the sources are read, few as may be taken.
        step = max(1, config.BLOCK_BYTES // (4 * self.sources[0].shape[1]))
        for here in iterate_slices(len(self), step):
            yield here, self._read(self.rows[here])

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a file cannot be had without reading them")
        found = np.empty(self.shape, np.float32)
        for here, block in self:
            found[here] = block
        return found if dtype is None else found.astype(dtype, copy=False)

    def map(self, step: Callable[[Matrix], Matrix]) -> Blocks:
        """The same rows with one thing more done to them."""
        return replace(self, steps=(*self.steps, step))

    def take_columns(self, columns: Labels) -> Blocks:
        """Some of the columns of rows that nothing has been done to yet."""
        assert not self.steps
        return replace(self, columns=columns if self.columns is None else self.columns[columns])

    def _read(self, rows: Labels) -> npt.NDArray[np.float32]:
        if len(self.sources) == 1:
            X: Matrix = self.sources[0][rows]
        else:
            X = np.empty((len(rows), self.sources[0].shape[1]), np.float32)
            ends = np.cumsum([len(source) for source in self.sources])
            which = np.searchsorted(ends, rows, side="right")
            for i in np.unique(which):
                here = which == i
                X[here] = self.sources[i][rows[here] - (ends[i - 1] if i else 0)]
        if self.columns is not None:
            X = np.take(X, self.columns, axis=1)
        for step in self.steps:
            X = step(X)
        return X.astype(np.float32, copy=False)


Samples = Matrix | Blocks


def iterate_blocks(X: Samples) -> Iterator[tuple[slice, Matrix]]:
    """Slices with their rows; of an ndarray one."""
    if isinstance(X, Blocks):
        yield from X
    else:
        yield slice(0, len(X)), X


def gather(X: Samples, function: Callable[[Matrix], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What a function gives for every row, in one array; of Blocks as float32 where it is floats.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
    function : callable
        From rows to an array with an entry for each.
    """
    if not isinstance(X, Blocks):
        return function(X)
    found = np.empty(0)
    for here, block in X:
        part = function(block)
        if not here.start:
            kind = np.float32 if part.dtype.kind == "f" else part.dtype
            found = np.empty((len(X), *part.shape[1:]), kind)
        found[here] = part
    return found


def join_rows(parts: Sequence[Samples]) -> Samples:
    """Rows one after the other; Blocks must be as their sources have them."""
    blocks = [part for part in parts if isinstance(part, Blocks)]
    if not blocks:
        return np.concatenate(parts)
    assert len(blocks) == len(parts)
    assert not any(part.steps or part.columns is not None for part in blocks)
    sources: list[RowSource] = []
    rows = []
    for part in blocks:
        start = sum(len(source) for source in sources)
        sources += part.sources
        rows.append(part.rows + start)
    return Blocks(tuple(sources), np.concatenate(rows))


def take_columns(X: Samples, columns: Labels | None) -> Samples:
    """Some of the columns of rows; None: all of them, which copies nothing."""
    if columns is None:
        return X
    # C order, as rows come from a file: sums of columns then have the same last bits.
    return X.take_columns(columns) if isinstance(X, Blocks) else np.take(X, columns, axis=1)


def average_columns(X: Samples) -> npt.NDArray[np.float64]:
    """Mean of every column, shape (n_features,)."""
    if not isinstance(X, Blocks):
        mean: npt.NDArray[np.float64] = X.mean(axis=0, dtype=np.float64)
        return mean
    total = np.zeros(X.shape[1])
    for _, block in X:
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(X)


def average_classes(
    X: Samples, y: Labels, function: Callable[[Matrix], Matrix] | None = None
) -> npt.NDArray[np.float64]:
    """Mean of every column within each class.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once; not each in every block.
    function : callable, optional
        Means of what it makes of the rows, instead of the rows themselves.

    Returns
    -------
    ndarray of shape (n_classes, n_columns), float64
    """
    counts = np.bincount(y)
    sums: npt.NDArray[np.float64] | None = None
    for here, block in iterate_blocks(X):
        values = (block if function is None else function(block)).astype(np.float64, copy=False)
        if sums is None:
            sums = np.zeros((len(counts), values.shape[1]))
        for k in np.unique(y[here]):
            sums[k] += values[y[here] == k].sum(axis=0)
    assert sums is not None
    return sums / counts[:, None]
