"""How much memory a head takes, and whether its features are kept there or read in blocks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from featx import config
from featx.errors import BudgetError
from featx.features.content import Features
from featx.machine import measure_memory
from featx.text import format_bytes

log = logging.getLogger(__name__)

# Bytes for each number of train at the peak, beside its float32 itself: copies in float64 for
# centring and scoring, in float32 for L-BFGS' first steps, liblinear's nodes of 16 bytes, ...
# The oldest scikit-learn that is admitted takes twice what the newest does for logreg.
_COPIES = {
    "logreg": 44, "linear": 8, "svm": 24, "ridge": 28, "knn": 12, "centroid": 41, "imagenet": 8
}  # fmt: skip
_SCALED = {"none": 0, "standard": 8, "l2": 4}
_WITHOUT_BLOCKS = ("svm",)
_WIDEST = max(config.NEIGHBOURS_GRID)


@dataclass(frozen=True)
class Size:
    """What a fit is made of.

    Attributes
    ----------
    train, val, test : int
        Labelled rows; train with its views.
    features, classes : int
    values : int
        Of the grid.
    joined : bool
        Whether train is put together with other rows.
    """

    train: int
    val: int
    test: int
    features: int
    classes: int
    values: int = 1
    joined: bool = False


@dataclass(frozen=True)
class Reading:
    """How the features are read.

    Attributes
    ----------
    in_blocks : bool
    needed : int
        Bytes that fitting takes with all features in memory.
    allowed : int
        Bytes that it may take.
    """

    in_blocks: bool
    needed: int
    allowed: int


def choose_reading(
    features: Features,
    clf: str,
    *,
    scale: str = "none",
    values: int = 1,
    refit: bool = False,
    views: Sequence[Features] = (),
    max_memory: int | None = None,
) -> Reading:
    """Decide whether a head's features fit in memory.

    Parameters
    ----------
    features : Features
    clf, scale, refit, views
        See `featx.fit`.
    values : int
        Of the head's grid.
    max_memory : int, optional
        Bytes; None: `MEMORY_SHARE` of what the process may use.

    Raises
    ------
    BudgetError
        There is too little memory for either way.
    """
    allowed = max_memory
    if allowed is None:
        allowed = int(config.MEMORY_SHARE * measure_memory())
    train, val, test = (len(features.rows(split)) for split in config.SPLITS)
    size = Size(
        train=train * (1 + len(views)), val=val, test=test, features=features.X.shape[1],
        classes=len(features.classes), values=values, joined=bool(views) or refit,
    )  # fmt: skip
    needed = estimate_whole(clf, size, scale)
    if needed <= allowed:
        return Reading(False, needed, allowed)
    least = needed if clf in _WITHOUT_BLOCKS else estimate_blocks(clf, size)
    if least > allowed:
        raise BudgetError(_explain(clf, size, needed, least, allowed))
    return Reading(True, needed, allowed)


def estimate_whole(clf: str, size: Size, scale: str = "none") -> int:
    """Bytes at the peak of fitting with all features in memory, rather too many than too few."""
    rows = size.train + size.val + size.test
    numbers = 4 * rows + _SCALED.get(scale, 0) * rows + _COPIES[clf] * size.train + 8 * size.val
    if size.joined:
        numbers += 4 * (size.train + size.val)
    # scikit-learn takes as many queries at once as fill a working memory of 1 GiB by 8 bytes for
    # each distance, and has 12.
    distances = 3 * min(1 << 30, 8 * size.train**2) // 2 if clf == "knn" else 0
    scores = 24 * size.classes * rows
    return numbers * size.features + distances + scores + _estimate_fits(clf, size)


def estimate_blocks(clf: str, size: Size) -> int:
    """Bytes at the peak of fitting in blocks; but for knn's, no feature of train stays."""
    d, k, held = size.features, size.classes, size.val + size.test
    # A block in float32, the next one as stored and in float32, what is made of both in float64.
    work = 7 * config.BLOCK_BYTES
    block = max(1, config.BLOCK_BYTES // (4 * d))  # rows
    square = 8 * d * d
    head = {
        # The covariance with its decomposition; places and gradients that L-BFGS remembers.
        "logreg": 2 * square + 8 * k * d * 32,
        "ridge": 2 * square,
        "linear": 4 * config.SHUFFLE_BUFFER * d + 4 * k * d * 6,
        "knn": 4 * d * size.train + 12 * block**2 + 24 * _WIDEST * size.val,
        "imagenet": block * config.IMAGENET_CLASSES * 8 * 4,
    }.get(clf, 0)
    scored = held if size.val or clf in ("linear", "imagenet") else held + size.train
    return work + head + _estimate_fits(clf, size) + 4 * k * scored * 4 + 64 * size.train


def _estimate_fits(clf: str, size: Size) -> int:
    """Of every value of the grid, of train and where val does not choose of the folds, too."""
    if clf in ("knn", "imagenet"):
        return 0
    paths = 1 if size.val or size.values == 1 else 1 + config.FOLDS
    return 8 * size.classes * size.features * size.values * paths


def _explain(clf: str, size: Size, needed: int, least: int, allowed: int) -> str:
    wanted, given = format_bytes(needed), format_bytes(allowed)
    if clf in _WITHOUT_BLOCKS:
        return (
            f"{clf} needs {wanted} for these features, --max-memory is {given}, and it cannot read "
            "them in blocks: take logreg or ridge, which can, or a larger --max-memory"
        )
    if clf == "knn":
        held = format_bytes(4 * size.features * size.train)
        return (
            f"knn needs {format_bytes(least)} at the least, and --max-memory is {given}: its model "
            f"holds all {size.train:,} train rows, {held}. Take centroid or logreg, whose models "
            "are small, or a larger --max-memory"
        )
    return (
        f"{clf} needs {wanted} for these features, in blocks still {format_bytes(least)}, and "
        f"--max-memory is {given}: give it more"
    )


def describe_reading(reading: Reading, given: bool) -> str:
    """Which way was taken and why, in words."""
    share = f"{100 * config.MEMORY_SHARE:.0f} % of the memory that may be used"
    limit = "--max-memory" if given else share
    needed, allowed = format_bytes(reading.needed), format_bytes(reading.allowed)
    what = "read in blocks" if reading.in_blocks else "kept in memory"
    return f"features need {needed}, {limit} is {allowed}: {what}"
