"""Labels that a person filled in, of images of a file or of the pool beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from featx.features.content import Features
from featx.features.corrections import correct_labels, read_corrections
from featx.storage.blocks import Blocks


def apply_answers(held: Features, pool: Features, labels: str | Path) -> tuple[Features, Features]:
    """Both with the labels of a CSV, by content; what of the pool got one joins `held`'s train.

    Parameters
    ----------
    held : Features
        With the labels so far.
    pool : Features
        Images without one; may be `held` itself.
    labels : path of a CSV
        See `read_corrections`.

    Returns
    -------
    held, pool : Features
        Where the pool has a file of its own and gave some, `held` has no layers any more.

    Raises
    ------
    DatasetError
        The CSV cannot be read, contradicts itself, or is of neither's images.
    """
    if pool is held:
        held = correct_labels(held, labels)
        return held, held
    corrections = read_corrections(labels)
    known = set(held.hashes.tolist())
    own = tuple(one for one in corrections.rows if one.digest in known)
    others = tuple(one for one in corrections.rows if one.digest not in known)
    if own or not corrections.rows:
        held = correct_labels(held, replace(corrections, rows=own))
    if others:
        if not pool.classes:  # else each class would be a new one
            pool = replace(pool, classes=held.classes)
        pool = correct_labels(pool, replace(corrections, rows=others))
        answered = np.isin(pool.hashes, [one.digest for one in others])
        held = _join(held, pool, np.flatnonzero(answered & (pool.targets >= 0)))
    return held, pool


def _join(held: Features, pool: Features, rows: npt.NDArray[np.int64]) -> Features:
    """Features with labelled rows of another file in train, too; rows stay in their files."""
    n = len(held.targets)
    used = {pool.classes[k] for k in np.unique(pool.targets[rows]).tolist()}
    classes = tuple(sorted({*held.classes, *used}))
    place = {name: k for k, name in enumerate(classes)}
    # Of -1, which is the last, -1 becomes.
    old, new = (
        np.array([*(place.get(name, -1) for name in one.classes), -1])[one.targets]
        for one in (held, pool)
    )

    groups = held.groups
    if groups is not None:  # those of the pool, or each image by itself
        theirs = pool.hashes if pool.groups is None else pool.groups
        groups = np.concatenate([groups, theirs[rows]])

    def stack(name: str) -> npt.NDArray[np.str_]:
        return np.concatenate([getattr(held, name), getattr(pool, name)[rows]])

    return replace(
        held,
        # Read as the rows of one file are, as far as choosing what is next reads them.
        X=cast(Any, Blocks((held.X, pool.X), np.concatenate([np.arange(n), n + rows]))),
        targets=np.concatenate([old, new[rows]]),
        splits=np.concatenate([held.splits, np.full(len(rows), "train")]),
        paths=stack("paths"),
        hashes=stack("hashes"),
        groups=groups,
        classes=classes,
        layers=None,
        label_sets=None,
        corrected=held.corrected or pool.corrected,
    )
