"""Which images of a pool to label next, of feature files, and what another round would bring."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.arrays import Labels
from featx.config import FORECAST_FEW, NEXT_IMAGES
from featx.errors import DatasetError, FeatureFileError
from featx.features.content import Features, need_one_label
from featx.features.file import read_features
from featx.features.selection import take_kin
from featx.labelling.answers import apply_answers
from featx.labelling.choosing import check_count, choose_rows
from featx.labelling.forecast import Forecast, forecast_gain, measure_curve
from featx.labelling.near import find_near_copies
from featx.labelling.opinion import Opinion, form_opinion
from featx.storage.blocks import Blocks
from featx.training.trials import Folds, join_kin, plan_folds

log = logging.getLogger(__name__)

_TRIES = 3  # to choose others in the place of near copies
LEARNED = ("train", "val")  # the splits whose labels are learned from
WAYS = {
    "centroids": "those nearest to the middles of the pool's clusters",
    "uncertainty": "those that the labels so far leave in doubt, unlike each other",
}


@dataclass(frozen=True)
class Proposal:
    """An image to label.

    Attributes
    ----------
    path : str
        Relative to the pool's folder.
    sha256 : str
        Of the file's bytes, in hex.
    guess : str
        What the labels so far say it is; "" where they say nothing.
    probability : float or None
        Of the guess.
    """

    path: str
    sha256: str
    guess: str = ""
    probability: float | None = None


@dataclass(frozen=True)
class NextImages:
    """What to label next.

    Attributes
    ----------
    features, pool : Features
        With the labels, and with the images without one; the same where one file has both.
    by : {"centroids", "uncertainty"}
        How they were chosen: a key of `WAYS`.
    labelled : int
        Images whose labels were learned from: train's and val's.
    unlabelled : int
        Images of the pool, copies included.
    copies : int
        Of these, copies of labelled images, or of others of the pool, byte for byte; and of what
        would be proposed, other copies of labelled ones, where pictures are found.
    images : tuple of Proposal
    forecast : Forecast or None
        None where too few labels say so, or it was not asked for.
    held_out : str
        By which images the forecast was measured.
    notes : tuple of str
        What one should know besides, a sentence each.
    seconds : float
    """

    features: Features
    pool: Features
    by: str
    labelled: int
    unlabelled: int
    copies: int
    images: tuple[Proposal, ...]
    forecast: Forecast | None
    held_out: str
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx next --json``."""
        forecast = None
        if self.forecast is not None:
            forecast = {**self.forecast.to_dict(), "held_out": self.held_out}
        corrected = self.features.corrected
        return {
            "features": str(self.features.path) if self.features.path else None,
            "labels": None if corrected is None else corrected.to_dict(),
            "pool": str(self.pool.path) if self.pool.path else None,
            "by": self.by,
            "labelled": self.labelled,
            "unlabelled": self.unlabelled,
            "copies": self.copies,
            "images": [asdict(one) for one in self.images],
            "forecast": forecast,
            "notes": list(self.notes),
            "seconds": self.seconds,
        }


