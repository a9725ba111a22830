"""What is left to compute, and one feature file's content from all that was."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from featx import __version__
from featx.contents import HashedRows
from featx.dataset import Dataset, Skipped
from featx.errors import CONTENT_FAULTS, ExtractionError, ImageError
from featx.store import Features, Provenance


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do.

    Attributes
    ----------
    todo : list of int
        Positions to compute, ascending.
    failed : dict of int to ImageError
        Failures that are known already, by position.
    """

    todo: list[int]
    failed: dict[int, ImageError]


def plan_rows(
    rows: HashedRows,
    known: Container[str],
    failed_before: Mapping[str, tuple[str, str]],
    on_error: str,
) -> Plan:
    """What is left to do, of identical files the first.

    Parameters
    ----------
    rows : HashedRows
    known : container of str
        Content hashes whose features are there.
    failed_before : mapping of str to (str, str)
        Kind and reason of contents that cannot be decoded.
    on_error : {"skip", "fail"}

    Raises
    ------
    ImageError
        Something failed before and `on_error` is "fail".
    """
    first: dict[str, int] = {}
    for i, digest in enumerate(rows.hashes.tolist()):
        first.setdefault(digest, i)
    failed = {
        i: ImageError(str(rows.locate(i)), reason, kind)
        for digest, i in first.items()
        if digest in failed_before
        for kind, reason in [failed_before[digest]]
    }
    if failed and on_error == "fail":
        raise failed[min(failed)]
    todo = [i for d, i in first.items() if d not in known and i not in failed]
    return Plan(todo, failed)


def assemble_features(
    rows: HashedRows,
    table: dict[str, npt.NDArray[np.float32]],
    failures: dict[int, ImageError],
    provenance: Provenance,
    feature_dim: int,
) -> Features:
    """The features of all images that have any.

    Parameters
    ----------
    rows : HashedRows
    table : dict of str to ndarray of shape (n_features,), float32
        By content hash.
    failures : dict of int to ImageError
        By position; identical files share one.
    provenance : Provenance
    feature_dim : int

    Raises
    ------
    ExtractionError
        There is no image that has.
    """
    digests = rows.hashes.tolist()
    failed = {digests[i]: error for i, error in failures.items()}
    keep = np.array([digest not in failed for digest in digests], dtype=bool)
    skipped = [*rows.unread]
    skipped += [describe_skipped(rows, int(i), failed[digests[i]]) for i in np.flatnonzero(~keep)]
    if not keep.any():
        shown = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
        raise ExtractionError(f"none of {len(skipped)} images could be decoded ({shown})")
    X = np.empty((int(keep.sum()), feature_dim), np.float32)
    for i, row in enumerate(np.flatnonzero(keep)):
        X[i] = table[digests[row]]
    return make_features(rows.select(keep), X, tuple(sorted(skipped)), provenance)


def describe_skipped(rows: HashedRows, position: int, error: ImageError) -> Skipped:
    """A failure as the file lists it."""
    # Without its hash a failure is not remembered: the next run tries again.
    digest = str(rows.hashes[position]) if error.kind in CONTENT_FAULTS else ""
    return Skipped(rows.dataset.paths[position], digest, error.kind, error.reason)


def make_features(
    rows: HashedRows,
    X: npt.NDArray[np.float32],
    skipped: tuple[Skipped, ...],
    provenance: Provenance,
) -> Features:
    """`Features` of just these rows, made here and now."""
    dataset = rows.dataset
    return Features(
        X=X,
        targets=dataset.targets,
        splits=dataset.splits,
        paths=np.array(dataset.paths, dtype=np.str_),
        hashes=rows.hashes,
        classes=dataset.classes,
        provenance=provenance,
        dataset=dataset.name,
        split_rule=dataset.split_rule,
        skipped=skipped,
        versions={"featx": __version__, "torch": torch.__version__, "numpy": np.__version__},
    )


def longest_path(dataset: Dataset) -> int:
    """Bytes of its longest path in UTF-8."""
    return max((len(path.encode("utf-8", "replace")) for path in dataset.paths), default=1)
