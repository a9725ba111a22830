"""The k nearest neighbours by cosine distance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from featx import config
from featx.arrays import Labels, Matrix
from featx.config import NEIGHBOURS_GRID
from featx.heads.kind import Grid, Kind, Learned, Memory, Size
from featx.heads.search import Search, Task, Way, choose, search_grid
from featx.storage.blocks import Blocks, Samples, iterate_blocks


@dataclass(frozen=True)
class NeighboursFit:
    """The train rows themselves, and how many of the nearest vote.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,), int64
    k : int
    n_classes : int
    """

    X: npt.NDArray[np.float32] | Blocks
    y: Labels
    k: int
    n_classes: int
    converged: bool = True
    n_iter: int = 0

    @property
    def n_trained(self) -> int:
        """None: neighbours are kept, not decided."""
        return 0

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Fit`."""
        return {"X": np.asarray(self.X), "y": self.y}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], value: float, n_classes: int
    ) -> NeighboursFit:
        """The inverse of `to_arrays`; raises KeyError where one is missing."""
        return cls(arrays["X"], arrays["y"], int(value), n_classes)

    def suits(self, n_classes: int) -> bool:
        """See `Fit`."""
        return len(self.y) == len(self.X) and int(self.y.max()) + 1 == n_classes

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Logarithms of the shares of the vote, shape (n_samples, n_classes).

        A nearer neighbour has the larger vote, the inverse of its distance. One vote is added for
        every class (Laplace), so that a class without any is unlikely and not impossible.
        """
        k = min(self.k, len(self.y))
        if isinstance(self.X, Blocks):
            return self.count(*find_nearest(self.X, X, k))
        voters = KNeighborsClassifier(k, weights="distance", metric="cosine", algorithm="brute")
        # Every class is there: codes are 0 to n_classes - 1, each at least once.
        return self._smooth(voters.fit(self.X, self.y).predict_proba(X.astype(np.float32)), k)

    def count(self, distances: Matrix, nearest: Labels) -> npt.NDArray[np.float64]:
        """`decide` by neighbours that were found: the first k of each row vote.

        As scikit-learn counts: those at no distance have all votes between them.
        """
        k = min(self.k, len(self.y))
        with np.errstate(divide="ignore"):
            votes = 1 / distances[:, :k]
        same = np.isinf(votes)
        votes[same.any(axis=1)] = same[same.any(axis=1)]
        shares = np.zeros((len(votes), self.n_classes))
        for i, labels in enumerate(self.y[nearest[:, :k]].T):
            shares[np.arange(len(votes)), labels] += votes[:, i]
        return self._smooth(shares / shares.sum(axis=1, keepdims=True), k)

    def _smooth(self, shares: Matrix, k: int) -> npt.NDArray[np.float64]:
        scores: npt.NDArray[np.float64] = np.log((k * shares + 1) / (k + self.n_classes))
        return scores


def find_nearest(X: Samples, queries: Matrix, k: int) -> tuple[Matrix, Labels]:
    """Cosine distances and numbers of the k rows that are nearest to each query, from the nearest.

    Parameters
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
        Read once.
    queries : ndarray of shape (n_queries, n_features)
    k : int
        At most n_samples.
    """
    distances = np.empty((len(queries), 0), np.float32)
    nearest = np.empty((len(queries), 0), np.int64)
    for here, block in iterate_blocks(X):
        finder = NearestNeighbors(
            n_neighbors=min(k, len(block)), metric="cosine", algorithm="brute"
        )
        near, rows = finder.fit(block).kneighbors(queries.astype(np.float32))
        distances = np.concatenate([distances, near], axis=1)
        nearest = np.concatenate([nearest, rows + here.start], axis=1)
        best = np.argsort(distances, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, best, axis=1)
        nearest = np.take_along_axis(nearest, best, axis=1)
    return distances, nearest


def decide_neighbours(fits: Iterable[NeighboursFit], X: Samples) -> Iterator[Matrix]:
    """`decide_each`, but that the neighbours are searched once for all k."""
    every = list(fits)
    widest = max(every, key=lambda fit: fit.k)
    train, k = widest.X, min(widest.k, len(widest.y))
    found = [find_nearest(train, rows, k) for _, rows in iterate_blocks(X)]
    distances, nearest = (np.concatenate(parts) for parts in zip(*found, strict=True))
    for fit in every:
        yield fit.count(distances, nearest)


def search_neighbours(task: Task) -> Search:
    """Choose k.

    Parameters
    ----------
    task : Task
        With descending values of k: from the smoothest. More neighbours than rows are all rows.
    """
    return search_grid(find_way(task), task)


def find_way(task: Task) -> Way:
    """How it goes through its grid; see `search_neighbours`."""
    n_classes = int(task.y.max()) + 1

    def fit_path(X: Samples, y: Labels, grid: Sequence[float]) -> Iterator[NeighboursFit]:
        held = X if isinstance(X, Blocks) else X.astype(np.float32)
        for k in grid:
            yield NeighboursFit(held, y, int(k), n_classes)

    return Way(fit_path=fit_path, default=1.0, tempered=True, decide=decide_neighbours)


def _estimate_distances(size: Size) -> int:
    """Bytes of distances: scikit-learn takes as many queries at once as fill a working memory of
    1 GiB by 8 bytes for each, and has 12.
    """
    return 3 * min(1 << 30, 8 * size.train**2) // 2


def _estimate_blocks(size: Size) -> int:
    """Bytes of train's rows, of distances between two blocks, and of val's neighbours."""
    block = max(1, config.BLOCK_BYTES // (4 * size.features))  # rows
    nearest = 24 * max(NEIGHBOURS_GRID) * size.val
    return 4 * size.features * size.train + 12 * block**2 + nearest


KIND = Kind(
    name="knn",
    train=lambda task: Learned(search_neighbours(task)),
    choose=lambda task: choose(find_way(task), task),
    grid=Grid("k", NEIGHBOURS_GRID),
    load=NeighboursFit.from_arrays,
    memory=Memory(
        copies=12,
        tried=4,
        whole=_estimate_distances,
        blocks=_estimate_blocks,
        keeps_rows=True,
        keeps_fits=False,
    ),
)
