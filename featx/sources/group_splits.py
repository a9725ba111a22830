"""Which group is in which split: groups stay whole, classes keep their shares as well as may be."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.config import SHARE_TOLERANCE, SPLITS
from featx.data.dataset import join_pairs
from featx.data.inventory import Inventory
from featx.data.splits import NO_LABEL, parse_split
from featx.errors import DatasetError
from featx.sources.groups import Grouping, find_shared
from featx.sources.label_sets import count_cells
from featx.text import list_some

# Orders in which groups are placed, and cells in all of these together; and how often groups that
# were placed are moved.
_TRIES, _TRIED_CELLS, _ROUNDS = 20, 200_000, 5
_NEAR = 1e-3  # of a class: nearer than this to what was asked for nothing is moved

Cell = tuple[int, float]  # a class, and which part of it a group has


def split_groups(found: Inventory, rule: str, grouping: Grouping) -> None:
    """Split by fractions so that every group is in one split; see `featx.read_dataset`.

    Groups that share a file of the same bytes count as one.

    Raises
    ------
    DatasetError
        A rule that counts images, or too few groups for the splits.
    """
    parsed = parse_split(rule)
    if isinstance(parsed[0], int):
        raise DatasetError(
            f"--split {rule} counts images one by one, and {grouping} keeps groups whole: give "
            "fractions, such as 0.7,0.1,0.2@0"
        )
    fractions, seed = parsed
    db = found.db
    teams = [name for (name,) in db.execute("SELECT DISTINCT team FROM images ORDER BY team")]
    number = {name: k for k, name in enumerate(teams)}
    pairs = find_shared(found)
    joined = join_pairs(len(teams), [(number[a], number[b]) for a, b, _, _ in pairs])
    if pairs:
        a, b, one, other = pairs[0]
        found.notes.append(
            f"files of the same bytes are in different groups ({one} in {a}, {other} in {b}); such "
            f"groups are split as one: {len(teams)} groups become {joined.max() + 1}"
        )
    counts: Counter[tuple[int, int]] = Counter()
    labelled = "TRUE" if found.multilabel else f"target <> {NO_LABEL}"
    for team, target, n in (
        count_cells(found)
        if found.multilabel
        else db.execute(
            f"SELECT team, target, count(*) FROM images WHERE {labelled} GROUP BY team, target"
        )
    ):
        counts[int(joined[number[team]]), target] += n
    cells = np.array([(g, k, n) for (g, k), n in sorted(counts.items())], dtype=np.int64)
    # Groups without a labelled image are in no split.
    there, cells[:, 0] = np.unique(cells[:, 0], return_inverse=True)
    sides = apportion_groups(cells, fractions, seed)
    _note_shares(found, f"--split {rule} {grouping}", cells, sides, fractions)
    of_joined = dict(zip(there.tolist(), sides.tolist(), strict=True))
    db.execute("CREATE TABLE sides (team TEXT PRIMARY KEY, side INT) WITHOUT ROWID")
    db.executemany(
        "INSERT INTO sides VALUES (?, ?)",
        ((name, of_joined.get(int(g))) for name, g in zip(teams, joined, strict=True)),
    )
    db.execute(
        f"UPDATE images SET split = side FROM sides WHERE sides.team = images.team AND {labelled}"
    )
    db.execute("DROP TABLE sides")
    found.split_rule = f"{rule} {grouping}"


def _note_shares(
    found: Inventory,
    asked: str,
    cells: npt.NDArray[np.int64],
    sides: npt.NDArray[np.int64],
    fractions: tuple[float, float, float],
) -> None:
    """Note in what splits are not what was asked for; raise DatasetError where one is empty."""
    group, target, count = cells.T
    names = np.array([*found.classes, *["no label"] * found.multilabel])
    what = "labels" if found.multilabel else "images"
    n_classes, n_groups = len(names), len(sides)
    images = np.array(
        [np.bincount(target[s], count[s], n_classes) for s in (sides[group] == k for k in range(3))]
    )
    empty = [SPLITS[s] for s in range(3) if fractions[s] > 0 and not images[s].sum()]
    whole = images.sum(axis=0)
    alone = np.bincount(target, minlength=n_classes) == 1
    if empty:
        why = (
            "a group has to stay whole; divide them more finely, or ask for fewer splits, such as "
            "0.8,0,0.2"
        )
        if alone.all():
            why = (
                "each class has all its images in one, which train needs: group by what divides a "
                "class, such as the animal or the day"
            )
        raise DatasetError(
            f"{found.source}: {asked} leaves {' and '.join(empty)} without any image: there are "
            f"{n_groups} groups, and {why}"
        )
    if alone.any():
        each = [f"{name} ({n:.0f})" for name, n in zip(names[alone], whole[alone], strict=True)]
        found.notes.append(
            f"a class has all its images in one group, which is train: {list_some(each)}; nothing "
            "tests how well it is told: add images of it from another group, or leave it out"
        )
    said = []
    for split, own, fraction in zip(SPLITS, images, fractions, strict=True):
        without = names[(own == 0) & ~alone & (whole > 0)].tolist()
        if fraction > 0 and without:
            found.notes.append(f"{asked} leaves no {split} image of {list_some(without)}")
        n, off = own.sum(), own.sum() - fraction * whole.sum()
        if abs(off) > max(1, SHARE_TOLERANCE * whole.sum()):
            said.append(
                f"{split} has {n / whole.sum():.1%} of the {what} instead of {fraction:.1%}"
            )
        of_all = whole / whole.sum()
        k = int(np.abs(own - n * of_all).argmax())
        # A difference of one image is nobody's fault.
        if abs(own[k] - n * of_all[k]) > max(1, SHARE_TOLERANCE * n):
            said.append(f"{own[k] / n:.1%} of {split} is {names[k]} instead of {of_all[k]:.1%}")
    if said:
        found.notes.append(
            f"{asked} keeps {n_groups} groups whole, and shares differ from those asked for: "
            + "; ".join(said).replace("%", " %")
        )


def apportion_groups(
    cells: npt.NDArray[np.int64], fractions: tuple[float, float, float], seed: int
) -> npt.NDArray[np.int64]:
    """The split of each group.

    The idea is that of scikit-learn's StratifiedGroupKFold: groups are placed one by one, the
    largest first, each where it does the classes' shares most good. What is made small here is the
    sum over splits and classes of (part of the class - fraction)^2 / fraction, so that a small
    split gets its part of the large groups, too. Groups are then moved for as long as that helps;
    among groups of about the same size the order is random, and of several orders the best is
    kept: one with no class's share of a split off by more than `SHARE_TOLERANCE`, if there is one.

    Parameters
    ----------
    cells : ndarray of shape (n_cells, 3), int64
        Group from 0, class and number of images, for all that there are of these.
    fractions : (float, float, float)
        Of train, val and test; that of train is not 0.
    seed : int

    Returns
    -------
    ndarray of shape (n_groups,), int64
        Index into SPLITS. Train has every class. Where there are too few groups, a split that was
        to have some has none.
    """
    listed, sizes = _list_cells(cells)
    weight = [math.floor(math.log2(sum(part * part for _, part in one)) / 2) for one in listed]
    rng = np.random.default_rng(seed)
    tried = []
    for _ in range(max(1, min(_TRIES, _TRIED_CELLS // len(cells)))):
        placing = _Placing(listed, sizes, fractions)
        # Of about the same size are those within a factor of two.
        order = sorted(rng.permutation(len(listed)).tolist(), key=lambda g: -weight[g])
        for _ in range(_ROUNDS):
            if not sum(map(placing.place, order)) or placing.farthest < _NEAR:
                break
        placing.fill()
        tried.append(placing)
    best = min(tried, key=lambda one: (max(one.worst, SHARE_TOLERANCE), one.badness))
    return np.array(best.sides, dtype=np.int64)


def _list_cells(cells: npt.NDArray[np.int64]) -> tuple[list[list[Cell]], list[float]]:
    """The cells of each group, and how many images each class has.

    One more class is all images; it weighs as much as all others together.
    """
    group, target, count = cells.T
    n_groups, n_classes = int(group.max()) + 1, int(target.max()) + 1
    of_class = np.bincount(target, count, n_classes)
    of_group = np.bincount(group, count, n_groups)
    owners = np.concatenate([group, np.arange(n_groups)])
    kinds = np.concatenate([target, np.full(n_groups, n_classes)])
    everything = of_group / count.sum() * math.sqrt(n_classes)
    parts = np.concatenate([count / of_class[target], everything])
    order = np.argsort(owners, kind="stable")
    listed = list(zip(kinds[order].tolist(), parts[order].tolist(), strict=True))
    ends = np.searchsorted(owners[order], np.arange(n_groups + 1)).tolist()
    return [listed[a:b] for a, b in itertools.pairwise(ends)], of_class.tolist()


class _Placing:
    """Groups on their way into splits.

    Parameters
    ----------
    cells : list of list of Cell
        Of each group.
    sizes : list of float
        Of each class, in images.
    fractions : (float, float, float)
    """

    def __init__(
        self,
        cells: list[list[Cell]],
        sizes: list[float],
        fractions: tuple[float, float, float],
    ) -> None:
        self.sides = [-1] * len(cells)
        self._cells, self._sizes, self._fractions = cells, np.array(sizes), fractions
        self._used = [s for s, fraction in enumerate(fractions) if fraction > 0]
        # How much each split has of each class beyond what it should.
        wholes = [1.0] * len(sizes) + [math.sqrt(len(sizes))]
        self._over = [[-fraction * whole for whole in wholes] for fraction in fractions]

    def put(self, g: int, side: int) -> None:
        """Put a group into a split, from where it was."""
        for s, sign in ((self.sides[g], -1), (side, 1)):
            if s >= 0:
                over = self._over[s]
                for k, part in self._cells[g]:
                    over[k] += sign * part
        self.sides[g] = side

    def place(self, g: int) -> bool:
        """Put a group where it does most good; whether it was elsewhere."""
        now, cells = self.sides[g], self._cells[g]
        best, least = now, math.inf
        for s in self._used:
            # What it adds to `badness` to be there; in place, since this runs for every group.
            over, sign, added = self._over[s], -1 if s == now else 1, 0.0
            for k, part in cells:
                added += part * (2 * over[k] + sign * part)
            if added / self._fractions[s] < least:
                best, least = s, added / self._fractions[s]
        if best == now:
            return False
        self.put(g, best)
        return True

    @property
    def badness(self) -> float:
        """The sum that is to be small; see `apportion_groups`."""
        return sum(sum(one * one for one in self._over[s]) / self._fractions[s] for s in self._used)

    @property
    def farthest(self) -> float:
        """The largest difference between the part of a class in a split and the fraction."""
        return max(max(map(abs, self._over[s])) for s in self._used)

    @property
    def worst(self) -> float:
        """The largest difference between a class's share of a split and its share of all."""
        parts = np.array([self._over[s][:-1] for s in self._used])
        counts = (parts + np.array(self._fractions)[self._used, None]) * self._sizes
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)
        return float(np.abs(shares - self._sizes / self._sizes.sum()).max(initial=0.0))

    def fill(self) -> None:
        """Give train a group of every class, and every split a group, where there are enough."""
        held = Counter(k for g, s in enumerate(self.sides) if s == 0 for k, _ in self._cells[g])
        lacking: dict[int, list[int]] = {}
        for g, cells in enumerate(self._cells):
            for k, _ in cells:
                if not held[k]:
                    lacking.setdefault(k, []).append(g)
        for k, groups in lacking.items():
            if not held[k]:
                self._fetch(groups, 0, held)
        for side in self._used:
            counts = Counter(self.sides)
            if not counts[side]:
                spare = [
                    g
                    for g, s in enumerate(self.sides)
                    if counts[s] > 1 and (s or all(held[k] > 1 for k, _ in self._cells[g]))
                ]
                self._fetch(spare, side, held)

    def _fetch(self, groups: Sequence[int], side: int, held: Counter[int]) -> None:
        """Take into a split that of some groups that does least harm; `held` counts train's."""

        def count_harm(g: int) -> float:
            now = self.sides[g]
            self.put(g, side)
            harm = self.badness
            self.put(g, now)
            return harm

        if not groups:
            return
        g = min(groups, key=count_harm)
        for s, sign in ((self.sides[g], -1), (side, 1)):
            if s == 0:
                held.update({k: sign for k, _ in self._cells[g]})
        self.put(g, side)
