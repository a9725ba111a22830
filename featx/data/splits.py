"""Which image is in which split: the two rules, and whether a split can be learned from."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.config import SPLITS
from featx.errors import ArgumentError, DatasetError

NO_LABEL = -1


def parse_split(rule: str) -> tuple[int, int] | tuple[tuple[float, float, float], int]:
    """Read ``first:60,10`` as (60, 10) and ``0.7,0.1,0.2@3`` as ((0.7, 0.1, 0.2), 3).

    Raises
    ------
    DatasetError
        For anything else; the message shows both forms.
    """
    if not isinstance(rule, str):
        raise ArgumentError(f"split is {rule!r:.60}: expected text such as '0.7,0.1,0.2@0'")
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


def check_first(
    rule: str,
    parts: tuple[int, int],
    classes: Sequence[str],
    counts: Sequence[int],
    empty: Sequence[str] = (),
) -> None:
    """Raise DatasetError where classes have fewer images than ``first:N,M`` asks for.

    Parameters
    ----------
    rule : str
        For the message.
    parts : (int, int)
        N and M.
    classes : sequence of str
    counts : sequence of int
        Images of each class.
    empty : sequence of str
        Classes that are meant to be there and have no image.
    """
    n_train, n_val = parts
    wanted = n_train + n_val
    named = [*((name, 0) for name in empty), *zip(classes, counts, strict=True)]
    short = [f"{name} has {count}" for name, count in named if count < wanted]
    if short:
        raise DatasetError(
            f"--split {rule} asks for {n_train} + {n_val} = {wanted} images of each class, but "
            f"{', '.join(short)}"
        )


def apportion_classes(
    rule: str,
    classes: Sequence[str],
    counts: Sequence[int],
    fractions: tuple[float, float, float],
) -> tuple[list[list[int]], list[str]]:
    """How many images of each class go into train, val and test, and where a split gets none.

    Parameters
    ----------
    rule : str
        For the notes of where a split gets none of a class.
    classes : sequence of str
    counts : sequence of int
        Images of each class.
    fractions : (float, float, float)
    """
    shares = [_apportion(count, fractions) for count in counts]
    notes = []
    for i, (split, fraction) in enumerate(zip(SPLITS, fractions, strict=True)):
        without = [name for name, sizes in zip(classes, shares, strict=True) if not sizes[i]]
        if fraction > 0 and without:
            notes.append(f"--split {rule} leaves no {split} image of {', '.join(without)}")
    return shares, notes


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


def count_labels(
    targets: npt.NDArray[np.int64], splits: npt.NDArray[np.str_], n_classes: int
) -> dict[str, list[int]]:
    """Labelled images of each class by split, in the classes' order; "" is in no split."""
    found = {}
    for split in (*SPLITS, ""):
        here = targets[(splits == split) & (targets >= 0)]
        if len(here):
            found[split] = np.bincount(here, minlength=n_classes).tolist()
    return found


def promote_val(
    targets: npt.NDArray[np.int64], splits: npt.NDArray[np.str_]
) -> npt.NDArray[np.str_] | None:
    """Splits with val as the test, where no labelled image is in test and some are in val.

    So it is with train/ and val/ alone, the folders of PyTorch's own tutorial: what is held out
    can say how good a classifier is, or choose it, and not both. None where there is nothing to
    change.
    """
    labelled = targets >= 0
    if ((splits == "test") & labelled).any() or not ((splits == "val") & labelled).any():
        return None
    return np.where(splits == "val", "test", splits)
