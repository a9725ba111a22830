"""A folder of images: what is there, which class each image has, and which split it is in."""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import SPLITS
from featx.data.splits import count_labels, find_untrainable
from featx.errors import DatasetError
from featx.text import as_text, say_one_label

_MOST_KINDS = 250  # of what is left out: a suffix may be anything
_MOST_EXAMPLES = 3  # of each


@dataclass(frozen=True)
class Dataset:
    """Images by name, with their classes and splits; nothing is decoded.

    Attributes
    ----------
    root : Path
        The folder that `paths` are relative to.
    name : str
        A short name for people and file names.
    classes : tuple of str
        Class names, sorted; empty where nothing is labelled.
    paths : tuple of str
        Relative to `root`, with forward slashes, sorted within each class and split.
    targets : ndarray of shape (n_samples,), int64
        Index into `classes`; -1 means no label.
    splits : ndarray of shape (n_samples,), str
        "train", "val" or "test"; "" where the image is in none.
    split_rule : str
        Where the splits came from: "folders", "manifest", "archives" (their names), a rule such
        as "first:60,10", or "none".
    ignored : tuple of str
        The first few of all that the scan left out; with a slash at the end, class folders without
        images.
    groups : ndarray of shape (n_samples,), str, or None
        What each image belongs to with others that are no independent samples of its class: an
        animal, a patient, a site, a burst. None where nothing is known of that.
    label_sets : ndarray of shape (n_samples, n_classes), bool, or None
        Which of the classes each image has, where that may be any number of them; every target is
        -1 then. None where an image has one.
    left_out : tuple of LeftOut
        All of it, counted by kind.
    unread : tuple of Skipped
        Folders that could not be read.
    notes : tuple of str
        What one should know of the data besides, a sentence each.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    targets: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    split_rule: str
    ignored: tuple[str, ...] = ()
    groups: npt.NDArray[np.str_] | None = None
    left_out: tuple[LeftOut, ...] = ()
    unread: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    label_sets: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Dataset:
        """The same dataset with only `rows` (a mask or indices), in that order."""
        paths = tuple(np.asarray(self.paths, dtype=object)[rows])
        groups = None if self.groups is None else self.groups[rows]
        sets = None if self.label_sets is None else self.label_sets[rows]
        return replace(
            self, paths=paths, targets=self.targets[rows], splits=self.splits[rows], groups=groups,
            label_sets=sets,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """How many images each split has; only splits that have any."""
        found = Counter(self.splits.tolist())
        return {split: found[split] for split in SPLITS if found[split]}


@dataclass(frozen=True)
class LeftOut:
    """Files of one kind that lie among the images and are none of the dataset's.

    Attributes
    ----------
    kind : str
        What they are, in the plural, such as "videos (.mp4)".
    count : int
    examples : tuple of str
        The first few by name; paths relative to the root.
    """

    kind: str
    count: int
    examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {"kind": self.kind, "count": self.count, "examples": list(self.examples)}

    def __str__(self) -> str:
        more = ", …" * (self.count > len(self.examples))
        return f"{self.kind}: {self.count} ({', '.join(self.examples)}{more})"


def describe_rows(
    name: str,
    split_rule: str,
    targets: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
    n_classes: int,
    fingerprint: str,
) -> dict[str, Any]:
    """What a model keeps of the images that it was made and judged with, as JSON values."""
    per_class = count_labels(targets, splits, n_classes)
    return {
        "name": name,
        "split": split_rule,
        "images": {split: sum(counts) for split, counts in per_class.items()},
        "per_class": per_class,
        "fingerprint": fingerprint,
    }


def describe_scan(left_out: Iterable[LeftOut], notes: Iterable[str]) -> dict[str, Any]:
    """What a command's JSON says of the data besides its images."""
    return {"left_out": [one.to_dict() for one in left_out], "notes": list(notes)}


class Leftovers:
    """Counts what is left out, by kind: memory does not grow with the files."""

    def __init__(self, before: Iterable[LeftOut] = ()) -> None:
        self._counts = {one.kind: one.count for one in before}
        self._examples = {one.kind: list(one.examples) for one in before}

    def add(self, kind: str, name: str) -> None:
        """One more of a kind, by its path."""
        if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
            kind = "other files"
        self._counts[kind] = self._counts.get(kind, 0) + 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _MOST_EXAMPLES or name < examples[-1]:
            bisect.insort(examples, as_text(name))
            del examples[_MOST_EXAMPLES:]

    def list(self) -> tuple[LeftOut, ...]:
        """Each kind, by name."""
        return tuple(
            LeftOut(kind, count, tuple(self._examples[kind]))
            for kind, count in sorted(self._counts.items())
        )


