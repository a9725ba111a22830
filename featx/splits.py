"""Which image is in which split: the two rules, and whether a split can be learned from."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.config import SPLITS
from featx.errors import DatasetError

log = logging.getLogger(__name__)

NO_LABEL = -1


def parse_split(rule: str) -> tuple[int, int] | tuple[tuple[float, float, float], int]:
    """Read ``first:60,10`` as (60, 10) and ``0.7,0.1,0.2@3`` as ((0.7, 0.1, 0.2), 3).

    Raises
    ------
    DatasetError
        For anything else; the message shows both forms.
    """
    if match := re.fullmatch(r"first:(\d+),(\d+)", rule):
        n_train, n_val = int(match[1]), int(match[2])
        if n_train > 0:
            return n_train, n_val
    number = r"(\d*\.?\d+)"
    if match := re.fullmatch(rf"{number},{number},{number}(?:@(\d+))?", rule):
        a, b, c = float(match[1]), float(match[2]), float(match[3])
        if a > 0 and abs(a + b + c - 1) < 1e-6:
            return (a, b, c), int(match[4] or 0)
    raise DatasetError(
        f"cannot read the split rule {rule!r}: write first:60,10 (of each class, by file name, 60 "
        "train, the next 10 val, the rest test) or 0.7,0.1,0.2@SEED (fractions that sum to 1)"
    )


def assign_splits(
    rule: str,
    classes: Sequence[str],
    targets: npt.NDArray[np.int64],
    names: Sequence[str],
    empty: Sequence[str] = (),
) -> npt.NDArray[np.str_]:
    """Split labelled images by a rule.

    Parameters
    ----------
    rule : str
        See `parse_split`.
    classes : sequence of str
    targets : ndarray of shape (n_samples,), int64
        Index into `classes`.
    names : sequence of str
        File names, for the rule that goes by their order.
    empty : sequence of str
        Classes that are meant to be there and have no image.

    Returns
    -------
    ndarray of shape (n_samples,), str

    Raises
    ------
    DatasetError
        Classes with fewer images than the rule asks for, with their counts.
    """
    parsed = parse_split(rule)
    splits = np.full(len(targets), "", dtype="<U5")
    rows_of = [np.flatnonzero(targets == k) for k in range(len(classes))]
    if isinstance(parsed[0], int):
        n_train, n_val = parsed
        short = [f"{name} has 0" for name in empty]
        short += [
            f"{name} has {len(rows)}"
            for name, rows in zip(classes, rows_of, strict=True)
            if len(rows) < n_train + n_val
        ]
        if short:
            raise DatasetError(
                f"--split {rule} asks for {n_train} + {n_val} = {n_train + n_val} images of each "
                f"class, but {', '.join(short)}"
            )
        for rows in rows_of:
            # In the order of file names, whatever folder or order they came in.
            rows = rows[np.argsort(np.array([names[i] for i in rows.tolist()]), kind="stable")]
            splits[rows] = "test"
            splits[rows[:n_train]] = "train"
            splits[rows[n_train : n_train + n_val]] = "val"
        return splits
    fractions, seed = parsed
    rng = np.random.default_rng(seed)
    for rows in rows_of:
        sizes = _apportion(len(rows), fractions)
        shuffled = rng.permutation(rows)
        splits[shuffled] = np.repeat(np.array(SPLITS, dtype="<U5"), sizes)
    for split, fraction in zip(SPLITS, fractions, strict=True):
        there = set(targets[splits == split].tolist())
        without = [name for k, name in enumerate(classes) if k not in there]
        if fraction > 0 and without:
            log.warning("--split %s leaves no %s image of %s", rule, split, ", ".join(without))
    return splits


def _apportion(n: int, fractions: tuple[float, float, float]) -> list[int]:
    """Share n among fractions by largest remainder; train gets one at least."""
    quotas = np.array(fractions) / sum(fractions) * n
    sizes = np.floor(quotas + 1e-9).astype(int)
    order = np.argsort(-(quotas - sizes), kind="stable")
    sizes[order[: n - sizes.sum()]] += 1
    if sizes[0] == 0:
        sizes[np.argmax(sizes)] -= 1
        sizes[0] += 1
    return [int(size) for size in sizes]


def find_untrainable(
    classes: Sequence[str], targets: npt.NDArray[np.int64], splits: npt.NDArray[np.str_]
) -> str | None:
    """Why no classifier can be trained on these rows, in a sentence; None where one can."""
    if not classes or not (targets >= 0).any():
        return "its images have no labels: there is nothing to learn"
    have = set(targets[splits == "train"].tolist()) - {NO_LABEL}
    if not have:
        return "it has no train images: there is nothing to learn from"
    missing = [name for k, name in enumerate(classes) if k not in have]
    if missing:
        return f"train has no image of {', '.join(missing)}: nothing could learn it"
    return None
