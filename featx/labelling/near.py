"""Images of a pool that show a labelled picture once more: re-encoded, resized or mirrored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featx.arrays import Labels
from featx.auditing.audit import find_root
from featx.auditing.copies import LEAST_COSINE, limit_bits
from featx.auditing.pixels import count_bits, look_at
from featx.decoding.pixel_format import read_colours
from featx.features.content import Features
from featx.features.nearest import find_nearest
from featx.machine import count_cores
from featx.storage.blocks import Blocks

_NEAREST = 3  # labelled images that each is held against
_DRAWN = 64  # that say in how many bits any two pictures differ


def find_near_copies(
    held: Features, pool: Features, rows: Labels, root: str | Path | None = None
) -> dict[int, str]:
    """Which of some rows of a pool are no new pictures, as an audit tells copies.

    Of each the nearest labelled images by features are looked at, where these are near.

    Parameters
    ----------
    held, pool : Features
        With the labels, and with `rows`; may be one.
    rows : ndarray of shape (n_rows,), int64
    root : path, optional
        Of the pool's pictures; see `find_root`. Where pictures are not found nothing is.

    Returns
    -------
    dict of int to str
        Of each such row the path of the labelled picture.
    """
    labelled = np.flatnonzero(held.targets >= 0)
    home, place = find_root(held, root if pool is held else None), find_root(pool, root)
    if not len(labelled) or not len(rows) or home is None or place is None:
        return {}
    cosines, found = find_nearest(
        Blocks((held.X,), labelled), np.asarray(pool.X[rows]), min(_NEAREST, len(labelled))
    )
    i, j = np.nonzero(cosines >= LEAST_COSINE)
    if not len(i):
        return {}
    some = np.random.default_rng(0).choice(labelled, min(_DRAWN, len(labelled)), replace=False)
    mine = np.unique(i)
    theirs = np.union1d(labelled[found[i, j]], some)
    old, new = (
        look_at(
            where, one.paths[asked].tolist(), one.hashes[asked].tolist(), count_cores(),
            reading=read_colours(one.provenance.colours),
        ).table
        for where, one, asked in ((home, held, theirs), (place, pool, rows[mine]))
    )  # fmt: skip
    to = np.searchsorted(theirs, labelled[found[i, j]])
    a, b = new[np.searchsorted(mine, i)], old[to]
    bits, _ = count_bits(a, b)
    most = limit_bits(old[np.searchsorted(theirs, some)])
    same = np.flatnonzero(a["seen"] & b["seen"] & (bits <= most))
    return {int(rows[i[one]]): str(held.paths[theirs[to[one]]]) for one in same[::-1]}
