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
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5l, h5o, h5s, h5t

from featx.errors import FeatureFileError
from featx.storage.files import begin_sync, open_regular, write_bytes, write_whole
from featx.storage.hdf5_layout import USER_BLOCK, lay_out
from featx.storage.rows import (
    Rows,
    State,
    StoredRows,
    count_bytes,
    decode_text,
    file_state,
    iterate_slices,
)
from featx.text import say_error

SLICE = 4 << 20  # bytes that are read or written at a time
_MEMBERS = 64  # more arrays or attributes than we ever write
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def write_sealed(
    path: Path, kind: str, attributes: Mapping[str, Any], arrays: Mapping[str, Rows], note: str = ""
) -> tuple[Seal, dict[str, StoredRows]]:
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

    Returns
    -------
    Seal
    dict of str to StoredRows
        The arrays as they now lie in the file.

    Raises
    ------
    OSError
        No room, no permission, ...
    """
    layout, places = lay_out(attributes, arrays)
    digest = hashlib.sha256(_note_line(note))
    with write_whole(path) as temporary, ThreadPoolExecutor(1) as hashing:
        handle = os.open(temporary, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            write_bytes(handle, bytes(USER_BLOCK))
            position = USER_BLOCK
            for offset, name in places:
                before: list[bytes | memoryview] = [layout.read_range(position, offset)]
                for part in itertools.chain(before, _slices(arrays[name])):
                    hashed = hashing.submit(digest.update, part)
                    write_bytes(handle, part)
                    begin_sync(handle, len(part))
                    hashed.result()
                position = offset + count_bytes(arrays[name])
            rest = layout.read_range(position, layout.size)
            digest.update(rest)
            write_bytes(handle, rest)
            os.lseek(handle, 0, os.SEEK_SET)
            write_bytes(handle, _head(kind, note, digest.hexdigest(), layout.size))
        finally:
            os.close(handle)
        seal = check_seal(temporary, kind)
        with open_sealed(temporary) as sealed:
            return seal, {name: sealed.store_rows(name, path, seal.state) for name in arrays}


def read_note(path: Path, kind: str) -> str:
    """The note in a file's first lines, believed; raises FeatureFileError as `check_seal` does."""
    with _open(path) as file:
        return _parse_note(_read_head(file, path, kind))


def believe_seal(path: Path, kind: str) -> Seal:
    """What `check_seal` gives, of a file of the right length; its bytes are not read.

    For listings: nothing may be computed from what was found this way.
    """
    with _open(path) as file:
        head = _read_head(file, path, kind)
        found = os.fstat(file.fileno())
    digest = head.partition(b"\nsha256 ")[2].split(b"\n")[0].decode("ascii", "replace")
    if head != _head(kind, _parse_note(head), digest, found.st_size):
        raise FeatureFileError(path, _say_damage(head, found.st_size))
    return Seal(file_state(found), digest)


class Seal(NamedTuple):
    """Which file was found whole, and the hash that it bears."""

    state: State
    sha256: str


def check_seal(path: Path, kind: str, look: Callable[[memoryview], None] | None = None) -> Seal:
    """Read all of a file's bytes and raise FeatureFileError unless they are those written.

    Parameters
    ----------
    path : Path
    kind : str
        See `write_sealed`.
    look : callable, optional
        Is shown, and may not keep, what follows the user block: `SLICE` bytes at a time, in order,
        while they are hashed; so that what is asked of all bytes need not read them again.
    """
    with _open(path) as file:
        head = _read_head(file, path, kind)
        note = _parse_note(head)
        found = os.fstat(file.fileno())
        size = found.st_size
        digest = hashlib.sha256(_note_line(note))
        _hash_rest(file, digest.update, look)
    if head == _head(kind, note, digest.hexdigest(), size):
        return Seal(file_state(found), digest.hexdigest())
    raise FeatureFileError(path, _say_damage(head, size))


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
        return decode_text(found[:])

    def store_rows(self, name: str, path: Path, state: State) -> StoredRows:
        """An array to be read later from `path`, if that is still the file of that state."""
        found = self.arrays[name]
        offset = found.id.get_offset() or 0  # None where it has no bytes
        # Text of a fixed length is plain bytes, whatever else h5py notes of it.
        dtype = np.dtype(f"S{found.dtype.itemsize}") if found.dtype.kind == "S" else found.dtype
        return StoredRows(path, state, offset, found.shape, dtype, dtype)


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
        if nbytes and not USER_BLOCK <= (found.get_offset() or 0) <= size - nbytes:
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


def _hash_rest(
    file: io.BufferedReader,
    update: Callable[[memoryview], None],
    look: Callable[[memoryview], None] | None,
) -> None:
    """Hash the rest of a file in a thread, which Python's lock does not hold up, and read ahead."""
    size = max(1, min(SLICE, os.fstat(file.fileno()).st_size))  # untouched memory costs, too
    buffers = memoryview(bytearray(size)), memoryview(bytearray(size))
    hashed: Future[None] | None = None
    with ThreadPoolExecutor(1) as hashing:
        for buffer in itertools.cycle(buffers):
            part = buffer[: file.readinto(buffer)]
            if part and look:
                look(part)
            if hashed:
                hashed.result()
            if not part:
                return
            hashed = hashing.submit(update, part)


def _slices(rows: Rows) -> Iterator[memoryview]:
    n = rows.shape[0]
    step = max(1, SLICE // max(1, count_bytes(rows) // max(1, n)))
    for some in iterate_slices(n, step):
        yield np.ascontiguousarray(rows[some]).reshape(-1).view(np.uint8).data


def _open(path: Path) -> io.BufferedReader:
    try:
        return open_regular(path)
    except OSError as error:
        raise FeatureFileError(path, say_error(error)) from error


def _read_head(file: io.BufferedReader, path: Path, kind: str) -> bytes:
    head = file.read(USER_BLOCK)
    if head.startswith(f"featx {kind}\n".encode()):
        return head
    if head.startswith(_HDF5_SIGNATURE):
        raise FeatureFileError(path, "an HDF5 file, but not one that this featx made")
    raise FeatureFileError(path, f"not a {kind}")


def _head(kind: str, note: str, digest: str, size: int) -> bytes:
    text = (
        f"featx {kind}\n".encode() + _note_line(note) + f"sha256 {digest}\nbytes {size}\n".encode()
    )
    return text.ljust(USER_BLOCK - 1) + b"\n"


def _say_damage(head: bytes, size: int) -> str:
    expected = head.partition(b"\nbytes ")[2].split(b"\n")[0].decode("ascii", "replace")
    if expected != str(size):
        return f"damaged: it has {size} bytes and was written with {expected}"
    return "damaged: its bytes are not those that were written (SHA-256)"


def _note_line(note: str) -> bytes:
    return f"note {note}\n".encode("ascii")


def _parse_note(head: bytes) -> str:
    lines = head.split(b"\n")
    note = lines[1].removeprefix(b"note ") if len(lines) > 1 else b""
    return note.decode("ascii", "replace").encode("ascii", "replace").decode()
