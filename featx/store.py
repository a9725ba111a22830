"""The feature file: one HDF5 file that plain h5py reads, and that says what it holds."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import SCHEMA, SPLITS, Preprocessing
from featx.container import (
    Rows,
    Sealed,
    check_seal,
    encode_text,
    open_sealed,
    read_note,
    write_sealed,
)
from featx.dataset import Skipped, fingerprint_rows
from featx.errors import FeatureFileError
from featx.files import hash_json
from featx.images import read_decode
from featx.machine import describe_engine

_KIND = "feature file"
_TEXTS = ("splits", "paths", "hashes")
_SKIPPED = ("path", "digest", "kind", "reason")
_DIGEST = re.compile("[0-9a-f]{64}")
_CHECKED = 1 << 16  # rows whose numbers are looked at together
# What reading a file that someone else has sealed may end in.
_NOT_OURS = (IndexError, KeyError, OSError, RecursionError, TypeError, ValueError)


@dataclass(frozen=True)
class Provenance:
    """All that decides what an image's features are; another value in any field, another file.

    Attributes
    ----------
    backbone, weights, weights_sha256 : str
    preprocessing : dict
        `Preprocessing.to_dict()`.
    decoder : str
        What decodes, with versions.
    colours : str
        How pictures of every kind become upright RGB; see `featx.images.describe_colours`.
    engine : str
        What runs the network, with its version.
    precision, storage : str
        Of the computation ("fp32") and of the stored numbers ("float32").
    """

    backbone: str
    weights: str
    weights_sha256: str
    preprocessing: dict[str, Any]
    decoder: str
    colours: str
    engine: str
    precision: str
    storage: str

    def key(self) -> str:
        """One hash for all fields and the schema of the file."""
        return hash_json([SCHEMA, self.to_dict()])

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def differences(self, other: Provenance) -> tuple[str, ...]:
        """Fields in which `other` differs, as "field: here → there"."""
        mine, theirs = self.to_dict(), other.to_dict()
        return tuple(f"{k}: {mine[k]} → {theirs[k]}" for k in mine if mine[k] != theirs[k])


@dataclass(frozen=True)
class Choice:
    """An engine, a precision and a way to decode and to frame, as a user names them.

    Attributes
    ----------
    engine : {"auto", "torch", "openvino"}
    precision : {"auto", "fp32", "bf16", "fp16"}
    decode : {"exact", "fast"}
    protocol : {"none", "linear-eval"}
    view : int
        See `Preprocessing.frame`.
    """

    engine: str = "auto"
    precision: str = "fp32"
    decode: str = "exact"
    protocol: str = "none"
    view: int = 0

    def frame(self, preprocessing: Preprocessing) -> Preprocessing:
        """What is to be done with images that weights want preprocessed so."""
        return preprocessing.frame(self.protocol, self.view)

    def accepts(self, made: Provenance) -> bool:
        """Whether features of that making are what is asked for; auto takes what is there."""
        engine = self.engine == "auto" or made.engine == describe_engine(self.engine)
        precision = self.precision in ("auto", made.precision)
        return engine and precision and self.decode == read_decode(made.decoder)

    def settle(self, made: Provenance | None) -> Choice:
        """This choice with what is left open taken from a file, where it can still be made so."""
        if made is None or not self.accepts(made):
            return self
        name = made.engine.split()[0]
        if made.engine != describe_engine(name):
            return self
        return replace(self, engine=name, precision=made.precision)


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
    skipped : tuple of Skipped
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
    skipped: tuple[Skipped, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    @cached_property
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
            "skipped_files": [one.to_dict() for one in self.skipped],
            "fingerprint": self.fingerprint,
            "schema": SCHEMA,
            **self.provenance.to_dict(),
            "versions": self.versions,
        }

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Where one split's labelled rows are, ascending."""
        return np.flatnonzero((self.splits == split) & (self.targets >= 0))

    def split(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """X and y of one split's labelled rows."""
        rows = self.rows(name)
        return self.X[rows], self.targets[rows]


def write_features(features: Features, path: Path) -> None:
    """Write a feature file, whole or not at all.

    No time and no fact of the machine goes in: the same features give the same bytes.

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    write_sealed(
        path, _KIND, _attributes(features), _arrays(features), note=features.provenance.key()
    )


def estimate_file(n_samples: int, n_features: int, longest_path: int) -> int:
    """About how many bytes a feature file takes, rather too many than too few."""
    digest, split, target = 64, 5, 8
    row = 4 * n_features + target + split + digest + longest_path
    return 65_536 + n_samples * row


def read_features(path: Path) -> Features:
    """Read a feature file whole, and make sure that every byte is as it was written.

    Raises
    ------
    FeatureFileError
        No such file, not ours, incomplete, of another schema, damaged, or made to do harm.
    """
    check_seal(_existing(path), _KIND)
    with open_sealed(path) as sealed:
        _check_schema(sealed, path)
        try:
            features = _read(sealed, path)
            _check_values(features)
            fingerprint, key = features.fingerprint, features.provenance.key()
        except _NOT_OURS as error:
            raise FeatureFileError(path, f"damaged: {error}") from error
        if sealed.attributes.get("fingerprint") != fingerprint:
            raise FeatureFileError(path, "damaged: its rows do not have the fingerprint it names")
    if read_provenance_key(path) != key:
        raise FeatureFileError(path, "damaged: its first lines name another provenance")
    return features


def read_provenance_key(path: Path) -> str:
    """`Provenance.key` as a feature file's first lines have it; no other byte is looked at.

    Raises
    ------
    FeatureFileError
        Not a feature file.
    """
    return read_note(path, _KIND)


def read_provenance(path: Path) -> Provenance:
    """Only what made the features; raises as `read_features` does."""
    check_seal(_existing(path), _KIND)
    with open_sealed(path) as sealed:
        _check_schema(sealed, path)
        try:
            return _read_provenance(sealed)
        except _NOT_OURS as error:
            raise FeatureFileError(path, f"damaged: {error}") from error


def parts_folder(path: Path) -> Path:
    """Where the finished shards of an unfinished extraction into `path` are kept."""
    return path.with_name(path.name + ".parts")


def cost_path(path: Path) -> Path:
    """The file beside a feature file that says what it cost; for people and tables alone."""
    return path.with_name(path.name + ".cost.json")


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if path.exists():
        raise FeatureFileError(path, "no regular file")
    if parts_folder(path).is_dir():
        raise FeatureFileError(
            path,
            "not there yet: its extraction did not end; the same featx extract goes on with it",
        )
    raise FeatureFileError(path, "no such feature file; featx extract makes one")


def _arrays(features: Features) -> dict[str, Rows]:
    arrays: dict[str, Rows] = {"features": features.X, "targets": features.targets}
    for name in _TEXTS:
        arrays[name] = encode_text(getattr(features, name))
    for name in _SKIPPED:
        values = [getattr(one, name) for one in features.skipped]
        arrays[f"skipped_{name}s"] = encode_text(np.array(values, dtype=np.str_))
    return arrays


def _attributes(features: Features) -> dict[str, Any]:
    facts = features.provenance.to_dict()
    facts["preprocessing"] = json.dumps(facts["preprocessing"], sort_keys=True)
    return {
        "schema": SCHEMA,
        **facts,
        "classes": list(features.classes),
        "dataset": features.dataset,
        "split_rule": features.split_rule,
        "fingerprint": features.fingerprint,
        "versions": json.dumps(features.versions, sort_keys=True),
        "complete": 1,
    }


def _check_schema(sealed: Sealed, path: Path) -> None:
    schema = sealed.attributes.get("schema")
    if schema != SCHEMA:
        raise FeatureFileError(
            path, f"schema {schema}, and this featx reads schema {SCHEMA}; extract again"
        )


def _read(sealed: Sealed, path: Path) -> Features:
    facts = sealed.attributes
    X, targets = sealed.arrays["features"], sealed.arrays["targets"]
    if X.dtype not in (np.float32, np.float16) or targets.dtype != np.int64:
        raise TypeError(f"features are {X.dtype} and targets {targets.dtype}")
    classes, versions = facts["classes"], json.loads(facts["versions"])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("its classes are no list of names")
    if len(set(classes)) < len(classes):
        raise ValueError("two of its classes have the same name")
    if not isinstance(versions, dict):
        raise TypeError("its versions are none")
    text = {name: sealed.read_text(name) for name in _TEXTS}
    shapes = [X.shape[:1], targets.shape, *(array.shape for array in text.values())]
    skipped = [sealed.read_text(f"skipped_{name}s") for name in _SKIPPED]
    if any(column.ndim != 1 for column in skipped):
        raise ValueError("its list of skipped images is none")
    if X.ndim != 2 or not X.shape[1] or len(set(shapes)) > 1:
        raise ValueError(f"its parts do not fit each other: {X.shape}, {shapes[1:]}")
    return Features(
        X=X[:].astype(np.float32, copy=False),
        targets=targets[:],
        splits=text["splits"],
        paths=text["paths"],
        hashes=text["hashes"],
        classes=tuple(classes),
        provenance=_read_provenance(sealed),
        dataset=str(facts["dataset"]),
        split_rule=str(facts["split_rule"]),
        skipped=tuple(
            Skipped(*row) for row in zip(*(column.tolist() for column in skipped), strict=True)
        ),
        versions={str(name): str(version) for name, version in versions.items()},
        path=path,
    )


def _check_values(features: Features) -> None:
    targets = features.targets
    if len(targets) and not -1 <= targets.min() <= targets.max() < len(features.classes):
        raise ValueError(f"targets from {targets.min()} to {targets.max()}")
    strange = set(features.splits.tolist()) - {*SPLITS, ""}
    if strange:
        raise ValueError(f"splits {sorted(strange)}")
    if not all(map(_DIGEST.fullmatch, features.hashes.tolist())):
        raise ValueError("hashes that are none")
    for start in range(0, len(features.X), _CHECKED):
        if not np.isfinite(features.X[start : start + _CHECKED]).all():
            raise ValueError("features that are NaN or infinite")


def _read_provenance(sealed: Sealed) -> Provenance:
    facts: dict[str, Any] = {
        name: str(sealed.attributes[name]) for name in Provenance.__dataclass_fields__
    }
    facts["preprocessing"] = Preprocessing.from_dict(json.loads(facts["preprocessing"])).to_dict()
    return Provenance(**facts)