@dataclass(frozen=True, order=True)
class Skipped:
    """An image of which there are no features.

    Attributes
    ----------
    path : str
        Relative, with forward slashes; bytes that are not UTF-8 escaped.
    digest : str
        SHA-256 of the file's bytes, in hex; "" where that is not known.
    kind, reason : str
        See `ImageError`.
    """

    path: str
    digest: str
    kind: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """As it stands in JSON."""
        return {"path": self.path, "kind": self.kind, "reason": self.reason}


class Fingerprint:
    """SHA-256 of which images there are, fed with as many at a time as one likes.

    Of the number of classes, their names, and every row's path, content hash, target and split,
    each ended by a NUL.

    Parameters
    ----------
    classes : sequence of str
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._digest = hashlib.sha256("\0".join([str(len(classes)), *classes, ""]).encode())

    def add(
        self,
        paths: Iterable[str],
        hashes: Iterable[str],
        targets: Iterable[int],
        splits: Iterable[str],
    ) -> None:
        """More rows, after those that were added before."""
        rows = zip(paths, hashes, targets, splits, strict=True)
        text = "".join(f"{path}\0{digest}\0{k}\0{split}\0" for path, digest, k, split in rows)
        self._digest.update(text.encode("utf-8", "backslashreplace"))

    def hexdigest(self) -> str:
        """Of all that was added, in hex."""
        return self._digest.hexdigest()


def fingerprint_rows(
    classes: Sequence[str],
    paths: Sequence[str] | npt.NDArray[np.str_],
    hashes: npt.NDArray[np.str_],
    targets: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
) -> str:
    """`Fingerprint`, in hex, of rows that are all at hand."""
    made = Fingerprint(classes)
    # Lists, since numpy's own kind of text is slow to go through.
    made.add(np.asarray(paths).tolist(), hashes.tolist(), targets.tolist(), splits.tolist())
    return made.hexdigest()


@dataclass(frozen=True)
class HashedRows:
    """A dataset with the SHA-256 of every file.

    Attributes
    ----------
    dataset : Dataset
        Without the files that could not be read.
    hashes : ndarray of shape (n_samples,), str
    unread : tuple of Skipped
        Those files.
    """

    dataset: Dataset
    hashes: npt.NDArray[np.str_]
    unread: tuple[Skipped, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """See `featx.Features.fingerprint`."""
        data = self.dataset
        return fingerprint_rows(data.classes, data.paths, self.hashes, data.targets, data.splits)

    def split_clusters(self, name: str) -> npt.NDArray[np.int64] | None:
        """See `Features.clusters`: of one split's labelled rows."""
        data = self.dataset
        if data.groups is None:
            return None
        rows = np.flatnonzero((data.splits == name) & (data.targets >= 0))
        return join_copies(data.groups, self.hashes)[rows]

    def locate(self, position: int) -> Path:
        """Where the file of a row is."""
        return self.dataset.root / self.dataset.paths[position]

    def select(self, keep: npt.NDArray[np.bool_]) -> HashedRows:
        """The same with only the rows of the mask `keep`."""
        return replace(self, dataset=self.dataset.select(keep), hashes=self.hashes[keep])


def join_copies(groups: npt.NDArray[Any], hashes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Groups as numbers from 0; those that share a file of the same bytes, by any way, are one.

    Parameters
    ----------
    groups, hashes : ndarray of shape (n_samples,), str or int

    Returns
    -------
    ndarray of shape (n_samples,), int64
    """
    names, group = np.unique(groups, return_inverse=True)
    _, content = np.unique(hashes, return_inverse=True)
    there = np.unique(np.stack([content, group], axis=1), axis=0)
    shared = np.flatnonzero(there[1:, 0] == there[:-1, 0])
    pairs = zip(there[shared, 1].tolist(), there[shared + 1, 1].tolist(), strict=True)
    return join_pairs(len(names), list(pairs))[group]


def join_pairs(n: int, pairs: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """A number from 0 for each of n things, the same for those that pairs connect."""
    heads = list(range(n))

    def find_head(one: int) -> int:
        while heads[one] != one:
            heads[one] = heads[heads[one]]
            one = heads[one]
        return one

    for a, b in pairs:
        first, second = sorted((find_head(a), find_head(b)))
        heads[second] = first
    return np.unique([find_head(one) for one in range(n)], return_inverse=True)[1].astype(np.int64)


def check_trainable(dataset: Dataset) -> None:
    """Raise DatasetError where no classifier can be trained on a dataset."""
    if dataset.label_sets is not None:
        raise DatasetError(f"{dataset.root}: {say_one_label('this')}")
    if reason := find_untrainable(dataset.classes, dataset.targets, dataset.splits):
        raise DatasetError(f"{dataset.root}: {reason}")
