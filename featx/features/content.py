"""What a feature file holds: in memory, or with its rows left in the file."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import SCHEMA
from featx.data.dataset import Skipped, fingerprint_rows, join_copies
from featx.errors import FeatureFileError
from featx.features.provenance import Provenance
from featx.sources.label_sets import join_labels
from featx.storage.blocks import Blocks
from featx.storage.rows import Picked, State, StoredRows, decode_text, iterate_slices
from featx.text import say_one_label

log = logging.getLogger(__name__)

TEXTS = ("splits", "paths", "hashes")  # columns of text
GROUPS = "groups"  # one more, which not every file has
LABEL_SETS = "label_sets"  # which of the classes each image has, where that may be any number
LAYERS = "layers"  # numbers beside the features, which not every file has
_COUNTED = 1 << 14  # rows at a time


@dataclass(frozen=True)
class Corrected:
    """What corrections of labels did to features; see `correct_labels`.

    Attributes
    ----------
    path : Path
        The corrections.
    sha256 : str
        Of that file's bytes, in hex.
    fingerprint : str
        `Features.fingerprint` as it was before.
    changed, left_out, unsure, unknown : int
        Images that have another label now; that were left out; that stay as they are, since nobody
        could tell; and answers whose content is not among the images.
    test, test_by_model : int
        Of the test images with a label before or after: how many have another one now or were left
        out, and of these how many a model had been suspicious of.
    new, gone : tuple of str
        Classes that no image had before, and that no image has any more.
    notes : tuple of str
        The same in sentences.
    """

    path: Path
    sha256: str
    fingerprint: str
    changed: int
    left_out: int
    unsure: int
    unknown: int
    test: int
    test_by_model: int
    new: tuple[str, ...]
    gone: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what a model's and a result's provenance says of it."""
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            "fingerprint_before": self.fingerprint,
            "changed": self.changed,
            "left_out": self.left_out,
            "unsure": self.unsure,
            "unknown": self.unknown,
            "test": {"changed": self.test, "by_model": self.test_by_model},
            "new_classes": list(self.new),
            "gone_classes": list(self.gone),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Features:
    """What a feature file holds.

    Attributes
    ----------
    X : ndarray, StoredRows or Picked of shape (n_samples, n_features), float32
        The features; those of a file are read from it when they are asked for.
    targets : ndarray of shape (n_samples,), int64
        Index into `classes`; -1 means no label.
    splits, paths, hashes : ndarray of shape (n_samples,), str
        "train", "val", "test" or ""; relative POSIX paths; SHA-256 of the files' bytes, in hex.
    classes : tuple of str
    provenance : Provenance
    dataset : str
        The data's name.
    split_rule : str
    skipped : tuple of Skipped
        Images that could not be decoded.
    versions : dict
        Of the libraries that made the file; for people, not part of its identity.
    path : Path or None
        Where it was read from.
    groups : ndarray of shape (n_samples,), str, or None
        See `Dataset.groups`; they decide no feature, and no hash.
    label_sets : ndarray of shape (n_samples, n_classes), bool, or None
        See `Dataset.label_sets`; they, too, decide no feature and no hash.
    layers : ndarray, StoredRows or Picked of shape (n_samples, n_columns), float32, or None
        What stages of the network gave beside the features, as `list_columns` of the provenance's
        layers says.
    corrected : Corrected or None
        What corrections have done to the labels that the file has.
    """

    X: npt.NDArray[np.float32] | StoredRows | Picked
    targets: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    paths: npt.NDArray[np.str_]
    hashes: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    provenance: Provenance
    dataset: str
    split_rule: str
    skipped: tuple[Skipped, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    groups: npt.NDArray[np.str_] | None = None
    layers: npt.NDArray[np.float32] | StoredRows | Picked | None = None
    corrected: Corrected | None = None
    label_sets: npt.NDArray[np.bool_] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """One hash of which images these are: paths, contents, classes and splits."""
        return fingerprint_rows(self.classes, self.paths, self.hashes, self.targets, self.splits)

    @cached_property
    def alike(self) -> str | None:
        """That all images have the same features, in words, and warned of once; else None."""
        first, blocks = self.X[:1], iterate_slices(len(self.X), _COUNTED)
        if len(self.X) < 2 or not all((self.X[some] == first).all() for some in blocks):
            return None
        said = (
            f"all {len(self.X)} images have the same features, so that nothing can be learned from "
            "them: look whether the pictures are blank, or the weights none"
        )
        log.warning("%s: %s", self.dataset, said)
        return said

    @cached_property
    def clusters(self) -> npt.NDArray[np.int64] | None:
        """Groups as numbers; those that share a file of the same bytes are one. None without."""
        return None if self.groups is None else join_copies(self.groups, self.hashes)

    def split_clusters(self, name: str) -> npt.NDArray[np.int64] | None:
        """`clusters` of one split's labelled rows."""
        return None if self.clusters is None else self.clusters[self.rows(name)]

    @property
    def heading(self) -> Heading:
        """What is said of all rows together."""
        return Heading(
            self.classes,
            self.provenance,
            self.dataset,
            self.split_rule,
            self.skipped,
            self.versions,
        )

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Where one split's labelled rows are, ascending."""
        return np.flatnonzero((self.splits == split) & (self.targets >= 0))

    def take_rows(self, rows: npt.NDArray[np.int64]) -> Features:
        """The same with some of the rows, those of a file left there."""
        if len(rows) == len(self.targets):
            return self

        def take(column: Any) -> Any:
            return Picked(column, rows) if isinstance(column, StoredRows) else column[rows]

        columns = ("X", "targets", "splits", "paths", "hashes", "groups", "layers")
        held = {name: getattr(self, name) for name in columns}
        return replace(self, **{k: take(one) for k, one in held.items() if one is not None})

    def split(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """X and y of one split's labelled rows."""
        rows = self.rows(name)
        return self.X[rows], self.targets[rows]

    def split_blocks(self, name: str) -> tuple[Blocks, npt.NDArray[np.int64]]:
        """`split` that leaves X where it is."""
        rows = self.rows(name)
        return Blocks((self.X,), rows), self.targets[rows]


@dataclass(frozen=True)
class Heading:
    """What a feature file says of all its rows together; see `Features`."""

    classes: tuple[str, ...]
    provenance: Provenance
    dataset: str
    split_rule: str
    skipped: tuple[Skipped, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureFile:
    """A feature file that was found whole; its rows are read when they are asked for.

    Attributes
    ----------
    path : Path
    columns : dict of str to StoredRows
        "features", "targets", "splits", "paths" and "hashes", as they lie in the file, and where
        they are known "groups" and "label_sets"; where they are kept "layers".
    heading : Heading
    fingerprint : str
        See `Features.fingerprint`.
    sha256 : str
        The hash that the file bears, of all that is in it.
    """

    path: Path
    columns: dict[str, StoredRows]
    heading: Heading
    fingerprint: str
    sha256: str

    def __len__(self) -> int:
        return len(self.columns["features"])

    @property
    def state(self) -> State:
        """What tells this file from another that took its name."""
        return self.columns["features"].state

    @property
    def provenance(self) -> Provenance:
        """What made the features."""
        return self.heading.provenance

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx info --json``: all but the rows."""
        return {
            "features": str(self.path),
            **self.describe(),
            "counts": self._count_images(),
            "groups": self._count_groups(),
            "label_sets": self._count_labels(),
            "skipped_files": [one.to_dict() for one in self.heading.skipped],
        }

    def describe(self) -> dict[str, Any]:
        """What is said of all rows together, as JSON values."""
        heading = self.heading
        return {
            "dataset": heading.dataset,
            "images": len(self),
            "feature_dim": self.columns["features"].shape[1],
            "classes": list(heading.classes),
            "split": heading.split_rule,
            "skipped": len(heading.skipped),
            "fingerprint": self.fingerprint,
            "schema": SCHEMA,
            **self.provenance.to_dict(),
            "layers": self.provenance.layers,
            "versions": heading.versions,
        }

    def _count_images(self) -> dict[str, dict[str, int]]:
        """How many images each class has in each split, in the order of the rows; "" has none."""
        found: Counter[tuple[str, int]] = Counter()
        for some in iterate_slices(len(self), _COUNTED):
            splits = decode_text(self.columns["splits"][some]).tolist()
            found.update(zip(splits, self.columns["targets"][some].tolist(), strict=True))
        counts: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys(split for split, _ in found):
            names = [(name, found[split, k]) for k, name in enumerate(self.heading.classes)]
            counts[split] = dict(names)
            if found[split, -1]:
                counts[split][""] = found[split, -1]
        return counts

    def _count_groups(self) -> int | None:
        """How many groups the images are in; None where they are in none."""
        if GROUPS not in self.columns:
            return None
        column, found = self.columns[GROUPS], set[bytes]()
        for some in iterate_slices(len(self), _COUNTED):
            found.update(column[some].tolist())
        return len(found)

    def _count_labels(self) -> dict[str, Any] | None:
        """How many images of each split have each label, and how many have none of them."""
        if LABEL_SETS not in self.columns:
            return None
        counts: dict[str, npt.NDArray[np.int64]] = {}
        for some in iterate_slices(len(self), _COUNTED):
            sets, splits = self.columns[LABEL_SETS][some], decode_text(self.columns["splits"][some])
            every = np.hstack([sets, ~sets.any(axis=1, keepdims=True)])
            for split in dict.fromkeys(splits.tolist()):
                own = every[splits == split].sum(axis=0, dtype=np.int64)
                counts[split] = counts.get(split, 0) + own
        names = (*self.heading.classes, "")
        told = {s: dict(zip(names, n.tolist(), strict=True)) for s, n in counts.items()}
        none = {split: own.pop("") for split, own in told.items()}
        return {"counts": told, "none": none}

    def name_labels(self, some: slice) -> list[str]:
        """The classes of some rows; several are parted by `SEPARATOR`, and "" is none."""
        if LABEL_SETS in self.columns:
            sets = self.columns[LABEL_SETS][some] > 0
            return [join_labels(self.heading.classes, own) for own in sets]
        names = [*self.heading.classes, ""]  # of -1, too
        return [names[k] for k in self.columns["targets"][some].tolist()]

    def load(self) -> Features:
        """All but the features themselves in memory."""
        names = [name for name in (*TEXTS, GROUPS) if name in self.columns]
        text = {name: decode_text(self.columns[name][:]) for name in names}
        return Features(
            X=self.columns["features"].astype(np.float32),
            targets=self.columns["targets"][:],
            splits=text["splits"],
            paths=text["paths"],
            hashes=text["hashes"],
            groups=text.get(GROUPS),
            layers=self.columns[LAYERS].astype(np.float32) if LAYERS in self.columns else None,
            label_sets=self.columns[LABEL_SETS][:] > 0 if LABEL_SETS in self.columns else None,
            path=self.path,
            **vars(self.heading),
        )


def need_one_label(held: Features | FeatureFile, what: str) -> None:
    """Raise FeatureFileError where images may have several labels, and something takes one.

    `what` does, as in "featx audit".
    """
    several = LABEL_SETS in held.columns if isinstance(held, FeatureFile) else held.label_sets
    if several is not None and several is not False:
        where = held.path or Path(held.heading.dataset)
        raise FeatureFileError(where, say_one_label(what))
