"""An HDF5 file laid out in memory: all of it but the arrays' content, and where that goes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5fd, h5p, h5s, h5t

from featx.storage.rows import Rows, count_bytes, encode_text

USER_BLOCK = 512  # bytes; the smallest there is
_ALIGNMENT = 512  # of arrays in the file, so that they can be memory-mapped
_PAGE = 4096


class Sparse(io.RawIOBase):
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


def lay_out(
    attributes: Mapping[str, Any], arrays: Mapping[str, Rows]
) -> tuple[Sparse, list[tuple[int, str]]]:
    """All of the file but the arrays' content, and where that goes, in order."""
    layout = Sparse()
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
            if count_bytes(rows):
                places.append((made.get_offset(), name))
        for name, value in attributes.items():
            _write_attribute(file, name, value)
    return layout, sorted(places)


def _create(layout: Sparse) -> h5py.File:
    """A new HDF5 file laid out in `layout`."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5fd.fileobj_driver, layout)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    # 1.8's format keeps attributes beyond 64 KiB (many classes) and is read everywhere.
    access.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_V110)
    access.set_alignment(_ALIGNMENT, _ALIGNMENT)
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_userblock(USER_BLOCK)
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