def find_next(
    features: Features | str | Path,
    pool: Features | str | Path | None = None,
    *,
    n: int = NEXT_IMAGES,
    labels: str | Path | None = None,
    root: str | Path | None = None,
    forecast: bool = True,
    seed: int = 0,
) -> NextImages:
    """Choose the images whose labels would teach most, and say what as many more would bring.

    Parameters
    ----------
    features : Features or path of a feature file
        Labels are learned from its train and val; test, where it has one, judges the forecast.
    pool : Features or path of a feature file, optional
        Images without a label are taken from it, made as `features` were. None: from `features`.
    n : int
        How many; at least 1. Of a smaller pool all are given.
    labels : path, optional
        A CSV of corrected labels, such as one of images to label next that was filled in: of
        `features`, of the pool, or of both. See `featx.correct_labels`.
    root : path, optional
        Where the pool's pictures are; None: a folder of its data's name here or beside its file.
        Where they and the labelled ones are found, copies of these are not proposed.
    forecast : bool
        Measure a learning curve.
    seed : int
        Of clusters, folds and draws.

    Returns
    -------
    NextImages

    Raises
    ------
    FeatureFileError
        A file cannot be read, or the pool's features were made otherwise.
    DatasetError
        No image without a label, or all are copies of labelled ones; `n` is less than 1.
    """
    check_count(n)
    started = time.perf_counter()
    held = features if isinstance(features, Features) else read_features(features)
    waiting = held if pool is None else pool if isinstance(pool, Features) else read_features(pool)
    for one in (held, waiting):
        need_one_label(one, "featx next")
    if waiting is not held:
        _check_made_alike(held, waiting)
    if labels is not None:
        held, waiting = apply_answers(held, waiting, labels)
    unlabelled, notes = np.flatnonzero(waiting.targets < 0), list[str]()
    if not len(unlabelled):
        raise DatasetError(
            f"{waiting.path or waiting.dataset}: each of its {len(waiting.targets)} images has a "
            "label; images without one are those of a folder called unlabelled/, of a manifest's "
            "lines without a label, or of a pool's own feature file"
        )
    free = _drop_copies(held, waiting, unlabelled, notes)
    rows = np.concatenate([held.rows(split) for split in LEARNED])
    X, y = np.asarray(held.X[rows]), held.targets[rows]
    opinion = form_opinion(X, y, seed=seed) if len(rows) else None
    if opinion is None:
        notes.append("Nothing is labelled yet, so that nothing can be in doubt.")
    elif opinion.fit is None:
        name = held.classes[int(y[0])]
        notes.append(f"All labels are of one class ({name}), which tells nothing apart.")
    free, chosen, by = _choose(held, waiting, free, opinion, n, seed, root, notes)
    if n > len(free):
        notes.append(f"{n} were asked for and {len(free)} are there: all of them.")
    found = None
    judges = ""
    if forecast and opinion is not None and opinion.fit is not None:
        found, judges = _forecast(held, rows, opinion, n, seed, notes)
    return NextImages(
        features=held,
        pool=waiting,
        by=by,
        labelled=len(rows),
        unlabelled=len(unlabelled),
        copies=len(unlabelled) - len(free),
        images=_propose(held, waiting, free[chosen], opinion),
        forecast=found,
        held_out=judges,
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
    )


def _check_made_alike(held: Features, pool: Features) -> None:
    """Raise FeatureFileError where features of two files cannot be compared."""
    made = replace(pool.provenance, layers=held.provenance.layers)  # the last one is read alone
    if told := held.provenance.differences(made):
        raise FeatureFileError(
            pool.path or Path(pool.dataset),
            f"its features were made otherwise than those of {held.path or held.dataset} "
            f"({'; '.join(told)}): extract both in the same way",
        )


def _drop_copies(held: Features, pool: Features, unlabelled: Labels, notes: list[str]) -> Labels:
    """The rows of the pool that are no copy, byte for byte, of a labelled image or of each other.

    Raises
    ------
    DatasetError
        None is left.
    """
    labelled = np.flatnonzero(held.targets >= 0)
    path_of = dict(zip(held.hashes[labelled].tolist(), held.paths[labelled].tolist(), strict=True))
    known, free = list[int](), dict[str, int]()
    for row, digest in zip(unlabelled.tolist(), pool.hashes[unlabelled].tolist(), strict=True):
        if digest in path_of:
            known.append(row)
        else:
            free.setdefault(digest, row)
    if known:
        there = pool.paths[known[0]]
        example = f"such as {there} of {path_of[pool.hashes[known[0]]]}"
        if not free:
            raise DatasetError(
                f"{pool.path or pool.dataset}: every one of its {len(unlabelled)} images without a "
                f"label is a copy of a labelled one, {example}: nothing is left to label"
            )
        notes.append(
            f"{len(known)} of the images without a label are copies of labelled ones, byte for "
            f"byte, and are not proposed ({example})."
        )
    if more := len(unlabelled) - len(known) - len(free):
        notes.append(f"{more} are copies of others without a label, of which one is proposed.")
    return np.array(list(free.values()), np.int64)


