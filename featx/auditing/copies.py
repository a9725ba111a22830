"""Images that show the same picture: equal bytes, or near in the features and to the eye."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from featx.arrays import Labels, Matrix
from featx.auditing.pixels import Looks, count_bits
from featx.storage.blocks import Blocks, Samples, iterate_blocks
from featx.storage.rows import iterate_slices

_HELD = 1 << 12  # rows whose neighbours are looked for together
NEIGHBOURS = 20  # of each image that are looked at
LEAST_COSINE = 0.80  # of features, below which no hash is asked
# Of 256 that the hashes of copies differ in at most; see `limit_bits`.
MOST_BITS, LEAST_BITS = 72, 20
_DRAWN = 4096  # random pairs
_MOST_NEAR = 10_000  # pairs that are no copies and are kept
# Without pictures nothing confirms: only what is as near as copies mostly are.
UNCONFIRMED_COSINE = 0.97


@dataclass(frozen=True)
class Copy:
    """Two images that show the same picture.

    Attributes
    ----------
    a, b : int
        Rows; a before b.
    exact : bool
        Their files have the same bytes.
    cosine : float
        Of their features.
    bits : int or None
        In which their perceptual hashes differ; None where none were compared.
    mirrored : bool
        One is the mirror image of the other.
    """

    a: int
    b: int
    exact: bool
    cosine: float
    bits: int | None = None
    mirrored: bool = False


@dataclass(frozen=True)
class Copies:
    """All that were found.

    Attributes
    ----------
    pairs : tuple of Copy
        Exact ones first, then by falling cosine. Of files with the same bytes each with the first.
    unconfirmed : tuple of Copy
        Pairs that are as near as copies, whose pictures could not be compared.
    groups : ndarray of shape (n_samples,), int64
        Images of one number are copies of each other, by way of `pairs`.
    distances : ndarray of shape (n_samples,), float32
        Mean cosine distance to the nearest images that are no file of the same bytes.
    near : tuple of Copy
        The nearest pairs in the features that are no copies, as far as is known.
    """

    pairs: tuple[Copy, ...]
    unconfirmed: tuple[Copy, ...]
    groups: Labels
    distances: npt.NDArray[np.float32]
    near: tuple[Copy, ...] = ()


def find_neighbours(X: Samples, k: int) -> tuple[npt.NDArray[np.float32], Labels]:
    """Cosines and numbers of the k rows that are nearest to each row, itself left out.

    Every row meets every other, a block at a time: 2 n² d operations in about 0.3 GB beside the
    result, whatever n is.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
    k : int

    Returns
    -------
    cosines : ndarray of shape (n_samples, min(k, n_samples - 1)), float32
        Falling.
    rows : ndarray of the same shape, int64
    """
    n = len(X)
    k = max(0, min(k, n - 1))
    cosines, rows = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
    for mine in iterate_slices(n if k else 0, _HELD):
        held = _normalise(np.asarray(X[mine]))
        best = np.full((len(held), 0), -np.inf, np.float32)
        where = np.empty((len(held), 0), np.int64)
        for start, block in _cut(X):
            near = held @ _normalise(block).T
            here = np.arange(start, start + len(block))
            near[here[None, :] == np.arange(mine.start, mine.stop)[:, None]] = -np.inf
            found = _largest(near, min(k, len(block)))
            best = np.concatenate([best, np.take_along_axis(near, found, axis=1)], axis=1)
            where = np.concatenate([where, found + start], axis=1)
            kept = _largest(best, min(k, best.shape[1]))
            best = np.take_along_axis(best, kept, axis=1)
            where = np.take_along_axis(where, kept, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        cosines[mine] = np.take_along_axis(best, order, axis=1)
        rows[mine] = np.take_along_axis(where, order, axis=1)
    return cosines, rows


def find_copies(X: Blocks, hashes: npt.NDArray[np.str_], looks: Looks | None) -> Copies:
    """Find images that show the same picture.

    Files of the same bytes are found by their hash. Of the others, those that are near in the
    features are compared by their perceptual hashes, as they are and mirrored: features alone would
    accuse two photographs of one scene.

    Parameters
    ----------
    X : Blocks of shape (n_samples, n_features)
    hashes : ndarray of shape (n_samples,), str
        SHA-256 of the files.
    looks : Looks or None
        None where there are no pictures to be compared.
    """
    n = len(hashes)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    originals = np.sort(first)
    exact = [
        Copy(int(first[k]), row, True, 1.0, 0 if looks else None)
        for row, k in enumerate(inverse.tolist())
        if first[k] != row
    ]
    cosines, near = find_neighbours(X[originals], NEIGHBOURS)
    distances = np.zeros(n, np.float32)
    if near.shape[1]:
        distances = (1 - cosines[:, : NEIGHBOURS // 2].mean(axis=1))[
            np.searchsorted(originals, first)
        ][inverse].astype(np.float32)
    i, j = np.nonzero(cosines >= LEAST_COSINE)
    a, b, cosine = originals[i], originals[near[i, j]], cosines[i, j]
    a, b = np.minimum(a, b), np.maximum(a, b)
    _, once = np.unique(a * n + b, return_index=True)
    a, b, cosine = a[once], b[once], cosine[once]
    seen, most = np.zeros(len(a), bool), 0.0
    bits, mirrored = np.zeros(len(a), np.int64), np.zeros(len(a), bool)
    if looks is not None and len(a):
        seen = looks.table["seen"][a] & looks.table["seen"][b]
        bits, mirrored = count_bits(looks.table[a], looks.table[b])
        most = limit_bits(looks.table)
    rows = np.argsort(-cosine, kind="stable")
    near_pairs = [
        Copy(int(a[r]), int(b[r]), False, float(cosine[r]), int(bits[r]), bool(mirrored[r]))
        for r in rows
        if seen[r] and bits[r] <= most
    ]
    unconfirmed = [
        Copy(int(a[r]), int(b[r]), False, float(cosine[r]))
        for r in rows
        if not seen[r] and cosine[r] >= UNCONFIRMED_COSINE
    ]
    pairs = (*exact, *near_pairs)
    others = [r for r in rows if not (seen[r] and bits[r] <= most)][:_MOST_NEAR]
    near_others = tuple(Copy(int(a[r]), int(b[r]), False, float(cosine[r])) for r in others)
    return Copies(pairs, tuple(unconfirmed), group_pairs(n, pairs), distances, near_others)


def limit_bits(table: npt.NDArray[Any]) -> float:
    """In how many bits the hashes of copies may differ, by how much any two pictures here do.

    Seven standard deviations under the mean of 4,096 random pairs, at most `MOST_BITS` and at least
    `LEAST_BITS`. Photographs differ in 123 bits with a deviation of 7; of drawings, digits and
    icons on plain ground some differ in so few that only nearly equal hashes tell a copy.
    """
    seen = np.flatnonzero(table["seen"])
    if len(seen) < 2:
        return MOST_BITS
    a, b = np.random.default_rng(0).integers(0, len(seen), (2, _DRAWN))
    apart = a != b
    bits, _ = count_bits(table[seen[a[apart]]], table[seen[b[apart]]])
    return float(np.clip(bits.mean() - 7 * bits.std(), LEAST_BITS, MOST_BITS))


def group_pairs(n: int, pairs: tuple[Copy, ...]) -> Labels:
    """A number for each of n rows, the same for rows that pairs connect."""
    a, b = (np.array([getattr(one, end) for one in pairs], np.int64) for end in "ab")
    graph = coo_array((np.ones(len(pairs), np.int8), (a, b)), shape=(n, n))
    groups: Labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _cut(X: Samples) -> Iterator[tuple[int, Matrix]]:
    """Blocks with their first row's number; an ndarray is cut, too."""
    for here, block in iterate_blocks(X):
        for some in iterate_slices(len(block), _HELD):
            yield here.start + some.start, block[some]


def _normalise(X: Matrix) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return (X / np.where(length, length, 1)).astype(np.float32, copy=False)


def _largest(values: Matrix, k: int) -> Labels:
    """Columns of each row's k largest, in no order."""
    if k >= values.shape[1]:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    largest: Labels = np.argpartition(-values, k - 1, axis=1)[:, :k]
    return largest
