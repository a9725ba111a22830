"""Which rows of a pool to label next: those in the middle first, then those in doubt."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from featx.arrays import Labels, Matrix
from featx.config import NEXT_IMAGES
from featx.errors import DatasetError
from featx.labelling.opinion import Opinion, form_opinion
from featx.storage.blocks import Samples, gather

_CANDIDATES = 10  # times the rows that are asked for, the most in doubt: beta of Zhdanov 2019
_WEIGHT = 2  # the power of doubt that a row weighs
_LEAST = 1e-6  # doubt: k-means takes no weights that are all zero
_MOST = 5000  # rows at most that clusters are looked for in


def choose_next(
    pool: npt.ArrayLike,
    X: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    *,
    n: int = NEXT_IMAGES,
    seed: int = 0,
) -> npt.NDArray[np.int64]:
    """Choose the rows of a pool whose labels would teach most.

    While there are no labels of two classes, the pool is cut into n clusters and the row nearest
    to the middle of each is taken (Gupte et al. 2024, arXiv 2401.14555). Then logistic regression
    learns the labels, and it is the rows that it is least sure of that are cut into n clusters, in
    which a row weighs by how unsure it is (Zhdanov 2019, arXiv 1901.05954).

    Parameters
    ----------
    pool : array of shape (n_pool, n_features)
        Rows without a label; taken as float32.
    X : array of shape (n_samples, n_features), optional
        Rows with one; None: there are none.
    y : array of shape (n_samples,), optional
        Their classes, numbers or names.
    n : int
        How many; at least 1. Of a smaller pool all are given.
    seed : int
        Of clusters and folds.

    Returns
    -------
    ndarray of shape (min(n, n_pool),), int64
        Rows of the pool, each once.

    Raises
    ------
    DatasetError
        The pool is empty, the arrays do not fit each other, or n is less than 1.
    """
    check_count(n)
    rows = np.asarray(pool, np.float32)
    known = None if X is None else np.asarray(X, np.float32)
    labels = None if y is None else np.asarray(y)
    _check_arrays(rows, known, labels)
    opinion = None
    if known is not None and labels is not None and len(labels):
        codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        opinion = form_opinion(known, codes, seed=seed)
    return choose_rows(rows, opinion, n, seed)[0]


def _check_arrays(pool: Matrix, X: Matrix | None, y: npt.NDArray[np.generic] | None) -> None:
    if pool.ndim != 2:
        raise DatasetError(
            f"the pool has {pool.ndim} dimension{'s' * (pool.ndim != 1)}: give one row of features "
            "an image"
        )
    if not len(pool):
        raise DatasetError("the pool has no rows: nothing is left to label")
    if (X is None) != (y is None):
        raise DatasetError("rows without labels, or labels without rows: give X and y together")
    if X is not None and y is not None:
        if X.ndim != 2 or len(X) != len(y):
            raise DatasetError(f"X has {len(X)} rows and y {len(y)} labels: one for each row")
        if X.shape[1:] != pool.shape[1:]:
            raise DatasetError(
                f"X has {X.shape[1]} columns and the pool {pool.shape[1]}: features of one network"
            )


def check_count(n: int) -> None:
    """Raise DatasetError where it is no number of images to ask for."""
    if n < 1:
        raise DatasetError(f"{n} images to label next: ask for 1 or more")


def choose_rows(pool: Samples, opinion: Opinion | None, n: int, seed: int) -> tuple[Labels, str]:
    """Rows of a pool, and by what they were chosen: a key of `WAYS`."""
    most = max(_MOST, n)
    if opinion is None or opinion.fit is None:
        rows = np.random.default_rng(seed).permutation(len(pool))[:most]
        return rows[find_middles(np.asarray(pool[rows]), n, seed)], "centroids"
    doubt = gather(pool, lambda rows: measure_doubt(opinion, rows))
    rows = np.argsort(-doubt, kind="stable")[: min(_CANDIDATES * n, most)]
    weight = np.maximum(doubt[rows].astype(np.float64), _LEAST) ** _WEIGHT
    return rows[find_middles(np.asarray(pool[rows]), n, seed, weight)], "uncertainty"


def measure_doubt(opinion: Opinion, X: Matrix) -> Matrix:
    """How close the two most probable classes are, in [0, 1]: 1 less the margin between them."""
    best = np.partition(opinion.predict_proba(X), -2, axis=1)[:, -2:]
    doubt: Matrix = 1 - (best[:, 1] - best[:, 0])
    return doubt


def find_middles(
    X: Matrix, n: int, seed: int, weight: npt.NDArray[np.float64] | None = None
) -> Labels:
    """The rows nearest to the middles of n clusters, in the order of the rows."""
    if n >= len(X):
        return np.arange(len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        found = KMeans(n, n_init=1, random_state=seed).fit(X, sample_weight=weight)
    far = np.linalg.norm(X - found.cluster_centers_[found.labels_], axis=1)
    order = np.lexsort((far, found.labels_))
    nearest = order[np.unique(found.labels_[order], return_index=True)[1]]
    # Equal rows are fewer clusters than asked for: the first of the others are taken beside.
    others = np.setdiff1d(np.arange(len(X)), nearest)[: n - len(nearest)]
    return np.sort(np.concatenate([nearest, others]))
