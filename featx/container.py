"""Sealed HDF5: arrays and facts in a file whose every byte is covered by one hash.

HDF5 lets a file begin with a block of the user's own. Ours holds a note, the length of the file,
and the SHA-256 of the note's line and of all that follows the block, so that a flipped bit or a cut
anywhere is found before HDF5 parses anything.

Only the plainest of HDF5 is written, and nothing else is read: contiguous arrays of numbers and of
text of a fixed length, in this very file. Links, external storage, virtual and compressed arrays
and text by reference can make a small file read other files or fill the memory, and are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5f, h5fd, h5l, h5o, h5p, h5s, h5t

from featx.errors import FeatureFileError
from featx.files import open_regular, write_bytes, write_whole
from featx.text import say_error

_HEAD = 512  # bytes; the smallest user block there is
_ALIGNMENT = 512  # of arrays in the file, so that they can be memory-mapped
_SLICE = 4 << 20  # bytes that are written at a time
_PAGE = 4096
_MEMBERS = 64  # more arrays or attributes than we ever write
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Rows(Protocol):
    """What can be written: an ndarray, or anything that gives rows by slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its first number is the number of rows."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Numbers, or bytes of a fixed length ("S") for UTF-8 text."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:
        """These rows as an ndarray."""
        ...


def write_sealed(
    path: Path, kind: str, attributes: Mapping[str, Any], arrays: Mapping[str, Rows], note: str = ""
) -> None:
    """Write arrays and facts as a sealed HDF5 file, whole or not at all.

    HDF5 itself only lays the file out, in memory; the bytes are written, in order, by plain system
    calls. So a full disk is an ordinary error, and the same content gives the same bytes.

    Parameters
    ----------
    path : Path
    kind : str
        What the file is, in a few ASCII words; its first line.
    attributes : mapping of str to str, int, bool or sequence of str
    arrays : mapping of str to Rows
        Numbers or "S" bytes.
    note : str
        An ASCII word that `read_note` gives back without HDF5.

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    layout, places = _lay_out(attributes, arrays)
    digest = hashlib.sha256(_note_line(note))
    with write_whole(path) as temporary:
        handle = os.open(temporary, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            write_bytes(handle, bytes(_HEAD))
            position = _HEAD
            for offset, name in places:
                for part in (layout.read_range(position, offset), *_slices(arrays[name])):
                    digest.update(part)
                    write_bytes(handle, part)
                position = offset + _nbytes(arrays[name])
            rest = layout.read_range(position, layout.size)
            digest.update(rest)
            write_bytes(handle, rest)
            os.lseek(handle, 0, os.SEEK_SET)
            write_bytes(handle, _head(kind, note, digest.hexdigest(), layout.size))
        finally:
            os.close(handle)
        check_seal(temporary, kind)
        with open_sealed(temporary):
            pass


def read_note(path: Path, kind: str) -> str:
    """The note in a file's first lines, believed; raises FeatureFileError as `check_seal` does."""
    with _open(path) as file:
        return _parse_note(_read_head(file, path, kind))


def check_seal(path: Path, kind: str) -> None:
    """Read all of a file's bytes and raise FeatureFileError unless they are those written."""
    with _open(path) as file:
        head = _read_head(file, path, kind)
        note = _parse_note(head)
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(_note_line(note))
        while part := file.read(_SLICE):
            digest.update(part)
    if head == _head(kind, note, digest.hexdigest(), size):
        return
    expected = head.partition(b"\nbytes ")[2].split(b"\n")[0].decode("ascii", "replace")
    if expected != str(size):
        raise FeatureFileError(
            path, f"damaged: it has {size} bytes and was written with {expected}"
        )
    raise FeatureFileError(path, "damaged: its bytes are not those that were written (SHA-256)")


@dataclass(frozen=True)
class Sealed:
    """An open sealed file whose structure was found to be one of ours.

    Attributes
    ----------
    attributes : dict of str to str, int or list of str
    arrays : dict of str to h5py.Dataset
    """

    attributes: dict[str, Any]
    arrays: dict[str, h5py.Dataset]

    def read_text(self, name: str) -> npt.NDArray[np.str_]:
        """An array of text; raises KeyError, TypeError or ValueError where it is none."""
        found = self.arrays[name]
        if found.dtype.kind != "S":
            raise TypeError(f"{name} is {found.dtype}, and not text")
        return np.strings.decode(found[:], "utf-8")


