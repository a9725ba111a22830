"""The k nearest neighbours by cosine distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier

from featx.search import Search, search_grid

Matrix = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NeighboursFit:
    """The train rows themselves, and how many of the nearest vote.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features), float32
    y : ndarray of shape (n_samples,), int64
    k : int
    n_classes : int
    """

    X: npt.NDArray[np.float32]
    y: Labels
    k: int
    n_classes: int
    converged: bool = True
    n_iter: int = 0

    def decide(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Logarithms of the shares of the vote, shape (n_samples, n_classes).

        A nearer neighbour has the larger vote, the inverse of its distance. One vote is added for
        every class (Laplace), so that a class without any is unlikely and not impossible.
        """
        k = min(self.k, len(self.y))
        voters = KNeighborsClassifier(k, weights="distance", metric="cosine", algorithm="brute")
        # Every class is there: codes are 0 to n_classes - 1, each at least once.
        shares = voters.fit(self.X, self.y).predict_proba(X.astype(np.float32))
        votes: npt.NDArray[np.float64] = np.log((k * shares + 1) / (k + self.n_classes))
        return votes


def search_neighbours(
    X: Matrix,
    y: Labels,
    val: tuple[Matrix, Labels] | None,
    grid: Sequence[float],
    seed: int = 0,
    *,
    origin: Labels | None = None,
) -> Search:
    """Choose k.

    Parameters
    ----------
    X, y, val, seed, origin
        See `featx.search.search_grid`.
    grid : sequence of int
        Descending: from the smoothest. More neighbours than rows are all rows.
    """
    n_classes = int(y.max()) + 1

    def fit_path(X: Matrix, y: Labels, grid: Sequence[float]) -> Iterator[NeighboursFit]:
        held = X.astype(np.float32)
        for k in grid:
            yield NeighboursFit(held, y, int(k), n_classes)

    return search_grid(
        fit_path, X, y, val, grid, default=1.0, seed=seed, tempered=True, origin=origin
    )
