"""Rows that are read when they are asked for, so that memory does not grow with their number."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import FeatureFileError
from featx.storage.files import open_regular

# Rows that lie closer together than this, in bytes, are read in one go with what is between them.
_GAP = 1 << 16
_MOST = 1 << 25  # bytes that are read in one go, and that the system is asked for ahead of that

State = tuple[int, int, int]


class Rows(Protocol):
    """What can be written: an ndarray, or anything that gives rows by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its first number is the number of rows."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Numbers, or bytes of a fixed length ("S") for UTF-8 text."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:
        """These rows as an ndarray."""
        ...


@dataclass(frozen=True)
class StoredRows:
    """An array that lies in a file in one piece, C order; nothing of it is in memory.

    It names the file and does not hold it open, so that there may be any number of them, in any
    process. A file that was replaced or changed meanwhile is an error.

    Attributes
    ----------
    path : Path
    state : (int, int, int)
        `file_state` of the file whose content was checked.
    offset : int
        Bytes before the first row.
    shape : tuple of int
    stored : dtype
        As it lies there.
    dtype : dtype
        As it is given.
    """

    path: Path
    state: State
    offset: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory that all rows would take, as they are given."""
        return count_bytes(self)

    def astype(self, dtype: npt.DTypeLike) -> StoredRows:
        """The same rows, given as another type."""
        return StoredRows(
            self.path, self.state, self.offset, self.shape, self.stored, np.dtype(dtype)
        )

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Rows by a number, a slice, a mask or indices, in the order asked for.

        Raises
        ------
        FeatureFileError
            The file is no longer the one that was opened.
        IndexError
            There is no such row.
        """
        n = len(self)
        if isinstance(key, slice):
            start, stop, step = key.indices(n)
            if step == 1:
                (found,) = self._read([(start, max(start, stop))])
                return found
            key = np.arange(start, stop, step)
        at = np.asarray(key)
        if at.dtype == bool:
            if at.shape != (n,):
                raise IndexError(f"a mask of {at.shape} for {n} rows")
            at = np.flatnonzero(at)
        if at.size == 0:
            return np.empty((*at.shape, *self.shape[1:]), self.dtype)
        flat = np.where(at < 0, at + n, at).reshape(-1)
        if flat.min() < 0 or flat.max() >= n:
            raise IndexError(f"row {flat.max() if flat.max() >= n else at.min()} of {n}")
        ascending = bool((flat[1:] > flat[:-1]).all())
        order, inverse = (flat, None) if ascending else np.unique(flat, return_inverse=True)
        rows = np.empty((len(order), *self.shape[1:]), self.dtype)
        # Neighbours are read together, but not a whole file for every other row of it.
        gap, most = (max(1, some // max(1, self._row_bytes)) for some in (_GAP, _MOST))
        cuts = np.flatnonzero((np.diff(order) > gap) | (np.diff(order // most) > 0)) + 1
        parts = np.split(order, cuts)
        ranges = [(int(part[0]), int(part[-1]) + 1) for part in parts]
        done = 0
        for part, (first, _), found in zip(parts, ranges, self._read(ranges), strict=True):
            rows[done : done + len(part)] = found[part - first]
            done += len(part)
        picked: npt.NDArray[Any] = rows if inverse is None else rows[inverse]
        return picked.reshape(*at.shape, *self.shape[1:])

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("rows of a file cannot be had without reading them")
        found = self[:]
        return found if dtype is None else found.astype(dtype, copy=False)

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.stored.itemsize

    def _read(self, ranges: Sequence[tuple[int, int]]) -> Iterator[npt.NDArray[Any]]:
        """The rows of each range."""
        with open_regular(self.path) as file:
            if file_state(os.fstat(file.fileno())) != self.state:
                raise FeatureFileError(self.path, "it was changed or replaced while it was in use")
            raw: Any = file.raw  # a buffer would read more than a short row each time
            asking = _ask_ahead(file.fileno(), self._row_bytes, self.offset, ranges)
            for start, stop in ranges:
                next(asking, None)
                found = np.empty((stop - start, *self.shape[1:]), self.stored)
                if found.size:
                    raw.seek(self.offset + start * self._row_bytes)
                    left = found.reshape(-1).view(np.uint8).data
                    while left:
                        n = raw.readinto(left)
                        if not n:
                            raise FeatureFileError(self.path, "damaged: it ends too early")
                        left = left[n:]
                yield found.astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Picked:
    """Some rows of an array in a file, in any order, read when they are asked for.

    Attributes
    ----------
    source : StoredRows
    rows : ndarray of shape (n_samples,), int64
    """

    source: StoredRows
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the source, with as many rows as are picked."""
        return len(self.rows), *self.source.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The source's."""
        return self.source.dtype

    def astype(self, dtype: npt.DTypeLike) -> Picked:
        """The same rows, given as another type."""
        return Picked(self.source.astype(dtype), self.rows)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return self.source[self.rows[key]]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return self.source[self.rows].astype(dtype or self.dtype, copy=False)


def _ask_ahead(
    handle: int, row_bytes: int, offset: int, ranges: Sequence[tuple[int, int]]
) -> Iterator[None]:
    """Before each range have the system fetch some that follow, so that a disk has many at once."""
    if len(ranges) < 2 or not hasattr(os, "posix_fadvise"):
        return
    following = iter(ranges)
    ahead = 0  # bytes
    for start, stop in ranges:
        while ahead < _MOST and (coming := next(following, None)):
            place, size = offset + coming[0] * row_bytes, (coming[1] - coming[0]) * row_bytes
            os.posix_fadvise(handle, place, size, os.POSIX_FADV_WILLNEED)
            ahead += size
        yield
        ahead -= (stop - start) * row_bytes


def file_state(found: os.stat_result) -> State:
    """What tells a file from another one that took its name, or from itself after a change."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def count_bytes(rows: Rows) -> int:
    """Bytes that all rows take."""
    return math.prod(rows.shape) * rows.dtype.itemsize


def iterate_slices(n: int, step: int) -> Iterator[slice]:
    """Slices of `step` rows that cover `n`."""
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def all_finite(values: npt.NDArray[Any]) -> bool:
    """Whether no float16 or float32 of these is NaN or infinite."""
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    # numpy has no fast way for halves: infinity and NaN are those whose exponent is all ones.
    exponents = values.view(np.uint16) & 0x7C00
    return not exponents.size or int(exponents.max()) < 0x7C00


def encode_text(values: npt.NDArray[np.str_]) -> npt.NDArray[np.bytes_]:
    """Text as UTF-8 bytes of one fixed length, at least 1; raises ValueError on a NUL in it."""
    if not values.size:
        return np.empty(values.shape, "S1")
    encoded = np.strings.encode(values, "utf-8")
    encoded = encoded.astype(f"S{max(1, encoded.dtype.itemsize)}", copy=False)
    # A NUL at the end is padding; one within a text would end it early for some readers.
    bytes_of = np.atleast_1d(encoded).view(np.uint8).reshape(encoded.size, -1)
    if ((bytes_of != 0).sum(axis=1) != np.strings.str_len(encoded).reshape(-1)).any():
        raise ValueError("text with a NUL character cannot be stored")
    return encoded


def decode_text(values: npt.NDArray[np.bytes_]) -> npt.NDArray[np.str_]:
    """The inverse of `encode_text`; raises ValueError on bytes that are no UTF-8."""
    return np.strings.decode(values, "utf-8")
