"""What the features say about the data, before anyone trusts an accuracy."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.auditing.copies import find_copies
from featx.auditing.findings import KINDS, Finding, find_leaked, list_findings
from featx.auditing.labels import OutOfFold, list_suspects, predict_out_of_fold
from featx.auditing.pixels import look_at
from featx.auditing.relatives import list_divided, list_related
from featx.auditing.strangers import Strangers, find_strangers, list_strangers
from featx.config import LAST_LAYER
from featx.data.dataset import join_copies
from featx.data.splits import count_labels, find_untrainable
from featx.decoding.crops import split_name
from featx.decoding.pixel_format import read_colours
from featx.errors import BudgetError, DatasetError, ModelError
from featx.features.content import Features, need_one_label
from featx.features.file import read_features
from featx.features.outputs import plan_layers, take_rows
from featx.heads.fit import fit
from featx.heads.kind import HeadOptions
from featx.heads.memory import plan_reading
from featx.heads.recipe import make_recipe
from featx.machine import count_cores
from featx.storage.blocks import Blocks, Samples
from featx.storage.places import is_folder, is_place
from featx.timing import Meter
from featx.training.metrics import Score, score_labels
from featx.training.trials import Kin

log = logging.getLogger(__name__)

_RARE = 3  # times fewer train images than the median class has


@dataclass(frozen=True)
class Leak:
    """Accuracy with and without the test images that train or val has a copy of.

    Attributes
    ----------
    clf : str
        The head, trained on train, as ``featx fit`` does.
    leaked : int
        Test images with a copy in train or val.
    everything, without : Score or None
        Of all test images, and of those without a copy; None where there are none.
    """

    clf: str
    leaked: int
    everything: Score
    without: Score | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        scores = {"all": self.everything} | ({"without": self.without} if self.without else {})
        return {
            "clf": self.clf,
            "leaked": self.leaked,
            "accuracy": {k: s.accuracy for k, s in scores.items()},
            "counts": {k: {"correct": s.correct, "total": s.total} for k, s in scores.items()},
            "ci95": {k: list(s.interval) for k, s in scores.items()},
            "ci95_method": {k: s.method for k, s in scores.items()},
        }


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    features : Features
    root : Path or None
        Where the pictures are; None where they were not found.
    looked : int
        Pictures that were seen.
    judged : int
        Images whose label was judged.
    layers : str
        What they were judged by: of the layers that were to be read, those by which the folds'
        log-loss is lowest; see `featx.fit`.
    findings : tuple of Finding
    leak : Leak or None
        None where nothing can be trained, or there is no test image.
    classes : dict
        By split and class the number of images.
    rare : tuple of str
        Classes with less than a third of the train images that the median class has.
    notes : tuple of str
        What was not done, and why.
    seconds : float
    strangers : Strangers or None
        None where they were not asked for, or could not be told.
    """

    features: Features
    root: Path | None
    looked: int
    judged: int
    layers: str
    findings: tuple[Finding, ...]
    leak: Leak | None
    classes: dict[str, dict[str, int]]
    rare: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float
    strangers: Strangers | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind that was looked for, those without any included."""
        found = Counter(one.kind for one in self.findings)
        return {kind: found[kind] for kind in KINDS if kind != "stranger" or self.strangers}

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx audit --json``."""
        return {
            "features": str(self.features.path) if self.features.path else None,
            "dataset": self.features.dataset,
            "root": str(self.root) if self.root else None,
            "images": len(self.features.targets),
            "looked": self.looked,
            "judged": self.judged,
            "layers": self.layers,
            "counts": self.counts,
            "leak": self.leak.to_dict() if self.leak else None,
            "strangers": self.strangers.to_dict() if self.strangers else None,
            "classes": self.classes,
            "rare": list(self.rare),
            "findings": [dataclasses.asdict(one) for one in self.findings],
            "notes": list(self.notes),
            "labels": None if (done := self.features.corrected) is None else done.to_dict(),
            "seconds": self.seconds,
        }


