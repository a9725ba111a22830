"""What images belong to that are no independent samples: an animal, a patient, a site, a burst."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def join_copies(
    groups: npt.NDArray[np.str_], hashes: npt.NDArray[np.str_]
) -> npt.NDArray[np.int64]:
    """Groups as numbers from 0; those that share a file of the same bytes, by any way, are one.

    Parameters
    ----------
    groups, hashes : ndarray of shape (n_samples,), str

    Returns
    -------
    ndarray of shape (n_samples,), int64
    """
    _, group = np.unique(groups, return_inverse=True)
    _, content = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([content, group], axis=1), axis=0)
    shared = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    heads = np.arange(group.max(initial=-1) + 1)
    for one, other in zip(pairs[shared, 1].tolist(), pairs[shared + 1, 1].tolist(), strict=True):
        first, second = _find_head(heads, one), _find_head(heads, other)
        heads[max(first, second)] = min(first, second)
    if len(shared):
        heads = np.array([_find_head(heads, one) for one in range(len(heads))])
    _, joined = np.unique(heads[group], return_inverse=True)
    return joined.astype(np.int64)


def _find_head(heads: npt.NDArray[np.int64], one: int) -> int:
    """The first of the groups that a group is joined with."""
    while heads[one] != one:
        heads[one] = heads[heads[one]]
        one = int(heads[one])
    return one
