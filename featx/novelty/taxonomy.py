"""A taxonomy: what each class is of, at wider and wider ranks, as a CSV file says it."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from featx.arrays import Labels, Matrix
from featx.errors import DatasetError
from featx.sources.folders import as_label
from featx.sources.tables import find_delimiter, find_encoding
from featx.storage.csv_files import write_csv
from featx.storage.files import take_path
from featx.text import list_some, say_error

log = logging.getLogger(__name__)

TAXONOMY_NAME = "taxonomy.csv"  # in a comparison's folder
MISSING = -1  # instead of a name's number
_Line = tuple[int, list[str]]  # its number, and a name or "" for each rank


@dataclass(frozen=True)
class Taxonomy:
    """A tree over classes.

    Attributes
    ----------
    ranks : tuple of str
        From the classes' own outward: ("species", "genus", "family").
    lines : tuple of tuple of str
        Of each class its name and, by rank, the names that it is of; "" where it has none.
    """

    ranks: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    @cached_property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """By rank all names that stand there: the classes in their order, wider ones sorted."""
        classes, *wider = zip(*self.lines, strict=True)
        return (classes, *(tuple(sorted({*column} - {""})) for column in wider))

    @cached_property
    def codes(self) -> Labels:
        """Numbers of `names`, shape (n_classes, n_ranks), int64; `MISSING` where there is none."""
        numbers = [{name: i for i, name in enumerate(names)} for names in self.names]
        return np.array(
            [
                [known.get(name, MISSING) for known, name in zip(numbers, line, strict=True)]
                for line in self.lines
            ],
            np.int64,
        )

    @cached_property
    def _members(self) -> sparse.csr_array:
        """Which class is of which name of the wider ranks, these one after the other."""
        wider = self.codes[:, 1:]
        starts = np.cumsum([0, *map(len, self.names[1:])])
        rows, ranks = np.nonzero(wider != MISSING)
        columns = starts[ranks] + wider[rows, ranks]
        shape = (len(self.lines), int(starts[-1]))
        return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)

    def sum_ranks(self, probabilities: Matrix) -> list[Matrix]:
        """Probabilities of the names of each rank: sums over their classes.

        Parameters
        ----------
        probabilities : ndarray of shape (n_samples, n_classes)

        Returns
        -------
        list of ndarray of shape (n_samples, n_names)
            By rank; the columns are `names`. A class without a name at a rank counts for none.
        """
        bounds = np.cumsum([*map(len, self.names[1:])])[:-1]
        return [probabilities, *np.split(probabilities @ self._members, bounds, axis=1)]

    def find_best(self, probabilities: Matrix) -> tuple[Labels, Matrix]:
        """The most probable name at each rank, and its probability, (n_samples, n_ranks) each."""
        sums = self.sum_ranks(probabilities)
        best = np.stack([one.argmax(axis=1) for one in sums], axis=1)
        return best, np.stack([one.max(axis=1) for one in sums], axis=1)

    def find_meeting(self, a: Labels, b: Labels) -> Labels:
        """The narrowest rank at which classes are of the same name, shape (n_samples,).

        `MISSING` where there is none.
        """
        same = (self.codes[a] == self.codes[b]) & (self.codes[a] != MISSING)
        found: Labels = np.where(same.any(axis=1), same.argmax(axis=1), MISSING)
        return found

    def take(self, classes: Sequence[str], where: object) -> Taxonomy:
        """The same of these classes, in their order. What is left out is said.

        Raises
        ------
        DatasetError
            It has no line of one of them, or of none any rank.
        """
        known = {line[0]: line for line in self.lines}
        if lacking := [name for name in classes if name not in known]:
            folded = {name.casefold() for name in known}
            cased = any(name.casefold() in folded for name in lacking)
            raise DatasetError(
                f"{where} has no line for {list_some(lacking)}"
                + " (it has one in another case)" * cased
                + ": give every class one; its ranks may be empty"
            )
        if extra := sorted(known.keys() - set(classes)):
            log.info(
                "%s: lines of classes that are not here were left out: %s", where, list_some(extra)
            )
        lines = [known[name] for name in classes]
        used = [r for r in range(len(self.ranks)) if any(line[r] for line in lines)]
        if len(used) < 2:
            raise DatasetError(f"{where} gives none of the classes a rank: there is nothing to sum")
        if empty := [name for r, name in enumerate(self.ranks) if r not in used]:
            log.info("%s: ranks without a name here were left out: %s", where, ", ".join(empty))
        ranks, *lines = (tuple(line[r] for r in used) for line in (self.ranks, *lines))
        return Taxonomy(ranks, tuple(lines))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"ranks": list(self.ranks), "classes": [list(line) for line in self.lines]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Taxonomy:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError on anything else."""
        ranks, lines = tuple(values["ranks"]), tuple(tuple(line) for line in values["classes"])
        if not lines or any(len(line) != len(ranks) for line in lines):
            raise ValueError("lines of a taxonomy that have not as many names as there are ranks")
        return cls(ranks, lines)