@contextlib.contextmanager
def open_sealed(path: Path) -> Iterator[Sealed]:
    """Open a sealed file without believing it: nothing is read that could lead elsewhere.

    The seal itself is `check_seal`'s matter: anyone can seal a file.

    Raises
    ------
    FeatureFileError
    """
    try:
        # It is never changed in place, so HDF5 need not lock it, which some file systems refuse.
        file = h5py.File(str(path), "r", driver="sec2", locking=False)
    except OSError as error:
        raise FeatureFileError(path, "damaged: HDF5 cannot open it") from error
    with file:
        size = path.stat().st_size
        try:
            sealed = Sealed(_read_attributes(file, size), _open_arrays(file, size))
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise FeatureFileError(path, f"refused: {error}") from error
        yield sealed


def _open_arrays(file: h5py.File, size: int) -> dict[str, h5py.Dataset]:
    names = _names(file)
    for name in names:
        # Asked of the link itself: a soft or external one is never followed.
        if file.id.links.get_info(name).type != h5l.TYPE_HARD:
            raise ValueError(f"{name.decode('utf-8', 'replace')!r} is a link to somewhere else")
        if h5o.get_info(file.id, name).type != h5o.TYPE_DATASET:
            raise ValueError(f"{name.decode('utf-8', 'replace')!r} is no array")
    arrays = {}
    for name in names:
        found = h5d.open(file.id, name)
        label = repr(name.decode("utf-8", "replace"))
        made = found.get_create_plist()
        # Before its shape is asked for: that of a virtual array may lie in other files.
        if made.get_layout() != h5d.CONTIGUOUS or made.get_nfilters():
            raise ValueError(f"{label} is virtual, chunked or compressed; ours are plain")
        if made.get_external_count():
            raise ValueError(f"{label} lies in another file")
        _check_type(found.get_type(), label)
        if found.get_space().get_simple_extent_type() == h5s.NULL:
            raise ValueError(f"{label} has no shape")
        array = h5py.Dataset(found)
        nbytes = math.prod(array.shape) * array.dtype.itemsize
        if nbytes and not _HEAD <= (found.get_offset() or 0) <= size - nbytes:
            raise ValueError(f"{label} claims {nbytes} bytes that the file does not have")
        arrays[name.decode("utf-8")] = array
    return arrays


def _names(file: h5py.File) -> list[bytes]:
    if len(file) > _MEMBERS:
        raise ValueError(f"it has {len(file)} members")
    found: list[bytes] = []
    file.id.links.iterate(found.append)
    return sorted(found)


def _read_attributes(file: h5py.File, size: int) -> dict[str, Any]:
    count = h5a.get_num_attrs(file.id)
    if count > _MEMBERS:
        raise ValueError(f"it has {count} attributes")
    values: dict[str, Any] = {}
    for index in range(count):
        found = h5a.open(file.id, index=index)
        name = found.name.decode("utf-8")
        _check_type(found.get_type(), repr(name))
        if found.shape is None:
            raise ValueError(f"{name!r} has no shape")
        if math.prod(found.shape) * found.dtype.itemsize > size:
            raise ValueError(f"{name!r} claims more bytes than the file has")
        value = np.empty(found.shape, found.dtype)
        if value.size:
            found.read(value)
        text = value.dtype.kind == "S"
        values[name] = (np.strings.decode(value, "utf-8") if text else value).tolist()
    return values


def _check_type(found: h5t.TypeID, label: str) -> None:
    kind = found.get_class()
    plain = kind in (h5t.INTEGER, h5t.FLOAT) or (kind == h5t.STRING and not found.is_variable_str())
    if not plain:
        raise TypeError(f"{label} is of a type that ours never are")


