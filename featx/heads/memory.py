"""How much memory a head takes, and whether its features are kept there or read in blocks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featx import config
from featx.errors import BudgetError
from featx.features.content import Features
from featx.features.outputs import LayerSets, count_width
from featx.heads.kind import Kind, Size, find_kind, read_grid
from featx.machine import measure_memory
from featx.text import format_bytes

log = logging.getLogger(__name__)

_SCORED = 32  # bytes for each number of the known rows while a score of strangers is fitted
_SCALED = {"none": 0, "standard": 8, "l2": 4, "center-l2": 8, "auto": 8}


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
    kind: Kind,
    *,
    scale: str = "none",
    values: int = 1,
    refit: bool = False,
    choose_on: str = "val",
    views: Sequence[Features] = (),
    max_memory: int | None = None,
    layers: LayerSets = (),
    strangers: bool = False,
) -> Reading:
    """Decide whether a head's features fit in memory.

    Parameters
    ----------
    features : Features
    kind : Kind
    scale, refit, choose_on, views
        See `featx.fit`.
    values : int
        Of the head's grid.
    max_memory : int, optional
        Bytes; None: `MEMORY_SHARE` of what the process may use.
    layers : sequence of mapping
        A recipe's, of which the widest set is what takes most.
    strangers : bool
        Whether these are learned, too: from rows in memory, once the head is there.

    Raises
    ------
    BudgetError
        There is too little memory for either way.
    """
    allowed = max_memory
    if allowed is None:
        allowed = int(config.MEMORY_SHARE * measure_memory())
    train, val, test = (len(features.rows(split)) for split in config.SPLITS)
    folds = choose_on == "folds" and kind.grid is not None
    size = Size(
        train=train * (1 + len(views)), val=val, test=test, features=count_width(features, layers),
        classes=len(features.classes), values=values,
        joined=bool(views) or (val > 0 and (refit or folds)), folds=config.FOLDS * folds,
    )  # fmt: skip
    # Columns of layers are standardised first, at that scaling's price.
    scaled = "standard" if layers and scale == "none" else scale
    needed = estimate_whole(kind, size, scaled)
    if strangers:
        needed = max(needed, estimate_strangers(kind, size, scaled))
    if needed <= allowed or strangers:
        return Reading(needed > allowed, needed, allowed)
    least = needed if kind.memory.blocks is None else estimate_blocks(kind, size)
    if least > allowed:
        raise BudgetError(_explain(kind, size, needed, least, allowed))
    return Reading(True, needed, allowed)


def plan_reading(
    features: Features,
    recipe: Mapping[str, Any],
    views: Sequence[Features] = (),
    max_memory: int | None = None,
    strangers: bool = False,
) -> Reading:
    """`choose_reading` for a recipe."""
    return choose_reading(
        features,
        find_kind(recipe["clf"]),
        scale=recipe["scale"],
        values=len(read_grid(recipe)) or 1,
        refit=recipe["refit"],
        choose_on=recipe.get("choose_on", "val"),
        views=views if recipe["views"] else (),
        max_memory=max_memory,
        layers=recipe.get("layers", ()),
        strangers=strangers,
    )


def estimate_whole(kind: Kind, size: Size, scale: str = "none") -> int:
    """Bytes at the peak of fitting with all features in memory, rather too many than too few."""
    rows = size.train + size.val + size.test
    numbers = 4 * rows + _SCALED.get(scale, 0) * rows + kind.memory.copies * size.train
    numbers += 8 * size.val
    if size.joined:
        numbers += 4 * (size.train + size.val)
    if size.folds:  # all of them go through the grid side by side
        each = 4 + _SCALED.get(scale, 0) + kind.memory.tried
        numbers += (size.folds - 1) * each * (size.train + size.val)
    scores = 24 * size.classes * rows
    more = kind.memory.whole(size) + _estimate_fits(kind, size)
    return numbers * size.features + scores + more


def estimate_strangers(kind: Kind, size: Size, scale: str = "none") -> int:
    """Bytes at the peak of learning strangers by a head that is there, rather too many."""
    known = size.train + size.val
    # All rows, those that are known in one piece, those of a fit, and these scaled.
    numbers = 4 * (known + size.test) + (4 + 4 + _SCALED.get(scale, 0)) * known
    # Then the head is fitted, or a score: float64, centred, and both once more in float32.
    numbers += max(kind.memory.copies, _SCORED) * known
    squares = _SCORED * min(known, size.features) ** 2  # principal directions
    scores = 24 * size.classes * known
    return numbers * size.features + squares + scores + kind.memory.whole(size)


def estimate_blocks(kind: Kind, size: Size) -> int:
    """Bytes at the peak of fitting in blocks, by a head that can."""
    assert kind.memory.blocks is not None
    held = size.val + size.test
    # A block in float32, the next one as stored and in float32, what is made of both in float64.
    work = 7 * config.BLOCK_BYTES
    # Where nothing else chooses, train is scored, too.
    scored = held if size.val or kind.grid is None else held + size.train
    scores = 16 * size.classes * scored
    more = kind.memory.blocks(size) + _estimate_fits(kind, size)
    judged = 32 * size.classes * (size.train + size.val)
    return work + more + scores + judged + 64 * size.train


def _estimate_fits(kind: Kind, size: Size) -> int:
    """Of every value of the grid, of train and where val does not choose of the folds, too."""
    if not kind.memory.keeps_fits:
        return 0
    paths = 1 if size.val or size.values == 1 else 1 + config.FOLDS
    return 8 * size.classes * size.features * size.values * paths


def _explain(kind: Kind, size: Size, needed: int, least: int, allowed: int) -> str:
    wanted, given = format_bytes(needed), format_bytes(allowed)
    clf = kind.name
    if kind.memory.blocks is None:
        return (
            f"{clf} needs {wanted} for these features, --max-memory is {given}, and it cannot read "
            "them in blocks: take logreg or ridge, which can, or a larger --max-memory"
        )
    if kind.memory.keeps_rows:
        held = format_bytes(4 * size.features * size.train)
        return (
            f"{clf} needs {format_bytes(least)} at the least, and --max-memory is {given}: its "
            f"model holds all {size.train:,} train rows, {held}. Take centroid or logreg, whose "
            "models are small, or a larger --max-memory"
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