def audit(
    features: Features | str | Path,
    *,
    root: str | Path | None = None,
    layers: str = LAST_LAYER,
    strangers: bool = False,
    seed: int = 0,
    num_workers: int | None = None,
    max_memory: int | None = None,
    progress: bool = False,
) -> Audit:
    """Look for copies, leaks between splits, wrong labels, outliers, and poor pictures.

    Parameters
    ----------
    features : Features or path of a feature file
    root : path, optional
        What its paths are relative to. None: a folder of the data's name, or the one that the
        images are in, here or beside the file, where it has the images.
    layers : str
        By which of the file's layers labels are judged; see `featx.fit`. Copies are found by the
        last layer.
    strangers : bool
        Look for images that are unlike all classes as well, which takes a fit of logistic
        regression for each class, twenty at most, and twenty more; see `featx.fit`.
    seed : int
        Of the folds.
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    max_memory : int, optional
        See `featx.fit`.
    progress : bool
        Show bars.

    Returns
    -------
    Audit

    Raises
    ------
    FeatureFileError
        The file cannot be read.
    DatasetError
        `root` is no folder.
    LayersError
        `layers` are none, or the file lacks them.
    """
    started = time.perf_counter()
    held = features if isinstance(features, Features) else read_features(features)
    need_one_label(held, "featx audit")
    sets = plan_layers(held, layers)
    notes: list[str] = []
    place = find_root(held, root)
    looks = None
    if place is None:
        notes.append(
            "The pictures were not found, so near copies are not confirmed, and size and sharpness "
            "are not known: name their folder with --root."
        )
    else:
        workers = count_cores() if num_workers is None else num_workers
        watch = Meter("pictures", len(held.paths), progress).watch
        reading = read_colours(held.provenance.colours)
        looks = look_at(place, held.paths.tolist(), held.hashes.tolist(), workers, watch, reading)
        if looks.failures:
            notes.append(
                f"{len(looks.failures)} of {len(held.paths)} pictures were not seen in {place}: "
                "gone, changed since the extraction, or unreadable."
            )
    everything = Blocks((held.X,), np.arange(len(held.targets)))
    copies = find_copies(everything, held.hashes, looks)
    judged = suspects = unlike = None
    read = LAST_LAYER
    if held.classes:
        apart = copies.groups
        if held.clusters is not None:  # relatives are in one fold, too
            apart = join_copies(held.clusters, copies.groups)
        by_layers = {}
        for one in sets or [{"layers": LAST_LAYER}]:
            X = _hold(held, one["layers"], max_memory)
            level = one["layers"] != LAST_LAYER
            found = predict_out_of_fold(X, held.targets, apart, len(held.classes), seed, level)
            if found is not None:
                by_layers[one["layers"]] = found
        read = min(by_layers, key=lambda name: by_layers[name].loss, default=read)
        judged = by_layers.get(read)
    if judged is None:
        notes.append("Labels were not judged: fewer than two classes have two different images.")
    else:
        suspects = list_suspects(held.targets, judged)
        if strangers:
            kin = Kin(apart, np.zeros(len(apart), bool))
            unlike = _find_strangers(held, read, kin, judged, seed, max_memory, notes)
    leak = _measure_leak(held, find_leaked(held, copies.groups), max_memory, seed, notes)
    classes, rare = _count_classes(held)
    return Audit(
        features=held,
        root=place,
        looked=int(looks.table["seen"].sum()) if looks else 0,
        judged=len(judged.rows) if judged else 0,
        layers=read,
        findings=list_findings(
            held,
            copies,
            suspects or (),
            looks,
            [
                *list_divided(held),
                *list_related(held, copies, place),
                *(list_strangers(held, unlike) if unlike else ()),
            ],
        ),
        leak=leak,
        classes=classes,
        rare=rare,
        notes=tuple(notes),
        seconds=time.perf_counter() - started,
        strangers=unlike,
    )