class _Sparse(io.RawIOBase):
    """A file in memory that keeps only the pages written to; HDF5 lays the real one out in it."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self.size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self.size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.read_range(self._position, self._position + len(view))
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            page, start = divmod(self._position + done, _PAGE)
            part = view[done : done + _PAGE - start]
            self._pages.setdefault(page, bytearray(_PAGE))[start : start + len(part)] = part
            done += len(part)
        self._position += done
        self.size = max(self.size, self._position)
        return done

    def read_range(self, start: int, end: int) -> bytes:
        """Bytes from `start` up to `end`; zeros where nothing was written."""
        pages = range(start // _PAGE, -(-end // _PAGE))
        joined = b"".join(self._pages.get(page, bytes(_PAGE)) for page in pages)
        return joined[start - pages.start * _PAGE :][: end - start]


def _lay_out(
    attributes: Mapping[str, Any], arrays: Mapping[str, Rows]
) -> tuple[_Sparse, list[tuple[int, str]]]:
    """All of the file but the arrays' content, and where that goes, in order."""
    layout = _Sparse()
    with _create(layout) as file:
        places = []
        for name, rows in arrays.items():
            plain = h5p.create(h5p.DATASET_CREATE)
            plain.set_layout(h5d.CONTIGUOUS)
            plain.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            plain.set_fill_time(h5d.FILL_TIME_NEVER)
            plain.set_obj_track_times(False)
            space = h5s.create_simple(tuple(rows.shape))
            made = h5d.create(file.id, name.encode(), _stored_type(rows.dtype), space, plain)
            if _nbytes(rows):
                places.append((made.get_offset(), name))
        for name, value in attributes.items():
            _write_attribute(file, name, value)
    return layout, sorted(places)


def _create(layout: _Sparse) -> h5py.File:
    """A new HDF5 file laid out in `layout`."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5fd.fileobj_driver, layout)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    # 1.8's format keeps attributes beyond 64 KiB (many classes) and is read everywhere.
    access.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_V110)
    access.set_alignment(_ALIGNMENT, _ALIGNMENT)
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_userblock(_HEAD)
    # h5py.File would not ask for that before 3.12: the root would have the time of writing in it.
    creation.set_obj_track_times(False)
    return h5py.File(h5f.create(b"layout", h5f.ACC_TRUNC, creation, access))


def _stored_type(dtype: np.dtype[Any]) -> h5t.TypeID:
    if dtype.kind == "S":
        dtype = h5py.string_dtype("utf-8", dtype.itemsize)
    return h5t.py_create(dtype, logical=True)


def _write_attribute(file: h5py.File, name: str, value: Any) -> None:
    if isinstance(value, int):
        file.attrs.create(name, value, dtype=np.int64)
        return
    text = encode_text(np.array(value, dtype=np.str_))
    file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8", text.dtype.itemsize))


def encode_text(values: npt.NDArray[np.str_]) -> npt.NDArray[np.bytes_]:
    """Text as UTF-8 bytes of one fixed length, at least 1; raises ValueError on a NUL in it."""
    if not values.size:
        return np.empty(values.shape, "S1")
    encoded = np.strings.encode(values, "utf-8")
    encoded = encoded.astype(f"S{max(1, encoded.dtype.itemsize)}", copy=False)
    # A NUL at the end is padding; one within a text would end it early for some readers.
    bytes_of = np.atleast_1d(encoded).view(np.uint8).reshape(encoded.size, -1)
    if ((bytes_of != 0).sum(axis=1) != np.strings.str_len(encoded).reshape(-1)).any():
        raise ValueError("text with a NUL character cannot be stored")
    return encoded


def _slices(rows: Rows) -> Iterator[bytes]:
    n = rows.shape[0]
    step = max(1, _SLICE // max(1, _nbytes(rows) // max(1, n)))
    for start in range(0, n, step):
        yield np.asarray(rows[start : start + step]).tobytes()


def _nbytes(rows: Rows) -> int:
    return math.prod(rows.shape) * rows.dtype.itemsize


def _open(path: Path) -> io.BufferedReader:
    try:
        return open_regular(path)
    except OSError as error:
        raise FeatureFileError(path, say_error(error)) from error


def _read_head(file: io.BufferedReader, path: Path, kind: str) -> bytes:
    head = file.read(_HEAD)
    if head.startswith(f"featx {kind}\n".encode()):
        return head
    if head.startswith(_HDF5_SIGNATURE):
        raise FeatureFileError(path, "an HDF5 file, but not one that this featx made")
    raise FeatureFileError(path, f"not a {kind}")


def _head(kind: str, note: str, digest: str, size: int) -> bytes:
    text = (
        f"featx {kind}\n".encode() + _note_line(note) + f"sha256 {digest}\nbytes {size}\n".encode()
    )
    return text.ljust(_HEAD - 1) + b"\n"


def _note_line(note: str) -> bytes:
    return f"note {note}\n".encode("ascii")


def _parse_note(head: bytes) -> str:
    lines = head.split(b"\n")
    note = lines[1].removeprefix(b"note ") if len(lines) > 1 else b""
    return note.decode("ascii", "replace").encode("ascii", "replace").decode()
