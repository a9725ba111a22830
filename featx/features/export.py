"""Features for other engines: a feature file of any size as Parquet or .npy, in flat memory."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.config import LAST_LAYER
from featx.errors import ExportError, OutputExistsError
from featx.features.content import GROUPS, LABEL_SETS, LAYERS, TEXTS, FeatureFile
from featx.features.file import open_features
from featx.features.provenance import Provenance
from featx.storage.csv_files import fill_csv
from featx.storage.files import (
    as_path,
    begin_sync,
    check_space,
    explain_full,
    format_json,
    resolve_output,
    write_bytes,
    write_whole,
)
from featx.storage.rows import StoredRows, count_bytes, decode_text, iterate_slices
from featx.timing import Meter

ROW_GROUP = 8192  # rows; 64 MiB of float32
_ROWS = 2048  # of a .npy and its table at a time
_KEY = "featx"  # of a Parquet file's metadata
_TABLE = ("path", "label", "split", "sha256")
# Facts that make features others; of these `Provenance` has more.
_IDENTITY = ("fingerprint", "schema", *Provenance.__dataclass_fields__)


@dataclass(frozen=True)
class Written:
    """A file that an export wrote.

    Attributes
    ----------
    format : {"parquet", "npy", "csv", "json"}
    path : Path
    bytes : int
    """

    format: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes
    ----------
    features : Path
        The feature file.
    images : int
        Rows that were written.
    skipped : int
        Images that could not be decoded: they have no features and are no rows.
    written : tuple of Written
    seconds : float
    """

    features: Path
    images: int
    skipped: int
    written: tuple[Written, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx export --json``."""
        written = [{**asdict(one), "path": str(one.path)} for one in self.written]
        return {**vars(self), "features": str(self.features), "written": written}


def export_features(
    features: str | Path,
    *,
    parquet: str | Path | None = None,
    npy: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Export:
    """Check a feature file, every byte of it, and write it in one format or more.

    Parameters
    ----------
    features : path
    parquet, npy : path, optional
        See `export_parquet` and `export_npy`.
    overwrite : bool
        Replace outputs that hold something else.
    progress : bool
        Show bars.

    Returns
    -------
    Export

    Raises
    ------
    FeatureFileError
        The file is not ours or damaged.
    ExportError
        pyarrow is not installed, two of the files have one name, or it is a model.
    OutputExistsError
        An output holds something else and `overwrite` is False.
    StorageError
        No room.
    """
    begun = time.perf_counter()
    features, parquet, npy = Path(features), as_path(parquet), as_path(npy)
    table = [resolve_output(parquet)] if parquet else []
    matrix = _npy_places(npy, layers=True) if npy else []
    _check_distinct([features, *table, *matrix])
    if parquet:
        _import_pyarrow()
    if _is_model(features):
        raise ExportError(
            f"{features} is a model, and --parquet and --npy are for feature files: --onnx exports "
            "models"
        )
    file = open_features(features)
    # All is refused before anything is written.
    if parquet:
        _claim(table, _read_parquet_facts(table[0]), file, overwrite)
    if npy:
        _claim(matrix, _read_npy_facts(matrix[-1]), file, overwrite)
    written: list[Written] = []
    if parquet:
        written += export_parquet(file, parquet, overwrite=overwrite, progress=progress)
    if npy:
        written += export_npy(file, npy, overwrite=overwrite, progress=progress)
    skipped = len(file.heading.skipped)
    return Export(features, len(file), skipped, tuple(written), time.perf_counter() - begun)


def export_parquet(
    file: FeatureFile, output: Path, *, overwrite: bool = False, progress: bool = False
) -> tuple[Written, ...]:
    """Write a feature file's rows as Parquet, whole or not at all.

    The columns are path, label (a class name, null where there is none; | parts several), target
    (int64, -1 where there is none), split, sha256, group where images have groups, and features, a
    list of fixed size that is never null, of float32; layers likewise, where a file keeps them.
    Numbers stored as float16 are widened, which is exact: Spark 4.3 refuses Parquet's FLOAT16. They
    are compressed (zstd), since 13 of their 32 bits are zero; float32 is not. A row group has
    `ROW_GROUP` rows, all that is in memory at a time. The file's metadata has under "featx" a JSON
    object: classes, provenance, fingerprint. The same features and pyarrow give the same bytes.

    Parameters
    ----------
    file : FeatureFile
    output : Path
    overwrite : bool
        Replace what holds something else.
    progress : bool
        Show a bar.

    Raises
    ------
    ExportError
        pyarrow is not installed.
    OutputExistsError, StorageError, OSError
        See `export_features`.
    """
    pa, pq = _import_pyarrow()
    path = resolve_output(output)
    _claim([path], _read_parquet_facts(path), file, overwrite)
    text, number = pa.string(), pa.field("element", pa.float32(), nullable=False)
    vectors = {name: pa.list_(number, X.shape[1]) for name, X in _list_matrices(file)}
    schema = pa.schema(
        [
            pa.field("path", text, nullable=False),
            pa.field("label", text),
            pa.field("target", pa.int64(), nullable=False),
            pa.field("split", text, nullable=False),
            pa.field("sha256", text, nullable=False),
            *[pa.field("group", text, nullable=False)] * (GROUPS in file.columns),
            *(pa.field(name, vector, nullable=False) for name, vector in vectors.items()),
        ]
    )
    plain = [name for name in schema.names if name not in vectors]
    several = LABEL_SETS in file.columns
    half = file.provenance.storage == "float16"
    options = {
        "compression": {
            **dict.fromkeys(plain, "ZSTD"),
            **dict.fromkeys((f"{n}.list.element" for n in vectors), "ZSTD" if half else "NONE"),
        },
        "use_dictionary": ["label", "split"],
        "write_statistics": plain,
    }
    with (
        _making([path], _estimate_bytes(file)) as (temporary,),
        temporary.open("rb+") as out,
        pq.ParquetWriter(out, schema, **options) as writer,
    ):
        for some in _steps(file, ROW_GROUP, "parquet", progress):
            targets = file.columns["targets"][some]
            raw = {
                name: column[some].tolist()
                for name, column in file.columns.items()
                if name in (*TEXTS, GROUPS)
            }
            values = {
                name: pa.array(X[some].astype(np.float32).reshape(-1))
                for name, X in _list_matrices(file)
            }
            columns = {
                "path": pa.array(raw["paths"], pa.binary()).cast(text),
                "label": pa.array(file.name_labels(some), text, mask=(targets < 0) & (not several)),
                "target": pa.array(targets),
                "split": pa.array(raw["splits"], pa.binary()).cast(text),
                "sha256": pa.array(raw["hashes"], pa.binary()).cast(text),
                **{
                    name: pa.FixedSizeListArray.from_arrays(values[name], type=vector)
                    for name, vector in vectors.items()
                },
            }
            if GROUPS in raw:
                columns["group"] = pa.array(raw[GROUPS], pa.binary()).cast(text)
            before = out.tell()
            writer.write_table(pa.table(columns, schema), ROW_GROUP)
            out.flush()
            begin_sync(out.fileno(), out.tell() - before)
        writer.add_key_value_metadata({_KEY: json.dumps(file.describe())})
    return (_written("parquet", path),)


def export_npy(
    file: FeatureFile, output: Path, *, overwrite: bool = False, progress: bool = False
) -> tuple[Written, ...]:
    """Write a feature file's matrix as .npy, with a table of its rows and their making beside it.

    OUT.npy is (n_samples, n_features), float16 or float32 as stored, C order, for
    ``numpy.load(mmap_mode="r")``; OUT.layers.npy likewise what a file keeps of other layers;
    OUT.csv has the columns path, label (empty where there is none), split, sha256 and where images
    have groups group, a row a row; OUT.json has classes, provenance and fingerprint. They appear
    together, OUT.npy first and OUT.json last, or not at all.

    Parameters
    ----------
    file : FeatureFile
    output : Path
        OUT.npy.
    overwrite : bool
        Replace what holds something else.
    progress : bool
        Show a bar.

    Raises
    ------
    OutputExistsError, StorageError, OSError
        See `export_features`.
    """
    paths = _npy_places(output, layers=LAYERS in file.columns)
    _claim(paths, _read_npy_facts(paths[-1]), file, overwrite)
    with _making(paths, _estimate_bytes(file)) as (*matrices, table, about):
        for (name, X), matrix in zip(_list_matrices(file), matrices, strict=True):
            header = io.BytesIO()
            facts = {"descr": np.lib.format.dtype_to_descr(X.dtype), "fortran_order": False}
            np.lib.format.write_array_header_1_0(header, {**facts, "shape": X.shape})
            with matrix.open("rb+", buffering=0) as out:
                write_bytes(out.fileno(), header.getvalue())
                for some in _steps(file, _ROWS, f"npy, {name}", progress):
                    part = X[some].reshape(-1).view(np.uint8).data
                    write_bytes(out.fileno(), part)
                    begin_sync(out.fileno(), len(part))
        fill_csv(table, (*_TABLE, *["group"] * (GROUPS in file.columns)), _table_rows(file))
        about.write_text(format_json(file.describe()), "utf-8")
    return tuple(map(_written, (*["npy"] * len(matrices), "csv", "json"), paths))


def _list_matrices(file: FeatureFile) -> list[tuple[str, StoredRows]]:
    return [(name, file.columns[name]) for name in ("features", LAYERS) if name in file.columns]


def _is_model(path: Path) -> bool:
    """Whether it is safetensors, or a run's folder: what featx keeps models in."""
    if path.is_dir():
        return (path / "model.safetensors").is_file()
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"  # behind the header's length
    except OSError:
        return False


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ExportError(
            "--parquet: pyarrow is not installed; pip install 'featx[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def _npy_places(output: Path, layers: bool) -> list[Path]:
    """Where OUT.npy, OUT.layers.npy, OUT.csv and OUT.json really are."""
    stem = output.name.removesuffix(".npy")
    suffixes = (*[".layers.npy"] * layers, ".csv", ".json")
    beside = [output.with_name(f"{stem}{suffix}") for suffix in suffixes]
    return [resolve_output(path) for path in (output, *beside)]


def _check_distinct(paths: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise ExportError(f"{path} would be written over another file of this export")
        seen.add(real)


def _claim(paths: Sequence[Path], found: Any, file: FeatureFile, overwrite: bool) -> None:
    """Raise OutputExistsError where one of `paths` is there and not an export of such features."""
    there = [path for path in paths if path.exists()]
    if overwrite or not there:
        return
    if not isinstance(found, dict) or "fingerprint" not in found:
        raise OutputExistsError(there[0], ("not a file that featx exported",))
    asked = file.describe()
    found = {"layers": LAST_LAYER} | found  # from before there were others
    wrong = [k for k in _IDENTITY if found.get(k) != asked[k]]
    if wrong:
        raise OutputExistsError(there[0], tuple(f"{k}: {found.get(k)} → {asked[k]}" for k in wrong))


def _read_parquet_facts(path: Path) -> Any:
    """What a Parquet file says of itself; None where it is none of ours."""
    pa, pq = _import_pyarrow()
    try:
        with path.open("rb") as file:
            return json.loads((pq.read_metadata(file).metadata or {})[_KEY.encode()])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def _read_npy_facts(path: Path) -> Any:
    """What OUT.json says of OUT.npy; None where it is none of ours."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _estimate_bytes(file: FeatureFile) -> int:
    return 65_536 + sum(map(count_bytes, file.columns.values()))


@contextlib.contextmanager
def _making(paths: Sequence[Path], needed: int) -> Iterator[list[Path]]:
    """Temporary names for `paths`, which are renamed together; the first of them is the largest."""
    check_space(paths[0], needed, needed)
    kept = "nothing was written; make room, or name another place"
    with explain_full(paths[0], needed, kept), contextlib.ExitStack() as stack:
        # What is entered last is renamed first.
        made = [stack.enter_context(write_whole(path)) for path in reversed(paths)]
        yield made[::-1]


def _steps(file: FeatureFile, step: int, name: str, progress: bool) -> Iterator[slice]:
    """Slices of all rows, with a bar."""
    with Meter(name, len(file), progress) as meter:
        for some in iterate_slices(len(file), step):
            yield some
            meter.update(some.stop - some.start)


def _table_rows(file: FeatureFile) -> Iterator[tuple[str, ...]]:
    texts = [name for name in ("paths", "splits", "hashes", GROUPS) if name in file.columns]
    for some in iterate_slices(len(file), _ROWS):
        labels = file.name_labels(some)
        paths, *rest = (decode_text(file.columns[name][some]).tolist() for name in texts)
        yield from zip(paths, labels, *rest, strict=True)


def _written(kind: str, path: Path) -> Written:
    return Written(kind, path, path.stat().st_size)
