"""Members of a tar file, found by one pass over its headers and read in place."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Generator, Iterator
from typing import BinaryIO, cast

from featx.storage.inflating import Inflated
from featx.storage.members import FILE, FOLDER, LINKED, SPECIAL, Entry, Extent


class TarReader:
    """Reads a tar file that is not compressed; see `Reader`."""

    def __init__(self) -> None:
        self.damage = ""

    def list(self, file: BinaryIO) -> Iterator[Entry]:
        """Its entries; see `list_tar`."""
        self.damage = yield from list_tar(file)

    def read(self, file: BinaryIO, extent: Extent) -> bytes:
        """A member's bytes."""
        return read_at(file, extent.start, extent.size)

    def read_head(self, file: BinaryIO, extent: Extent, most: int) -> bytes:
        """The first of them."""
        return read_at(file, extent.start, min(extent.size, most))


class GzipTarReader:
    """Reads a tar file that gzip has compressed, soonest in its order; see `Reader`."""

    def __init__(self) -> None:
        self.damage = ""
        self._content = Inflated()

    def list(self, file: BinaryIO) -> Iterator[Entry]:
        """Its entries; see `list_tar`."""
        tape = cast(BinaryIO, _Tape(self._content, file))
        damage = yield from list_tar(tape)
        tape.seek(0, os.SEEK_END)  # where gzip's sum says whether all was as it was packed
        self.damage = self._content.damage or damage

    def read(self, file: BinaryIO, extent: Extent) -> bytes:
        """A member's bytes."""
        data = self._content.read_at(file, extent.start, extent.size)
        if len(data) < extent.size:
            raise OSError(errno.EIO, "its archive ends within it")
        return data

    def read_head(self, file: BinaryIO, extent: Extent, most: int) -> bytes:
        """The first of them."""
        return self.read(file, extent._replace(size=min(extent.size, most)))


class _Tape(io.RawIOBase):
    """What a gzip file holds as a file of its own, as far as tarfile asks."""

    def __init__(self, content: Inflated, file: BinaryIO) -> None:
        self._content, self._file, self._place = content, file, 0

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        self._place = place
        while whence == os.SEEK_END and self.read(tarfile.RECORDSIZE):
            pass
        return self._place

    def read(self, size: int = -1) -> bytes:
        data = self._content.read_at(self._file, self._place, size)
        self._place += len(data)
        return data


def list_tar(file: BinaryIO) -> Generator[Entry, None, str]:
    """Entries of a tar file in order, as they are come by.

    Returns
    -------
    str
        Where and why the file ends before its end; "" where it does not.

    Raises
    ------
    ValueError
        It is no tar file.
    """
    try:
        tar = tarfile.TarFile(fileobj=file)
    except tarfile.ReadError as error:
        raise ValueError(f"it is no tar file ({error})") from error
    name = ""
    try:
        while (found := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would hold every one
            name = found.name
            yield Entry(name, _name_kind(found), Extent(found.offset_data, found.size))
    except tarfile.ReadError:
        return f"the archive ends at byte {file.seek(0, os.SEEK_END):,}, within {name}"
    file.seek(tar.offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE:
        size = tar.offset + len(end)
        return f"the archive ends at byte {size:,}, after {name}, without its end mark"
    if end.strip(b"\0"):
        return f"the archive has no tar's header at byte {tar.offset:,}, after {name}"
    return ""


def _name_kind(found: tarfile.TarInfo) -> str:
    if found.isdir():
        return FOLDER
    if found.issym() or found.islnk():
        return LINKED
    return FILE if found.isreg() and not found.issparse() else SPECIAL


def read_at(file: BinaryIO, start: int, size: int) -> bytes:
    """Bytes of a file from `start` on, whatever other threads read of it.

    Raises
    ------
    OSError
        It ends before.
    """
    parts: list[bytes] = []
    while size and (part := os.pread(file.fileno(), size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    if size:
        raise OSError(errno.EIO, f"its archive ends at byte {start:,}, within it")
    return parts[0] if len(parts) == 1 else b"".join(parts)
