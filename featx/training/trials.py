"""Rows that choose: each is judged by a fit that saw neither it nor what is related to it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from featx.arrays import Labels
from featx.config import FOLDS
from featx.storage.blocks import Samples, join_rows, take_columns
from featx.training.scaling import Scaler, fit_scaler

_SHOWN = 3  # classes that are named

Folds = tuple[tuple[Labels, Labels], ...]


@dataclass(frozen=True)
class Kin:
    """Which rows belong together, so that what is learned from one says something of the other.

    Attributes
    ----------
    image : ndarray of shape (n_samples,), int64
        A number for each image: the same for views of it, and for copies, byte by byte.
    view : ndarray of shape (n_samples,), bool
        Rows that show their image in another way: learned from, and never judged.
    group : ndarray of shape (n_samples,), int64, or None
        A number for each group of images, with their copies; None: every image is a group.
    """

    image: Labels
    view: npt.NDArray[np.bool_]
    group: Labels | None = None

    @property
    def independent(self) -> bool:
        """Whether no row is another one's relative."""
        alone = self.group is None or len(np.unique(self.group)) == len(self.group)
        return alone and len(np.unique(self.image)) == len(self.image)

    @property
    def units(self) -> Labels | None:
        """Rows of one number stay on one side of a fold; None where all rows are independent."""
        if self.independent:
            return None
        return self.image if self.group is None else self.group

    def take(self, rows: Labels) -> Kin:
        """Kin of some of the rows."""
        group = None if self.group is None else self.group[rows]
        return Kin(self.image[rows], self.view[rows], group)


def know_nothing(n: int) -> Kin:
    """Kin of n rows that are not known to be related."""
    return Kin(np.arange(n), np.zeros(n, bool))


def join_kin(parts: list[Kin]) -> Kin:
    """Kin of rows one after the other, whose numbers mean the same in all parts."""
    groups = [part.group for part in parts if part.group is not None]
    return Kin(
        np.concatenate([part.image for part in parts]),
        np.concatenate([part.view for part in parts]),
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )


@dataclass(frozen=True)
class Pool:
    """All rows that a head is made of, not scaled.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
        Train's rows, views of them, and after these val's.
    y : ndarray of shape (n_samples,), int64
    kin : Kin
    n_train : int
        How many rows are learned from: those that are not val's.
    others : mapping of str to (X, y)
        More splits, which decide nothing.
    """

    X: Samples
    y: Labels
    kin: Kin
    n_train: int
    others: Mapping[str, tuple[Samples, Labels]] = field(default_factory=dict)

    @property
    def has_val(self) -> bool:
        return len(self.y) > self.n_train

    @property
    def val(self) -> tuple[Samples, Labels] | None:
        """Val's rows; None where there are none."""
        return (self.X[self.n_train :], self.y[self.n_train :]) if self.has_val else None

    def take_columns(self, columns: Labels | None) -> Pool:
        """The same rows with some of their columns; None: all."""
        others = {split: (take_columns(X, columns), y) for split, (X, y) in self.others.items()}
        return replace(self, X=take_columns(self.X, columns), others=others)


def join_pool(
    data: Mapping[str, tuple[Samples, Labels]],
    more: tuple[Samples, Labels] | None = None,
    kin: Mapping[str, Kin] | None = None,
) -> Pool:
    """Put one after the other what a head learns from and what chooses.

    Parameters
    ----------
    data : mapping of str to (X, y)
        "train", and "val" where there is one; others are left as they are.
    more : (X, origin), optional
        Rows that show train's images in other ways, and which of train's rows each shows.
    kin : mapping of str to Kin, optional
        Which rows of "train" and "val" are related; None: none are.
    """
    X, y = data["train"]
    X_val, y_val = data.get("val", (None, y[:0]))
    if kin is None:
        n, every = len(y), know_nothing(len(y) + len(y_val))
        kin = {"train": every.take(np.arange(n)), "val": every.take(np.arange(n, len(every.view)))}
    rows, labels, kins = [X], [y], [kin["train"]]
    if more is not None:
        seen = kin["train"].take(more[1])
        rows, labels = [X, more[0]], [y, y[more[1]]]
        kins.append(replace(seen, view=np.ones(len(more[1]), bool)))
    n_train = sum(len(one) for one in labels)
    if X_val is not None:
        rows, labels, kins = [*rows, X_val], [*labels, y_val], [*kins, kin["val"]]
    joined = X if len(rows) == 1 else join_rows(rows)
    others = {split: part for split, part in data.items() if split not in ("train", "val")}
    return Pool(joined, np.concatenate(labels), join_kin(kins), n_train, others)


