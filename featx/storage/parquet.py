"""Pictures in a Parquet file, as `datasets` of Hugging Face writes them, read in place.

A column of images is a struct of bytes and path, or plain bytes; the schema's metadata may say
which column it is and what numbers of classes stand for. Row groups are read in their order, and of
one only some megabytes are in memory.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import itertools
import json
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from featx.config import LABEL_COLUMNS
from featx.storage.members import DAMAGES, ArchiveError, Entry, Extent, say_damage

_BATCH_BYTES = 4 << 20  # of rows that are read together
_HELD = 4  # such batches in memory: threads ask for rows not quite in order
_BUFFER_BYTES = 1 << 20  # of the file, read at once; else pyarrow reads all of a row group
_NAMES = 4096  # rows at a time, of columns that hold little


class ParquetReader:
    """Reads the rows of a Parquet file; see `Reader`. A member's extent starts at its row.

    Parameters
    ----------
    path : str

    Raises
    ------
    ArchiveError
        It is no Parquet file, has no images, or pyarrow is not installed.
    """

    damage = ""

    def __init__(self, path: str) -> None:
        self._file = _open(path)
        self._column, self._nested = _find_images(self._file.schema_arrow)
        groups = [self._file.metadata.row_group(g) for g in range(self._file.num_row_groups)]
        self._starts = [0]
        for group in groups:
            self._starts.append(self._starts[-1] + group.num_rows)
        self._bytes = [group.total_byte_size for group in groups]
        self._lock = threading.Lock()
        self._held: deque[tuple[int, Any]] = deque(maxlen=_HELD)
        self._group = -1
        self._coming: Iterator[Any] = iter(())

    def list(self, file: BinaryIO) -> Iterator[Entry]:
        """Its rows, by number and the last part of the path that each may have."""
        if not self._nested:
            yield from (
                Entry(_name_row(row, None), extent=Extent(row, 0)) for row in range(self._n)
            )
            return
        for row, value in enumerate(_iterate(self._file, f"{self._column}.path")):
            yield Entry(_name_row(row, value and value["path"]), extent=Extent(row, 0))

    @property
    def _n(self) -> int:
        return self._starts[-1]

    def read(self, file: BinaryIO, extent: Extent) -> bytes:
        """The bytes of a row's picture."""
        try:
            with self._lock, self._afresh_after_errors(), _explain("this row"):
                value = self._find(extent.start)
        except ArchiveError as error:
            raise OSError(errno.EIO, f"damaged in its archive ({error})") from error
        data = value["bytes"] if self._nested and value is not None else value
        if data is None:
            raise OSError(errno.ENODATA, "no bytes in its row: its picture was not embedded")
        return bytes(data)

    def read_head(self, file: BinaryIO, extent: Extent, most: int) -> bytes:
        """The first of them."""
        return self.read(file, extent)[:most]

    @contextlib.contextmanager
    def _afresh_after_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._group = -1
            self._held.clear()
            raise

    def _find(self, row: int) -> Any:
        """A row's value, of what is in memory or further on; from its group's begin if before."""
        for first, column in self._held:
            if first <= row < first + len(column):
                return column[row - first].as_py()
        group = bisect.bisect_right(self._starts, row) - 1
        at = self._held[-1][0] + len(self._held[-1][1]) if self._held else 0
        if group != self._group or row < at:
            self._group, at = group, self._starts[group]
            a_row = self._bytes[group] // max(1, self._starts[group + 1] - at)
            self._coming = self._file.iter_batches(
                max(1, _BATCH_BYTES // max(1, a_row)),
                row_groups=[group],
                columns=[self._column],
                use_threads=False,
            )
        while True:
            column = next(self._coming).column(0)
            self._held.append((at, column))
            at += len(column)
            if row < at:
                return column[row - (at - len(column))].as_py()


def iterate_labels(path: str) -> Iterator[str]:
    """The label of each row as text; "" where it has none.

    Of numbers of classes it is the name that the schema's metadata gives them.

    Raises
    ------
    ArchiveError
        The column is damaged.
    """
    file = _open(path)
    column, names = _find_labels(file.schema_arrow)
    if column is None:
        yield from ("" for _ in range(file.metadata.num_rows))
        return
    for value in _iterate(file, column):
        if value is None:
            yield ""
        elif names is None or not isinstance(value, int):
            yield str(value)
        else:
            yield names[value] if 0 <= value < len(names) else ""


def describe_unread_labels(path: str) -> str:
    """That a column of labels is called so and holds none, and of what type; "" where none is."""
    schema = _open(path).schema_arrow
    if _find_labels(schema)[0] is not None:
        return ""
    named = (field for field in schema if field.name.casefold() in LABEL_COLUMNS)
    return "".join(
        f"column {field.name} is of type {field.type} and is not read: labels are text, whole "
        "numbers, or true and false"
        for field in itertools.islice(named, 1)
    )


def _iterate(file: Any, column: str) -> Iterator[Any]:
    """The values of a column that holds little."""
    with _explain(f"column {column}"):
        for batch in file.iter_batches(_NAMES, columns=[column]):
            yield from batch.column(0).to_pylist()


@contextlib.contextmanager
def _explain(what: str) -> Iterator[None]:
    """Have whatever pyarrow raises, which is of many kinds, as ArchiveError."""
    import pyarrow

    try:
        yield
    except (*DAMAGES, OSError, StopIteration, pyarrow.ArrowException) as error:
        raise ArchiveError(f"{what} is damaged ({say_damage(error)})") from error


def _open(path: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ArchiveError(
            "pyarrow reads it and is not installed; pip install 'featx[parquet]'"
        ) from error
    with _explain("its end, which says what is in it,"):
        return parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)


def _read_features(schema: Any) -> dict[str, Any]:
    """What `datasets` has written of each column; nothing where it has not written the file."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: one for name, one in told.items() if isinstance(one, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _find_images(schema: Any) -> tuple[str, bool]:
    """The column of images, and whether it is a struct of bytes and path."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    told = _read_features(schema)
    fits: list[tuple[bool, str, bool]] = []
    for field in schema:
        inner = {one.name: one.type for one in field.type} if types.is_struct(field.type) else {}
        nested = is_bytes(inner.get("bytes")) and "path" in inner if inner else False
        if nested or is_bytes(field.type):
            fits.append((told.get(field.name, {}).get("_type") != "Image", field.name, nested))
    if not fits:
        has = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise ArchiveError(
            "it has no column of images, which is a struct of bytes and path or plain bytes; it "
            f"has {has[:300]}"
        )
    _, name, nested = min(fits, key=lambda one: one[0])  # of equals the first
    return name, nested


def _find_labels(schema: Any) -> tuple[str | None, list[str] | None]:
    """The column of labels, if there is one, and what its numbers stand for, if that is told."""
    from pyarrow import types

    fields = {
        field.name: field.type
        for field in reversed(list(schema))  # of one name twice the first
        if any(
            fits(field.type)
            for fits in (
                types.is_integer,
                types.is_boolean,
                types.is_string,
                types.is_large_string,
                types.is_dictionary,
            )
        )
    }
    for name, told in _read_features(schema).items():
        if told.get("_type") == "ClassLabel" and name in fields:
            names = told.get("names")
            return name, [str(one) for one in names] if isinstance(names, list) else None
    for wanted in LABEL_COLUMNS:
        for field in schema:
            if field.name.casefold() == wanted and field.name in fields:
                return field.name, None
    return None, None


def _name_row(row: int, path: str | None) -> str:
    name = PurePosixPath(path).name if path else ""
    return f"{row:08d}-{name}" if name else f"{row:08d}"
