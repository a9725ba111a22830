"""Rows of features that a head learns from: those of its splits, of views, and who is related."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from featx.arrays import Labels
from featx.config import SPLITS
from featx.features.content import Features
from featx.features.outputs import LayerSets, take_rows
from featx.storage.blocks import Blocks, Samples, join_rows
from featx.training.trials import Kin


def take_splits(
    features: Features, in_blocks: bool, layers: LayerSets = ()
) -> dict[str, tuple[Samples, Labels]]:
    """X and y of the labelled rows of each split that has any.

    Parameters
    ----------
    features : Features
    in_blocks : bool
    layers : sequence of mapping
        A recipe's: X has the columns of all of these; of none, the features alone.
    """
    every, data = take_rows(features, layers), {}
    for split in SPLITS:
        rows = features.rows(split)
        if len(rows):
            X = Blocks((every,), rows) if in_blocks else every[rows]
            data[split] = X, features.targets[rows]
    return data


def hash_groups(features: Features) -> str:
    """SHA-256, in hex, of which rows of train and val belong together."""
    assert features.clusters is not None
    here = np.isin(features.splits, ("train", "val"))
    # By where each group begins, whatever it is called.
    _, first, group = np.unique(features.clusters[here], return_index=True, return_inverse=True)
    return hashlib.sha256(first[group].astype("<i8").tobytes()).hexdigest()


def take_kin(features: Features) -> dict[str, Kin]:
    """Of the labelled rows of train and val: which are copies, and which a group joins."""
    # Python's own hashes of these, which only have to be equal or not: sorting a million would
    # take a gigabyte.
    image = np.fromiter(map(hash, features.hashes), np.int64, len(features.hashes))
    group = features.clusters
    return {
        split: Kin(image[rows], np.zeros(len(rows), bool), None if group is None else group[rows])
        for split in ("train", "val")
        if len(rows := features.rows(split))
    }


def stack_views(
    features: Features,
    views: Sequence[Features],
    in_blocks: bool = False,
    layers: LayerSets = (),
) -> tuple[Samples, Labels] | None:
    """Rows of views, and which of train's labelled rows each shows; None where there are none.

    A view that could not be computed of an image is left out. Columns are those of `take_splits`.
    """
    if not views:
        return None
    train = features.hashes[features.rows("train")].tolist()
    parts: list[Samples] = []
    origins = []
    for view in views:
        row_of = {digest: row for row, digest in enumerate(view.hashes.tolist())}
        here = [i for i, digest in enumerate(train) if digest in row_of]
        rows = np.array([row_of[train[i]] for i in here], dtype=np.int64)
        every = take_rows(view, layers)
        parts.append(Blocks((every,), rows) if in_blocks else every[rows])
        origins.append(np.array(here, dtype=np.int64))
    return join_rows(parts), np.concatenate(origins)