def _choose(
    held: Features,
    pool: Features,
    free: Labels,
    opinion: Opinion | None,
    n: int,
    seed: int,
    root: str | Path | None,
    notes: list[str],
) -> tuple[Labels, Labels, str]:
    """The rows of the pool that are no copies, which of these are proposed, and by what."""
    known: dict[int, str] = {}
    for _ in range(_TRIES):
        chosen, by = choose_rows(Blocks((pool.X,), free), opinion, n, seed)
        more = find_near_copies(held, pool, free[chosen], root)
        if not more:
            break
        if len(more) == len(free):
            raise DatasetError(
                f"{pool.path or pool.dataset}: every image without a label shows the same picture "
                "as a labelled one: nothing is left to label"
            )
        known |= more
        free = np.setdiff1d(free, list(more))
    else:
        chosen, by = choose_rows(Blocks((pool.X,), free), opinion, n, seed)
    if known:
        row, path = next(iter(known.items()))
        notes.append(
            f"{len(known)} of the images without a label show the same picture as labelled ones "
            f"and are not proposed (such as {pool.paths[row]} of {path})."
        )
    return free, chosen, by


def _forecast(
    held: Features, rows: Labels, opinion: Opinion, more: int, seed: int, notes: list[str]
) -> tuple[Forecast | None, str]:
    """What as many more labels would bring, and by which images that is measured."""
    kin = join_kin([kin for split, kin in take_kin(held).items() if split in LEARNED])
    X, y = np.asarray(held.X[rows]), held.targets[rows]
    units = np.arange(len(rows)) if kin.units is None else kin.units
    tests = held.rows("test")
    folds: Folds
    if len(tests):
        judges = "test"
        folds = ((np.arange(len(rows)), len(rows) + np.arange(len(tests))),)
        X = np.concatenate([X, held.X[tests]])
        y = np.concatenate([y, held.targets[tests]])
        apart = np.arange(len(tests)) if held.clusters is None else held.clusters[tests]
        units = np.concatenate([units, apart])
    else:
        judges = "folds of the labelled images"
        codes = np.unique(y, return_inverse=True)[1].astype(np.int64)
        folds = plan_folds(codes, kin, seed)
    curve = measure_curve(X, y, folds, units, opinion.C, seed)
    if curve is None:
        why = "a class has one label, so that none can be held out" if not folds else "too few"
        notes.append(f"What more labels would bring cannot be told from {len(rows)}: {why}.")
        return None, ""
    if len(rows) < FORECAST_FEW * len(opinion.known):
        notes.append(
            f"Of so few labels, {len(rows) / len(opinion.known):.1f} a class, more mostly bring "
            f"more than a law through them says: it is to be trusted from about {FORECAST_FEW} on."
        )
    return forecast_gain(curve, len(rows), more, seed), judges


def _propose(
    held: Features, pool: Features, rows: Labels, opinion: Opinion | None
) -> tuple[Proposal, ...]:
    """Rows of the pool as images to label, with what the labels so far say they are."""
    named = zip(pool.paths[rows].tolist(), pool.hashes[rows].tolist(), strict=True)
    if opinion is None or opinion.fit is None:
        return tuple(Proposal(path, digest) for path, digest in named)
    probabilities = opinion.predict_proba(pool.X[rows])
    best = probabilities.argmax(axis=1)
    return tuple(
        Proposal(path, digest, held.classes[opinion.known[k]], float(row[k]))
        for (path, digest), k, row in zip(named, best.tolist(), probabilities, strict=True)
    )