def find_root(features: Features, given: str | Path | None = None) -> Path | None:
    """The folder that a feature file's paths are relative to; None where none has the images.

    A feature file does not know it, so that moving the images does not change the file. A guess is
    safe: pictures whose bytes are others than those of the features are not looked at.

    Raises
    ------
    DatasetError
        `given` is no folder.
    """
    if given is not None:
        if not is_folder(Path(given)):
            raise DatasetError(f"no such folder: {given}; --root names the one with the images")
        return Path(given)
    beside = [Path()] + ([features.path.parent] if features.path else [])
    sample = features.paths[:: max(1, len(features.paths) // 8)].tolist()
    pictures = [split_name(path)[0] for path in sample]
    names = [features.dataset]
    while pictures != sample and "-" in names[-1]:  # of boxes: DATA's name, and their file's
        names.append(names[-1].rpartition("-")[0])
    for folder in [f / name for f in beside for name in names] + beside:
        if any(is_place(folder / path) for path in pictures):
            return folder
    return None


def _hold(features: Features, layers: str, max_memory: int | None) -> Samples:
    """All rows in memory where a head of train's size may have them there, too."""
    recipe = make_recipe(features, "logreg", HeadOptions(C=1.0, layers=layers))
    rows = take_rows(features, recipe.get("layers", ()))
    X = Blocks((rows,), np.arange(len(features.targets)))
    try:
        in_blocks = plan_reading(features, recipe, (), max_memory).in_blocks
    except BudgetError:
        in_blocks = True
    return X if in_blocks else np.asarray(X)


def _find_strangers(
    held: Features,
    layers: str,
    kin: Kin,
    judged: OutOfFold,
    seed: int,
    max_memory: int | None,
    notes: list[str],
) -> Strangers | None:
    """Those by the layers that judged labels, as far as memory holds the rows."""
    X = _hold(held, layers, max_memory)
    if isinstance(X, Blocks):
        notes.append(
            "Strangers were not looked for: the features are larger than memory may hold; "
            "--max-memory says how much that is."
        )
        return None
    try:
        return find_strangers(X, held.targets, kin, judged, seed, layers != LAST_LAYER)
    except ModelError as error:
        notes.append(f"Strangers were not looked for: {error}.")
        return None


def _measure_leak(
    features: Features,
    leaked: Any,
    max_memory: int | None,
    seed: int,
    notes: list[str],
) -> Leak | None:
    reason = find_untrainable(features.classes, features.targets, features.splits)
    if not reason and len(features.classes) < 2:
        reason = "it has one class alone: there is nothing to tell apart"
    rows = features.rows("test")
    if not reason and not len(rows):
        reason = "it has no test images"
    if reason:
        notes.append(f"No accuracy was measured: {reason}.")
        return None
    try:
        model = fit(features, "logreg", seed=seed, layers=LAST_LAYER, max_memory=max_memory)
    except BudgetError as error:
        notes.append(f"No accuracy was measured: {error}.")
        return None
    y = features.targets[rows]
    predicted = model.outcome.probabilities["test"].argmax(axis=1).astype(np.int64)
    clean = ~np.isin(rows, leaked)
    clusters = features.split_clusters("test")
    every = score_labels(y, predicted, clusters)
    if not clean.any():
        return Leak("logreg", len(leaked), every, None)
    left = None if clusters is None else clusters[clean]
    return Leak("logreg", len(leaked), every, score_labels(y[clean], predicted[clean], left))


def _count_classes(features: Features) -> tuple[dict[str, dict[str, int]], tuple[str, ...]]:
    """Labelled images by split and class, and the classes that train has few of."""
    counts = count_labels(features.targets, features.splits, len(features.classes))
    by_name = {
        split: dict(zip(features.classes, found, strict=True)) for split, found in counts.items()
    }
    first = np.array(next(iter(counts.values()), []))
    few = first * _RARE < np.median(first) if len(first) else first
    return by_name, tuple(features.classes[k] for k in np.flatnonzero(few))
