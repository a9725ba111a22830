"""The feature file: one HDF5 file that plain h5py reads, and that says what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import LAST_LAYER, SCHEMA, SPLITS, Preprocessing
from featx.data.dataset import Fingerprint, Skipped
from featx.errors import FeatureFileError
from featx.features.content import (
    GROUPS,
    LABEL_SETS,
    LAYERS,
    TEXTS,
    FeatureFile,
    Features,
    Heading,
)
from featx.features.provenance import Provenance
from featx.network.layers import list_columns, parse_layers, spell_layers
from featx.storage.files import take_path
from featx.storage.hdf5 import (
    SLICE,
    Seal,
    Sealed,
    believe_seal,
    check_seal,
    open_sealed,
    read_note,
    write_sealed,
)
from featx.storage.hdf5_layout import USER_BLOCK
from featx.storage.rows import (
    Picked,
    Rows,
    StoredRows,
    all_finite,
    count_bytes,
    decode_text,
    encode_text,
    iterate_slices,
)

PARTS = ".parts"  # ends the name of the folder of an unfinished extraction's parts
_KIND = "feature file"
_SKIPPED = ("path", "digest", "kind", "reason")
_DIGITS = b"0123456789abcdef"
_CHECKED = 1 << 12  # rows that are looked at together
# What reading a file that someone else has sealed may end in.
_NOT_OURS = (IndexError, KeyError, OSError, RecursionError, TypeError, ValueError)


def write_features(features: Features, path: Path) -> FeatureFile:
    """Write a feature file, whole or not at all.

    No time and no fact of the machine goes in: the same features give the same bytes.

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    columns: dict[str, Rows] = {
        "features": _stored_as(features.X, features.provenance),
        "targets": features.targets,
        **{name: encode_text(getattr(features, name)) for name in TEXTS},
    }
    if features.groups is not None:
        columns[GROUPS] = encode_text(features.groups)
    if features.label_sets is not None:
        columns[LABEL_SETS] = features.label_sets.astype(np.uint8)
    if features.layers is not None:
        columns[LAYERS] = _stored_as(features.layers, features.provenance)
    return write_columns(path, columns, features.heading, features.fingerprint)


def write_columns(
    path: Path, columns: Mapping[str, Rows], heading: Heading, fingerprint: str
) -> FeatureFile:
    """`write_features` of rows that are not all in memory.

    Parameters
    ----------
    path : Path
    columns : mapping of str to Rows
        As `FeatureFile.columns`; text as UTF-8 bytes.
    heading : Heading
    fingerprint : str
        Of these rows.
    """
    arrays = dict(columns)
    for name in _SKIPPED:
        values = [getattr(one, name) for one in heading.skipped]
        arrays[f"skipped_{name}s"] = encode_text(np.array(values, dtype=np.str_))
    facts = heading.provenance.to_dict()
    facts["preprocessing"] = json.dumps(facts["preprocessing"], sort_keys=True)
    told = list_columns(heading.provenance.layers, heading.provenance.backbone)
    if told:  # for who reads the file without featx
        facts["layer_columns"] = json.dumps([one.to_dict() for one in told])
    attributes = {
        "schema": SCHEMA,
        **facts,
        "classes": list(heading.classes),
        "dataset": heading.dataset,
        "split_rule": heading.split_rule,
        "fingerprint": fingerprint,
        "versions": json.dumps(heading.versions, sort_keys=True),
        "complete": 1,
    }
    seal, stored = write_sealed(path, _KIND, attributes, arrays, note=heading.provenance.key())
    lying = {name: stored[name] for name in columns}
    return FeatureFile(path, lying, heading, fingerprint, seal.sha256)


def estimate_file(
    n_samples: int, n_numbers: int, longest_path: int, storage: str = "float32"
) -> int:
    """About how many bytes a feature file takes, rather too many than too few."""
    digest, split, target = 64, 5, 8
    number = np.dtype(storage).itemsize
    row = number * n_numbers + target + split + digest + longest_path
    return 65_536 + n_samples * row


