"""Classes that are decided by a place at the edge of their pictures: a sign, a caption, a frame.

The evidence for a class at a place is its map's number there less the mean of all classes' maps: a
softmax does not see what all classes share. What of an image's evidence lies at a place is its
share. A subject is now here, now there, and a background is spread over many places; where one
place at the edge stands out from those around it, in many images of a class and in hardly any of
the others, something was probably put there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom

from featx.arrays import Labels
from featx.config import SHORTCUT_QUANTILE, SHORTCUT_SHARE, SIGNIFICANT
from featx.decoding.crops import find_picture
from featx.explaining.explain import Explanation
from featx.sources.folders import as_label

Numbers = npt.NDArray[np.float64]
T = TypeVar("T")

NO_SHORTCUT = (
    "No class is decided by a place at the edge of its pictures that is not looked at in others."
)
_LEAST_SIDE = 4  # places: on a smaller grid all is edge


@dataclass(frozen=True)
class ZoneShares:
    """Where a class's evidence lies, as means over its images.

    Attributes
    ----------
    label : str
        "" for the mean of the classes.
    images : int
    corners, border, centre : float
        Fractions in [0, 1]: of the four places in the corners, of the others at the edge, of the
        rest.
    """

    label: str
    images: int
    corners: float
    border: float
    centre: float


@dataclass(frozen=True)
class Shortcut:
    """A place at the edge that decides a class, and not the others.

    Attributes
    ----------
    label : str
    row, column : int
        The place, from 0 at the upper left.
    where : str
        The same in words.
    count, images : int
        In so many of the class's images the place stands out further than in 99 of 100 images of
        other classes.
    """

    label: str
    row: int
    column: int
    where: str
    count: int
    images: int

    @property
    def text(self) -> str:
        """As a sentence."""
        return (
            f"{self.label} may be decided by its pictures' {self.where}: in {self.count} of "
            f"{self.images} images the evidence in row {self.row + 1}, column {self.column + 1} "
            f"stands out further than in {100 * SHORTCUT_QUANTILE:.0f} of 100 images of other "
            "classes."
        )


@dataclass(frozen=True)
class Evidence:
    """Where the evidence for images' own classes lies.

    Attributes
    ----------
    zones : tuple of ZoneShares
        Of the classes that have images; the mean of these comes last.
    shortcuts : tuple of Shortcut
    """

    zones: tuple[ZoneShares, ...]
    shortcuts: tuple[Shortcut, ...]

    @property
    def text(self) -> str:
        """The shortcuts as sentences, or that there is none."""
        return " ".join(one.text for one in self.shortcuts) or NO_SHORTCUT

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "zones": [asdict(one) for one in self.zones],
            "shortcuts": [{**asdict(one), "text": one.text} for one in self.shortcuts],
            "text": self.text,
        }


class EvidenceTally:
    """Gathers explanations of images whose class is known, and is one of the model's.

    Parameters
    ----------
    labels : mapping of str to str, optional
        Each image's class by its path; None: an image's folder bears the name of its class.
    """

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self._named = labels
        self._classes: tuple[str, ...] = ()
        self._shares: list[Numbers] = []
        self._labels: list[int] = []

    def add(self, one: Explanation) -> None:
        """Take one more; that of an image of another class, or of none, is passed over."""
        path = one.prediction.path
        folder = find_picture(Path(path)).absolute().parent.name
        label = as_label(folder) if self._named is None else self._named.get(path)
        if label in one.classes:
            self._classes = one.classes
            self._shares.append(measure_shares(one, label))
            self._labels.append(one.classes.index(label))

    def watch(self, found: Iterable[T]) -> Iterator[T]:
        """The same, each explanation among them taken."""
        for one in found:
            if isinstance(one, Explanation):
                self.add(one)
            yield one

    def sum_up(self) -> Evidence | None:
        """See `find_shortcuts`."""
        if not self._shares:
            return None
        return find_shortcuts(np.stack(self._shares), np.array(self._labels), self._classes)


def measure_shares(explanation: Explanation, label: str) -> Numbers:
    """How an image's evidence for a class is spread: shape (height, width), its sum is 1.

    What speaks against the class counts as 0; where nothing speaks for it all is 0.
    """
    maps = explanation.maps
    own = np.maximum(maps[explanation.classes.index(label)] - maps.mean(axis=0), 0)
    total = own.sum()
    shares: Numbers = own / total if total > 0 else own
    return shares


def find_shortcuts(shares: Numbers, y: Labels, classes: tuple[str, ...]) -> Evidence | None:
    """Say where the evidence lies, and name the classes that an edge decides.

    A place at the edge is named where in at least `SHORTCUT_SHARE` of a class's images it stands
    out further than in 99 % of the other classes' images, and so many are not met by chance. Of m
    images so many are beyond the r-th smallest of n others, all alike, as the beta-binomial
    distribution of m, n - r + 1 and r has it (Gumbel and von Schelling 1950); p is corrected
    for all places and classes by Bonferroni.

    Parameters
    ----------
    shares : ndarray of shape (n_samples, height, width)
        See `measure_shares`.
    y : ndarray of shape (n_samples,), int64
        Whose images they are: positions in `classes`.
    classes : tuple of str

    Returns
    -------
    Evidence or None
        None for fewer than two classes with images, and for grids of fewer than 4 x 4 places.
    """
    there = np.unique(y).tolist()
    if len(there) < 2 or min(shares.shape[1:]) < _LEAST_SIDE:
        return None
    zones = [_sum_zones(shares[y == k], classes[k]) for k in there]
    corners, border, centre = np.mean([(z.corners, z.border, z.centre) for z in zones], axis=0)
    mean = ZoneShares("", len(y), float(corners), float(border), float(centre))
    edge, outstanding = list_edge(*shares.shape[1:]), measure_outstanding(shares)
    found = []
    for k in there:
        mine, others = outstanding[y == k], outstanding[y != k]
        n = len(others)
        rank = min(n, math.ceil(SHORTCUT_QUANTILE * (n + 1)))  # of few others it is the largest
        limit = np.maximum(np.sort(others, axis=0)[rank - 1], 0)
        counts = (mine > limit).sum(axis=0)
        row, column = max(edge, key=lambda place: counts[place])
        count = int(counts[row, column])
        # How many of the class lie beyond a limit that others set, were all alike: the limit has
        # chance in it, too.
        p = float(betabinom.sf(count - 1, len(mine), n - rank + 1, rank))
        p *= len(edge) * len(there)
        if count >= SHORTCUT_SHARE * len(mine) and p < SIGNIFICANT:
            where = name_place(row, column, *shares.shape[1:])
            found.append(Shortcut(classes[k], row, column, where, count, len(mine)))
    return Evidence((*zones, mean), tuple(found))


def measure_outstanding(shares: Numbers) -> Numbers:
    """How far each place is above the highest of the (3 to 8) around it; the same shape."""
    padded = np.pad(shares, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = shares.shape[1:]
    around = [
        padded[:, row : row + height, column : column + width]
        for row in range(3) for column in range(3) if (row, column) != (1, 1)
    ]  # fmt: skip
    found: Numbers = shares - np.max(around, axis=0)
    return found


def list_edge(height: int, width: int) -> list[tuple[int, int]]:
    """Places at the edge of a grid, the corners first."""
    corners = [(r, c) for r in (0, height - 1) for c in (0, width - 1)]
    rest = [
        (r, c) for r in range(height) for c in range(width)
        if (r in (0, height - 1) or c in (0, width - 1)) and (r, c) not in corners
    ]  # fmt: skip
    return corners + rest


def name_place(row: int, column: int, height: int, width: int) -> str:
    """A place at the edge in words: "top left corner", "left border"."""
    upright = "top" if row == 0 else "bottom" if row == height - 1 else ""
    across = "left" if column == 0 else "right" if column == width - 1 else ""
    return f"{upright} {across} corner" if upright and across else f"{upright or across} border"


def _sum_zones(shares: Numbers, label: str) -> ZoneShares:
    mean = shares.mean(axis=0)
    edge = list_edge(*mean.shape)
    corners, border = (float(sum(mean[p] for p in part)) for part in (edge[:4], edge[4:]))
    return ZoneShares(label, len(shares), corners, border, float(mean[1:-1, 1:-1].sum()))