def read_taxonomy(path: str | Path) -> Taxonomy:
    """Read a CSV file: a line for each class, with its name and then those of its ranks.

    The first line names the ranks, the classes' own first and the widest last. A rank may be
    missing; what another line says of the same name stands in for it.

    Parameters
    ----------
    path : path
        In UTF-8, or as a spreadsheet writes it; see `read_manifest`.

    Returns
    -------
    Taxonomy

    Raises
    ------
    DatasetError
        It cannot be read, names no ranks or no classes, or is no tree: a class twice, a name at two
        ranks, which would make a circle, or under two others.
    """
    path = take_path(path, "taxonomy")
    try:
        with path.open(encoding=find_encoding(path), newline="") as file:
            delimiter, above = find_delimiter(file)
            reader = csv.reader(file, strict=True, delimiter=delimiter)
            ranks = _read_ranks(next(reader, []), path)
            lines = [(above + n, names) for n, names in _read_lines(reader, len(ranks), path)]
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {say_error(error)}") from error
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} is not a CSV in UTF-8: {error}; spreadsheets save one as CSV UTF-8"
        ) from error
    if not lines:
        raise DatasetError(f"{path} names no classes: nothing follows its first line")
    _fill(lines, _check_tree(lines, ranks, path))
    _check_tree(lines, ranks, path)
    return Taxonomy(ranks, tuple(tuple(names) for _, names in lines))


def take_taxonomy(taxonomy: str | Path | Taxonomy, classes: Sequence[str]) -> Taxonomy:
    """That of some classes, in their order, of a file or of what was read from one.

    Raises
    ------
    DatasetError
        See `read_taxonomy` and `Taxonomy.take`.
    """
    if isinstance(taxonomy, Taxonomy):
        return taxonomy.take(classes, "the taxonomy")
    return read_taxonomy(taxonomy).take(classes, taxonomy)


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write what `read_taxonomy` reads."""
    write_csv(path, taxonomy.ranks, taxonomy.lines)


def _read_ranks(header: Sequence[str], path: Path) -> tuple[str, ...]:
    ranks = [as_label(name.strip()) for name in header]
    while ranks and not ranks[-1]:  # spreadsheets fill up lines
        ranks.pop()
    told = f"{path}, line 1: {','.join(header)[:80]!r}"
    if len(ranks) < 2:
        raise DatasetError(
            f"{told} names {len(ranks) or 'no'} column{'s' * (len(ranks) != 1)}; expected the "
            "class and one or more ranks, such as species,genus,family"
        )
    if "" in ranks:
        raise DatasetError(f"{told} has a column without a name, and a rank needs one")
    if double := next((name for name in ranks if ranks.count(name) > 1), None):
        raise DatasetError(f"{told} names the column {double} twice: give one another name")
    return tuple(ranks)


def _read_lines(reader: Any, n_ranks: int, path: Path) -> Iterator[_Line]:
    """Number and names of every line that has any, from a `csv.reader`."""
    for cells in reader:
        line, names = reader.line_num, [as_label(cell.strip()) for cell in cells]
        if not any(names):
            continue
        if any(names[n_ranks:]):
            raise DatasetError(
                f"{path}, line {line}: it has {len(names)} cells, and the first line names "
                f"{n_ranks} columns; a name with the delimiter in it needs quotes"
            )
        if not names[0]:
            raise DatasetError(
                f"{path}, line {line}: the class is empty; the first column names it"
            )
        yield line, [*names, *[""] * n_ranks][:n_ranks]


_Above = dict[tuple[str, int], tuple[str, int]]  # name and wider rank: name there, and its line


def _check_tree(lines: Sequence[_Line], ranks: Sequence[str], path: Path) -> _Above:
    """What stands above each name; raises DatasetError where that is no tree."""
    places: dict[str, tuple[int, int]] = {}
    above: _Above = {}
    for line, names in lines:
        for rank, name in enumerate(names):
            if not name:
                continue
            there, first = places.setdefault(name, (rank, line))
            if there == rank == 0 and first != line:
                raise DatasetError(
                    f"{path}, line {line}: the class {name} stands in line {first} already; leave "
                    "one of them out"
                )
            if there != rank:
                raise DatasetError(
                    f"{path}, line {line}: {name} is of the rank {ranks[rank]}, and in line "
                    f"{first} of {ranks[there]}: a name of two ranks makes a circle of the tree; "
                    "give one of them another name"
                )
            for wider in range(rank + 1, len(ranks)):
                if not (parent := names[wider]):
                    continue
                known, first = above.setdefault((name, wider), (parent, line))
                if known != parent:
                    raise DatasetError(
                        f"{path}, line {line}: {name} ({ranks[rank]}) is of {parent} "
                        f"({ranks[wider]}), and in line {first} of {known}: a name has one place "
                        "in the tree, and columns go from the narrowest rank to the widest"
                    )
    return above


def _fill(lines: Sequence[_Line], above: _Above) -> None:
    """Fill in missing ranks from what other lines say of the same names, the narrowest first."""
    for _, names in lines:
        for rank, name in enumerate(names):
            for wider in range(rank + 1, len(names)):
                if name and not names[wider] and (name, wider) in above:
                    names[wider] = above[name, wider][0]