def read_features(path: str | Path) -> Features:
    """Read a feature file, and make sure that every byte is as it was written.

    The features themselves stay in the file until they are asked for.

    Parameters
    ----------
    path : path

    Returns
    -------
    Features

    Raises
    ------
    FeatureFileError
        No such file, not ours, incomplete, of another schema, damaged, or made to do harm.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> features = featx.load_features("F.h5")
    >>> X, y = features.split("train")
    >>> X.shape, X.dtype.name, y.shape
    ((15, 2048), 'float32', (15,))
    """
    return open_features(path).load()


def open_features(path: str | Path) -> FeatureFile:
    """`read_features` that leaves all columns in the file, so that it may have any size.

    Raises
    ------
    FeatureFileError
        See `read_features`.
    """
    path, seen = take_path(path, "features"), _Seen()
    file = _open(path, check_seal(_existing(path), _KIND, seen.look))
    try:
        _check_values(file, seen)
    except ValueError as error:
        if isinstance(error, FeatureFileError):
            raise
        raise FeatureFileError(path, f"damaged: {error}") from error
    if read_provenance_key(path) != file.provenance.key():
        raise FeatureFileError(path, "damaged: its first lines name another provenance")
    return file


def peek_features(path: Path) -> FeatureFile:
    """What a feature file says it holds, without reading all of it: for listings.

    Raises
    ------
    FeatureFileError
        See `read_features`; what only all bytes could tell is not found.
    """
    return _open(path, believe_seal(_existing(path), _KIND))


def is_feature_file(path: Path) -> bool:
    """Whether a file begins as featx begins a feature file, of whatever schema, whole or not."""
    try:
        read_note(path, _KIND)
    except FeatureFileError:
        return False
    return True


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
    return path.with_name(path.name + PARTS)


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


def _stored_as(X: npt.NDArray[np.float32] | StoredRows | Picked, provenance: Provenance) -> Rows:
    """Features in the type that a provenance says is stored."""
    wanted = np.dtype(provenance.storage)
    return X if X.dtype == wanted else X.astype(wanted)


def _check_schema(sealed: Sealed, path: Path) -> None:
    schema = sealed.attributes.get("schema")
    if schema != SCHEMA:
        raise FeatureFileError(
            path, f"schema {schema}, and this featx reads schema {SCHEMA}; extract again"
        )


def _open(path: Path, seal: Seal) -> FeatureFile:
    with open_sealed(path) as sealed:
        _check_schema(sealed, path)
        try:
            return _read(sealed, path, seal)
        except _NOT_OURS as error:
            raise FeatureFileError(path, f"damaged: {error}") from error


def _read(sealed: Sealed, path: Path, seal: Seal) -> FeatureFile:
    facts = sealed.attributes
    provenance = _read_provenance(sealed)
    texts = [*TEXTS, *[GROUPS] * (GROUPS in sealed.arrays)]
    numbers = ["features", *[LAYERS] * (provenance.layers != LAST_LAYER)]
    beside = [LABEL_SETS] * (LABEL_SETS in sealed.arrays)
    columns = {
        name: sealed.store_rows(name, path, seal.state)
        for name in (*numbers, "targets", *texts, *beside)
    }
    X, targets = columns["features"], columns["targets"]
    if X.dtype not in (np.float32, np.float16) or targets.dtype != np.int64:
        raise TypeError(f"features are {X.dtype} and targets {targets.dtype}")
    for name in numbers:
        if columns[name].dtype != provenance.storage:
            raise TypeError(f"{name} are {columns[name].dtype}, said to be {provenance.storage}")
    wide = columns[LAYERS].shape if LAYERS in columns else (len(X), 0)
    if wide != (len(X), provenance.n_columns):
        raise ValueError(f"layers of {wide}, said to be {provenance.layers}")
    if any(columns[name].dtype.kind != "S" for name in texts):
        raise TypeError("its names are no text")
    classes, versions = facts["classes"], json.loads(facts["versions"])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("its classes are no list of names")
    if len(set(classes)) < len(classes):
        raise ValueError("two of its classes have the same name")
    sets = columns.get(LABEL_SETS)
    if sets is not None and (sets.dtype != np.uint8 or sets.shape != (len(X), len(classes))):
        raise ValueError(f"sets of labels are {sets.shape} of {sets.dtype}")
    if not isinstance(versions, dict):
        raise TypeError("its versions are none")
    shapes = [X.shape[:1], *(columns[name].shape for name in ("targets", *texts))]
    skipped = [sealed.read_text(f"skipped_{name}s") for name in _SKIPPED]
    if any(column.ndim != 1 for column in skipped):
        raise ValueError("its list of skipped images is none")
    if X.ndim != 2 or not X.shape[1] or len(set(shapes)) > 1:
        raise ValueError(f"its parts do not fit each other: {X.shape}, {shapes[1:]}")
    heading = Heading(
        classes=tuple(classes),
        provenance=provenance,
        dataset=str(facts["dataset"]),
        split_rule=str(facts["split_rule"]),
        skipped=tuple(
            Skipped(*row) for row in zip(*(column.tolist() for column in skipped), strict=True)
        ),
        versions={str(name): str(version) for name, version in versions.items()},
    )
    return FeatureFile(path, columns, heading, str(facts["fingerprint"]), seal.sha256)