def plan_folds(y: Labels, kin: Kin, seed: int = 0, most: int = FOLDS) -> Folds:
    """Cut rows into folds that keep relatives together and classes' shares alike.

    There are `most`, or as many as the smallest class has images (of groups: as it has groups, but
    two); a class of one image leaves none, and so does a single group.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        Codes 0 to n_classes - 1, each at least once.
    kin : Kin
    seed : int
    most : int

    Returns
    -------
    tuple of (inside, outside)
        For each fold the rows that are learned from and those that are judged, ascending. Each row
        that is no view is judged once.
    """
    if kin.group is None or kin.independent:
        _, first, unit = np.unique(kin.image, return_index=True, return_inverse=True)
        labels = y[first]
        smallest = int(np.bincount(labels, minlength=int(y.max()) + 1).min())
        if smallest < 2:
            return ()
        cutter = StratifiedKFold(min(most, smallest), shuffle=True, random_state=seed)
        in_order = np.argsort(first)
        cuts = [in_order[out] for _, out in cutter.split(in_order, labels[in_order])]
    else:
        unit = np.unique(kin.group, return_inverse=True)[1]
        kept = np.unique(np.stack([y, unit]), axis=1)[0]
        smallest, n_units = int(np.bincount(kept).min()), int(unit.max()) + 1
        if n_units < 2:
            return ()
        own = np.flatnonzero(~kin.view)
        grouped = StratifiedGroupKFold(
            min(most, max(2, smallest), n_units), shuffle=True, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class smaller than the folds is known
            parts = list(grouped.split(own, y[own], unit[own]))
        cuts = [np.unique(unit[own[out]]) for _, out in parts]
    folds = []
    for units in cuts:
        out = np.isin(unit, units)
        if out.any() and not out.all():
            folds.append((np.flatnonzero(~out), np.flatnonzero(out & ~kin.view)))
    return tuple(folds)


@dataclass(frozen=True)
class Part:
    """One fit that chooses.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_inside, n_features)
        Rows that are learned from, scaled by what they say themselves.
    y : ndarray of shape (n_inside,), int64
        Codes 0 to len(known) - 1, each at least once.
    known : ndarray of int64
        Which classes they are.
    held : ndarray or Blocks of shape (n_outside, n_features)
        Rows that are judged, scaled the same.
    rows : ndarray of shape (n_outside,), int64
        Which of the trial's rows these are.
    """

    X: Samples
    y: Labels
    known: Labels
    held: Samples
    rows: Labels


@dataclass(frozen=True)
class Trial:
    """All rows that choose, and who judges whom.

    Attributes
    ----------
    X : ndarray or Blocks of shape (n_samples, n_features)
        Not scaled.
    y : ndarray of shape (n_samples,), int64
    folds : Folds
    name : str
        What is said to have chosen.
    of : str
        Which images its rows are, in words.
    scale : str
        Learned anew from what each part learns from.
    independent : bool
        No row is another one's relative, so that each may be judged by all of the others.
    level : bool
        See `Scaler`.
    """

    X: Samples
    y: Labels
    folds: Folds
    name: str
    of: str
    scale: str = "none"
    independent: bool = False
    level: bool = False

    def fit_scaler(self, rows: Samples) -> Scaler:
        """Learn from some of its rows how they are scaled."""
        return fit_scaler(self.scale, rows, self.level)

    def cut(self) -> Iterator[Part]:
        """The parts. Of groups one may lack a class: it is learned without, and one that is left
        with a single class, or judges none that it knows, is left out.
        """
        for inside, outside in self.folds:
            known, codes = np.unique(self.y[inside], return_inverse=True)
            if len(known) < 2 or not np.isin(self.y[outside], known).any():
                continue
            rows = self.X[inside]
            scaler = self.fit_scaler(rows)
            yield Part(
                scaler.apply(rows), codes.astype(np.int64), known,
                scaler.apply(self.X[outside]), outside,
            )  # fmt: skip


def hold_val(n_train: int, n_val: int) -> Folds:
    """The one fold of train's rows, which come first, that judges val."""
    return ((np.arange(n_train), np.arange(n_train, n_train + n_val)),)


def say_folds(folds: Folds, of: str, kin: Kin) -> str:
    """What chose, in words."""
    grouped = kin.group is not None and not kin.independent
    what = "groups" if grouped else "images"
    fewer = "" if len(folds) == FOLDS else f", {len(folds)} since a class has no more {what}"
    return f"folds of {of}{fewer}"


def find_few(classes: Sequence[str], y: Labels, kin: Kin) -> str | None:
    """Which classes have too few images, or groups, for `FOLDS` folds, in a sentence, or None.

    Parameters
    ----------
    classes : sequence of str
    y : ndarray of shape (n_samples,), int64
        Codes of `classes`, each at least once.
    kin : Kin
    """
    grouped = kin.group is not None and not kin.independent
    unit = kin.group if grouped and kin.group is not None else kin.image
    apart = [len(np.unique(unit[y == k])) for k in range(len(classes))]
    short = [k for k in np.argsort(apart, kind="stable").tolist() if apart[k] < FOLDS]
    if not short:
        return None
    shown = ", ".join(
        f"{classes[k]} has {apart[k]} {'group' if grouped else 'image'}{'s' * (apart[k] != 1)}"
        for k in short[:_SHOWN]
    )
    more = f", and {len(short) - _SHOWN} more classes have few" if len(short) > _SHOWN else ""
    n_folds = len(plan_folds(y, kin)) or "no"
    return (
        f"{n_folds} folds choose C, k and the like instead of {FOLDS}, since {shown}{more}: add "
        f"{'groups' if grouped else 'images'} of these classes, or leave them out"
    )
