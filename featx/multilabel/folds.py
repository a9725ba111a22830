"""Rows that choose for all labels alike: folds that keep relatives together and labels' shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from featx.arrays import Labels, Matrix
from featx.config import FOLDS
from featx.heads.search import span_rows
from featx.sources.label_sets import deal_sets
from featx.training.scaling import fit_scaler
from featx.training.trials import Folds, Kin, Part, Trial


@dataclass(frozen=True)
class PreparedFold:
    """One fold's rows, scaled by those that are learned from.

    Attributes
    ----------
    inside, outside : ndarray of int64
        Rows that are learned from, and rows that are judged.
    X, held : ndarray of shape (n_inside, n_dims) and (n_outside, n_dims), float32
    """

    inside: Labels
    outside: Labels
    X: Matrix
    held: Matrix


@dataclass(frozen=True)
class LabelTrial(Trial):
    """A trial of one label: `y` is 1 where a row has it. All labels share what was prepared."""

    prepared: tuple[PreparedFold, ...] = field(default=())

    def cut(self) -> Iterator[Part]:
        """See `Trial.cut`: a fold that leaves nothing of either kind to learn from is left out."""
        for fold in self.prepared:
            known = np.unique(self.y[fold.inside])
            if len(known) == 2:
                yield Part(fold.X, self.y[fold.inside], known, fold.held, fold.outside)


def plan_label_folds(sets: npt.NDArray[np.bool_], kin: Kin, seed: int = 0) -> Folds:
    """Cut rows into `FOLDS` folds, or as many as there are images or groups; see `deal_sets`.

    Parameters
    ----------
    sets : ndarray of shape (n_samples, n_labels), bool
    kin : Kin
        Relatives are in one fold.
    seed : int

    Returns
    -------
    tuple of (inside, outside)
        None of a single image or group.
    """
    units = np.arange(len(sets)) if kin.units is None else kin.units
    unit = np.unique(units, return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    n_folds = min(FOLDS, n_units)
    if n_folds < 2:
        return ()
    joined = np.zeros((n_units, sets.shape[1]), bool)
    np.logical_or.at(joined, unit, sets)
    fold = deal_sets(joined, [1 / n_folds] * n_folds, seed)[unit]
    cuts = (fold == number for number in range(n_folds))
    return tuple(
        (np.flatnonzero(~out), np.flatnonzero(out)) for out in cuts if out.any() and not out.all()
    )


def prepare_folds(X: Matrix, folds: Folds, scale: str, turn: bool) -> tuple[PreparedFold, ...]:
    """Scale each fold's rows and `turn` them into their span, once for all labels.

    See `span_rows`: that leaves the optimum of a linear classifier where it is.
    """
    prepared = []
    for inside, outside in folds:
        scaler = fit_scaler(scale, X[inside])
        own, held = (np.asarray(scaler.apply(X[rows])) for rows in (inside, outside))
        if turn:
            span = span_rows(own)
            own, held = (np.asarray(span.project(rows)) for rows in (own, held))
        prepared.append(
            PreparedFold(inside, outside, own.astype(np.float32), held.astype(np.float32))
        )
    return tuple(prepared)


def count_units(y: npt.NDArray[np.bool_], kin: Kin) -> int:
    """How many images, or groups, have a label: copies count once."""
    units = np.arange(len(y)) if kin.units is None else kin.units
    return len(np.unique(units[y]))