class _Seen:
    """Where a file has no NaN and no infinity, whatever type it is of, seen as it was hashed."""

    def __init__(self) -> None:
        self._finite: dict[np.dtype[Any], list[bool]] = {np.dtype(t): [] for t in ("f2", "f4")}

    def look(self, part: memoryview) -> None:
        for dtype, finite in self._finite.items():
            n = len(part) // dtype.itemsize
            finite.append(all_finite(np.frombuffer(part, dtype, n)))

    def finite(self, rows: StoredRows, some: slice) -> bool:
        """Whether these rows are, with what else lies in the same parts of the file."""
        row = count_bytes(rows) // len(rows)
        start = rows.offset - USER_BLOCK
        if start % rows.dtype.itemsize:
            return False
        first, last = (start + some.start * row) // SLICE, (start + some.stop * row - 1) // SLICE
        return all(self._finite[rows.dtype][first : last + 1])


def _check_values(file: FeatureFile, seen: _Seen) -> None:
    """Raise ValueError unless every row is one of ours and together they have the fingerprint."""
    fingerprint = Fingerprint(file.heading.classes)
    for some in iterate_slices(len(file), _CHECKED):
        targets = file.columns["targets"][some]
        if not -1 <= targets.min() <= targets.max() < len(file.heading.classes):
            raise ValueError(f"targets from {targets.min()} to {targets.max()}")
        raw = {name: file.columns[name][some].tolist() for name in TEXTS}
        text = {name: list(map(bytes.decode, values)) for name, values in raw.items()}
        if GROUPS in file.columns and not all(decode_text(file.columns[GROUPS][some]).tolist()):
            raise ValueError("images of no group, where others have one")
        sets = file.columns.get(LABEL_SETS)
        if sets is not None and (sets[some].max(initial=0) > 1 or targets.max() >= 0):
            raise ValueError("sets of labels that are neither 0 nor 1, or labels beside them")
        strange = set(text["splits"]) - {*SPLITS, ""}
        if strange:
            raise ValueError(f"splits {sorted(strange)}")
        if {*map(len, raw["hashes"])} != {64} or b"".join(raw["hashes"]).translate(None, _DIGITS):
            raise ValueError("hashes that are none")
        for name in ("features", LAYERS):
            X = file.columns.get(name)
            if X is not None and not seen.finite(X, some) and not all_finite(X[some]):
                raise ValueError(f"{name} that are NaN or infinite")
        fingerprint.add(text["paths"], text["hashes"], targets.tolist(), text["splits"])
    if fingerprint.hexdigest() != file.fingerprint:
        raise ValueError("its rows do not have the fingerprint it names")


def _read_provenance(sealed: Sealed) -> Provenance:
    optional = {"layers": LAST_LAYER}
    there = optional | sealed.attributes
    facts: dict[str, Any] = {name: str(there[name]) for name in Provenance.__dataclass_fields__}
    if spell_layers(parse_layers(facts["layers"])) != facts["layers"]:
        raise ValueError(f"layers {facts['layers']!r}")
    facts["preprocessing"] = Preprocessing.from_dict(json.loads(facts["preprocessing"])).to_dict()
    return Provenance(**facts)
