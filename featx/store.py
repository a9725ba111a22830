"""The feature file: one HDF5 file that plain h5py reads, and that says what it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.config import SCHEMA
from featx.errors import FeatureFileError
from featx.files import hash_json, write_whole

_MARK = "featx features"


@dataclass(frozen=True)
class Provenance:
    """All that decides what an image's features are; another value in any field, another file.

    Attributes
    ----------
    backbone, weights, weights_sha256 : str
    preprocessing : dict
        `Preprocessing.to_dict()`.
    decoder, engine : str
        With versions.
    precision, storage : str
        Of the computation ("fp32") and of the stored numbers ("float32").
    """

    backbone: str
    weights: str
    weights_sha256: str
    preprocessing: dict[str, Any]
    decoder: str
    engine: str
    precision: str
    storage: str

    def key(self) -> str:
        """One hash for all fields."""
        return hash_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def differences(self, other: Provenance) -> tuple[str, ...]:
        """Fields in which `other` differs, as "field: here → there"."""
        mine, theirs = self.to_dict(), other.to_dict()
        return tuple(f"{k}: {mine[k]} → {theirs[k]}" for k in mine if mine[k] != theirs[k])


@dataclass(frozen=True)
class Features:
    """What a feature file holds.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features), float32
        The features.
    targets : ndarray of shape (n_samples,), int64
        Index into `classes`; -1 means no label.
    splits, paths, hashes : ndarray of shape (n_samples,), str
        "train", "val", "test" or ""; relative POSIX paths; SHA-256 of the files' bytes, in hex.
    classes : tuple of str
    provenance : Provenance
    dataset : str
        The data's name.
    split_rule : str
    skipped : tuple of (path, hash, reason)
        Images that could not be decoded.
    versions : dict
        Of the libraries that made the file; for people, not part of its identity.
    path : Path or None
        Where it was read from.
    """

    X: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    splits: npt.NDArray[np.str_]
    paths: npt.NDArray[np.str_]
    hashes: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    provenance: Provenance
    dataset: str
    split_rule: str
    skipped: tuple[tuple[str, str, str], ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    @property
    def fingerprint(self) -> str:
        """One hash of which images these are: paths, contents, classes and splits."""
        return fingerprint_rows(self.classes, self.paths, self.hashes, self.targets, self.splits)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx info --json``: all but the rows."""
        counts: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys(self.splits.tolist()):
            y = self.targets[self.splits == split]
            names = [(name, int((y == k).sum())) for k, name in enumerate(self.classes)]
            counts[split] = dict(names) if names else {"": len(y)}
        return {
            "features": str(self.path),
            "dataset": self.dataset,
            "images": len(self.X),
            "feature_dim": self.X.shape[1],
            "classes": list(self.classes),
            "split": self.split_rule,
            "counts": counts,
            "skipped": len(self.skipped),
            "skipped_files": [{"path": p, "reason": r} for p, _, r in self.skipped],
            "fingerprint": self.fingerprint,
            "schema": SCHEMA,
            **self.provenance.to_dict(),
            "versions": self.versions,
        }

    def split(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """X and y of one split's labelled rows."""
        rows = (self.splits == name) & (self.targets >= 0)
        return self.X[rows], self.targets[rows]


def fingerprint_rows(
    classes: tuple[str, ...],
    paths: npt.NDArray[np.str_],
    hashes: npt.NDArray[np.str_],
    targets: npt.NDArray[np.int64],
    splits: npt.NDArray[np.str_],
) -> str:
    """SHA-256, in hex, of a dataset's rows."""
    return hash_json([classes, paths.tolist(), hashes.tolist(), targets.tolist(), splits.tolist()])


def write_features(features: Features, path: Path) -> None:
    """Write a feature file, whole or not at all.

    No time and no fact of the machine goes in: the same features give the same bytes.
    """
    with (
        write_whole(path) as temporary,
        # The 2012 format keeps attributes beyond 64 KiB (many classes) and is read everywhere.
        h5py.File(str(temporary), "w", libver=("v108", "v110")) as file,
    ):
        file.attrs["format"] = _MARK
        file.attrs["schema"] = SCHEMA
        file.attrs["complete"] = False
        chunk = (min(256, max(1, len(features.X))), features.X.shape[1])
        file.create_dataset("features", data=features.X, chunks=chunk)
        file.create_dataset("targets", data=features.targets)
        for name in ("splits", "paths", "hashes"):
            _write_text(file, name, getattr(features, name))
        skipped = np.array(features.skipped, dtype=object).reshape(-1, 3)
        for k, name in enumerate(("skipped_paths", "skipped_hashes", "skipped_reasons")):
            _write_text(file, name, skipped[:, k])
        facts = features.provenance.to_dict()
        facts["preprocessing"] = json.dumps(facts["preprocessing"], sort_keys=True)
        for key, value in facts.items():
            file.attrs[key] = value
        file.attrs["classes"] = np.array(features.classes, dtype=h5py.string_dtype())
        file.attrs["dataset"] = features.dataset
        file.attrs["split_rule"] = features.split_rule
        file.attrs["fingerprint"] = features.fingerprint
        file.attrs["versions"] = json.dumps(features.versions, sort_keys=True)
        file.attrs["complete"] = True


def read_features(path: Path) -> Features:
    """Read a feature file whole.

    Raises
    ------
    FeatureFileError
        No such file, not ours, incomplete, of another schema, or with parts that do not fit.
    """
    with _open(path) as file:
        _check_head(file, path)
        try:
            features = _read(file, path)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise FeatureFileError(path, f"a damaged featx feature file: {error}") from error
        stored = str(file.attrs.get("fingerprint"))
    n = len(features.X)
    parts = (features.targets, features.splits, features.paths, features.hashes)
    if features.X.ndim != 2 or any(part.shape != (n,) for part in parts):
        shapes = ", ".join(str(part.shape) for part in (features.X, *parts))
        raise FeatureFileError(path, f"parts that do not fit each other: {shapes}")
    if stored != features.fingerprint:
        raise FeatureFileError(path, "damaged: its rows do not have the fingerprint it was given")
    return features


def read_provenance(path: Path) -> Provenance:
    """Only what made the features; raises FeatureFileError as `read_features` does."""
    with _open(path) as file:
        _check_head(file, path)
        try:
            return _read_provenance(file)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise FeatureFileError(path, f"a damaged featx feature file: {error}") from error


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise FeatureFileError(path, "no such feature file; featx extract makes one")
    try:
        return h5py.File(str(path), "r")
    except OSError as error:
        raise FeatureFileError(path, "not a feature file (HDF5 cannot open it)") from error


def _check_head(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != _MARK:
        raise FeatureFileError(path, "an HDF5 file, but not one that featx made")
    schema = file.attrs.get("schema")
    if schema != SCHEMA:
        raise FeatureFileError(
            path, f"schema {schema}, and this featx reads schema {SCHEMA}; extract again"
        )
    if not file.attrs.get("complete", False):
        raise FeatureFileError(path, "incomplete: its extraction did not end; extract again")


def _read(file: h5py.File, path: Path) -> Features:
    text = {name: _read_text(file, name) for name in ("splits", "paths", "hashes")}
    skipped = [
        _read_text(file, name).tolist()
        for name in ("skipped_paths", "skipped_hashes", "skipped_reasons")
    ]
    return Features(
        X=file["features"][:].astype(np.float32, copy=False),
        targets=file["targets"][:].astype(np.int64, copy=False),
        splits=text["splits"],
        paths=text["paths"],
        hashes=text["hashes"],
        classes=tuple(str(name) for name in file.attrs["classes"]),
        provenance=_read_provenance(file),
        dataset=str(file.attrs["dataset"]),
        split_rule=str(file.attrs["split_rule"]),
        skipped=tuple(zip(*skipped, strict=True)),
        versions=json.loads(file.attrs["versions"]),
        path=path,
    )


def _read_provenance(file: h5py.File) -> Provenance:
    facts = {name: str(file.attrs[name]) for name in Provenance.__dataclass_fields__}
    return Provenance(**{**facts, "preprocessing": json.loads(facts["preprocessing"])})


def _write_text(file: h5py.File, name: str, values: npt.NDArray[Any]) -> None:
    file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype("utf-8"))


def _read_text(file: h5py.File, name: str) -> npt.NDArray[np.str_]:
    return np.asarray(file[name].asstr()[:], dtype=np.str_)
