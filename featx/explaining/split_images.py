"""Which images of a feature file are explained: those of a split, with their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from featx.auditing.audit import find_root
from featx.config import PARTS
from featx.errors import DatasetError
from featx.features.content import need_one_label
from featx.features.file import read_features


def locate_images(
    features: str | Path, part: str = "test", root: str | Path | None = None
) -> dict[str, str]:
    """Where a split's images are, with the class of each.

    Parameters
    ----------
    features : path
        The feature file, which knows splits, names and classes.
    part : {"train", "val", "test", "all"}
        "all": every labelled image, those of no split as well.
    root : path, optional
        The folder with the images; None: looked for; see `find_root`.

    Returns
    -------
    dict of str to str

    Raises
    ------
    FeatureFileError
        No feature file, or damaged.
    DatasetError
        No such part, no labelled images in it, or no folder that has them.
    """
    if part not in PARTS:
        raise DatasetError(f"unknown part {part!r}: say one of {', '.join(PARTS)}")
    held = read_features(Path(features))
    need_one_label(held, "featx explain")
    rows = np.flatnonzero(held.targets >= 0) if part == "all" else held.rows(part)
    if not len(rows):
        where = "" if part == "all" else f" in {part}"
        raise DatasetError(f"{features} has no labelled image{where}: say another --part")
    place = find_root(held, root)
    if place is None:
        raise DatasetError(
            f"the images of {features} are in no folder {held.dataset} here or beside it: name "
            "their folder with --root"
        )
    return {str(place / held.paths[i]): held.classes[held.targets[i]] for i in rows.tolist()}
