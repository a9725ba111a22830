"""Several labels an image: how a manifest writes them, and splits that keep their shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import MAX_LABELS, SPLITS
from featx.data.inventory import SET_OF, SPLIT_NAMES, Inventory, join_sets
from featx.data.splits import parse_split
from featx.errors import DatasetError
from featx.sources.folders import as_label
from featx.text import list_some

SEPARATOR = "|"  # as featx writes them; ; is read, too
_SEPARATORS = re.compile("[|;]")
_CELLS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_BLOCK = 4096  # rows in memory at a time


class SetReader:
    """Which labels each line of a manifest gives its image.

    In a column `label`, cut at | and ; (an empty cell: none of the labels), or without one in a
    matrix: every column but path, split and group is a label, and each cell 0 or 1.

    Parameters
    ----------
    columns : sequence of str
        Of the manifest, as they are written.
    named : mapping of str to str
        The same by their plain names.
    group : str or None
        The column that names groups.
    where : str
        The manifest, for messages.

    Raises
    ------
    DatasetError
        A label's name that nothing could be made of.
    """

    def __init__(
        self, columns: Sequence[str], named: Mapping[str, str], group: str | None, where: str
    ) -> None:
        self._where = where
        self._codes: dict[str, int] = {}
        self._twice = 0  # cells that name a label more than once
        known = {named.get(name) for name in ("path", "label", "split", "group")} | {group}
        labels = [one for one in columns if one and one.strip() and one not in known]
        self._others = {one: as_label(one.strip()) for one in labels}
        self._cell = named.get("label")
        if self._cell is None:
            if not self._others:
                raise DatasetError(
                    f"{where}: --multi-label needs a column label, or a column of 0 and 1 for each "
                    f"label; its first line names {', '.join(columns)}"
                )
            for name in map(self._others.__getitem__, labels):
                if _SEPARATORS.search(name) or "\0" in name:
                    raise DatasetError(
                        f"{where}: the label {name!r} has {SEPARATOR} or ; in its name, which part "
                        "labels where several are written together: rename the column"
                    )
                if name in self._codes:
                    raise DatasetError(f"{where}: two columns are the label {name!r}")
                self._codes[name] = len(self._codes)

    def read(self, row: Mapping[Any, Any], place: str) -> bytes:
        """The labels of a line, as codes that `settle` knows; `place` names it in messages."""
        if self._cell is not None:
            return self._read_cell(row)
        found = []
        for column, name in self._others.items():
            cell = (row[column] or "").strip()
            there = _CELLS.get(cell.casefold())
            if there is None:
                raise DatasetError(
                    f"{place}: {column} is {cell[:40]!r}; expected 0 or 1, since without a column "
                    "label --multi-label takes every column but path, split and group for a label"
                )
            if there:
                found.append(self._codes[name])
        return np.array(found, np.int32).tobytes()

    def _read_cell(self, row: Mapping[Any, Any]) -> bytes:
        assert self._cell is not None
        # Beside labels in words, columns that are a matrix would say the same twice, or otherwise.
        for column in list(self._others):
            if (row[column] or "").strip() not in ("0", "1"):
                del self._others[column]
        names = [as_label(part.strip()) for part in _SEPARATORS.split(row[self._cell] or "")]
        named = [name for name in names if name]
        self._twice += len(set(named)) < len(named)
        codes = [self._codes.setdefault(n, len(self._codes)) for n in dict.fromkeys(named)]
        return np.array(codes, np.int32).tobytes()

    def settle(self, found: Inventory) -> None:
        """Name the classes of an inventory, and make of each image's codes its set.

        Raises
        ------
        DatasetError
            No image has any label, there are too many, or there is a matrix beside them.
        """
        if self._cell is not None and self._others:
            raise DatasetError(
                f"{self._where} has a column label and columns of 0 and 1 ("
                f"{list_some(list(self._others))}): leave out the one or the other"
            )
        if not self._codes:
            raise DatasetError(f"{self._where}: no image has any label")
        if len(self._codes) > MAX_LABELS:
            raise DatasetError(
                f"{self._where}: {len(self._codes)} labels, and {MAX_LABELS} are the most: are "
                f"these labels ({list_some(list(self._codes), 3)})?"
            )
        if self._cell is not None and (odd := sorted(name for name in self._codes if "," in name)):
            found.notes.append(
                f"labels with a comma in their names, since | or ; parts labels: {list_some(odd)}"
            )
        found.classes = tuple(sorted(self._codes))
        place = {name: k for k, name in enumerate(found.classes)}
        place_of = np.array([place[name] for name in self._codes])

        def spell(codes: bytes) -> bytes:
            own = np.zeros(len(place), np.uint8)
            own[place_of[np.frombuffer(codes, np.int32)]] = 1
            return own.tobytes()

        found.db.create_function("spell_set", 1, spell, deterministic=True)
        found.db.execute("UPDATE label_sets SET labels = spell_set(labels)")
        if self._twice:
            found.notes.append(f"lines that name a label more than once: {self._twice}")


def iterate_sets(
    found: Inventory, columns: str = "position"
) -> Iterator[tuple[list[tuple[int, ...]], npt.NDArray[np.bool_]]]:
    """Some columns of images, with their sets, shape (n, n_labels), in order, some at a time."""
    rows = found.db.execute(f"SELECT {SET_OF}, {columns} FROM images ORDER BY position")
    while some := list(islice(rows, _BLOCK)):
        yield [one[1:] for one in some], join_sets((one[0] for one in some), len(found.classes))


def split_sets(found: Inventory, rule: str) -> None:
    """Split by fractions so that each label keeps its share; see `deal_sets`.

    Raises
    ------
    DatasetError
        A rule that counts images of each class.
    """
    parsed = parse_split(rule)
    if isinstance(parsed[0], int):
        raise DatasetError(
            f"--split {rule} counts images of each class, and with --multi-label an image may be "
            "of several: give fractions, such as 0.7,0.1,0.2@0"
        )
    fractions, seed = parsed
    sets = np.concatenate([each for _, each in iterate_sets(found)])
    sides = deal_sets(sets, fractions, seed, fill=True)
    found.db.executemany(
        "UPDATE images SET split = ? WHERE position = ?",
        zip(sides.tolist(), range(len(sides)), strict=True),
    )
    found.split_rule = rule


def deal_sets(
    sets: npt.NDArray[np.bool_], shares: Sequence[float], seed: int = 0, fill: bool = False
) -> npt.NDArray[np.int64]:
    """Deal rows with sets of labels onto sides, so that each side has its share of each label.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification of
    Multi-Label Data): the rows of the label that is rarest among those not yet dealt go first, each
    to the side that lacks most of that label, of equals to the side that lacks most rows, of equals
    to any. Rows without a label go last.

    Parameters
    ----------
    sets : ndarray of shape (n_samples, n_labels), bool
    shares : sequence of float
        Of each side; they sum to 1. The first is not 0.
    seed : int
    fill : bool
        Take a row of each label there is to the first side, which all others are learned from.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        The side of each row.
    """
    rng = np.random.default_rng(seed)
    used = np.flatnonzero(np.asarray(shares) > 0)
    order = rng.permutation(len(sets))
    own = sets[order]
    share = np.asarray(shares, np.float64)[used]
    lacking, rows_lacking = np.outer(share, own.sum(axis=0)), share * len(own)
    left, dealt = own.sum(axis=0).astype(np.float64), np.full(len(own), -1)

    def put(row: int, lacks: npt.NDArray[np.float64]) -> None:
        best = np.flatnonzero(lacks >= lacks.max() - 1e-9)
        best = best[rows_lacking[best] >= rows_lacking[best].max() - 1e-9]
        side = int(best[0] if len(best) == 1 else rng.choice(best))
        dealt[row] = side
        rows_lacking[side] -= 1
        lacking[side] -= own[row]
        left[:] -= own[row]

    while left.any():
        label = int(np.where(left > 0, left, np.inf).argmin())
        for row in np.flatnonzero((dealt < 0) & own[:, label]).tolist():
            put(row, lacking[:, label])
    for row in np.flatnonzero(dealt < 0).tolist():
        put(row, rows_lacking)
    for label in np.flatnonzero(~own[dealt == 0].any(axis=0)).tolist() if fill else ():
        dealt[np.flatnonzero(own[:, label])[:1]] = 0
    sides = np.empty(len(own), np.int64)
    sides[order] = used[dealt]
    return sides


def note_sets(found: Inventory) -> None:
    """Note labels that nothing can be learned of, or measured of, and images without any.

    Raises
    ------
    DatasetError
        There is no train image, and there are others.
    """
    counts = np.zeros((len(SPLIT_NAMES), len(found.classes)), np.int64)
    images, bare, first = np.zeros(len(SPLIT_NAMES), np.int64), 0, -1
    for rows, sets in iterate_sets(found, "position, split"):
        places, splits = np.array(rows).T
        np.add.at(counts, splits, sets)
        images += np.bincount(splits, minlength=len(images))
        none = ~sets.any(axis=1)
        if none.any() and first < 0:
            first = int(places[none][0])
        bare += int(none.sum())
    if not images[0] and images[1 : len(SPLITS)].any():
        raise DatasetError(f"{found.root} has no train images")
    for split, own, n in zip(SPLITS, counts, images, strict=False):
        missing = [name for name, there in zip(found.classes, own, strict=True) if not there]
        if n and missing:
            then = "nothing could learn them" if split == "train" else "none is measured there"
            found.notes.append(f"no {split} image has the labels {list_some(missing)}: {then}")
    if bare:
        example = next(found.iterate_names(f"WHERE position = {first}"))
        found.notes.append(
            f"images with none of the labels: {bare} (such as {example}); they count as that"
        )


def count_cells(found: Inventory) -> Iterable[tuple[str, int, int]]:
    """Group, label and images, of all that there are; one more label is to have none."""
    for rows, sets in iterate_sets(found, "team"):
        own = np.hstack([sets, ~sets.any(axis=1, keepdims=True)])
        for (team,), each in zip(rows, own, strict=True):
            yield from ((str(team), k, 1) for k in np.flatnonzero(each).tolist())


def join_labels(names: Sequence[str], own: npt.NDArray[np.bool_]) -> str:
    """The labels of an image as one cell of a CSV."""
    return SEPARATOR.join(names[k] for k in np.flatnonzero(own).tolist())
