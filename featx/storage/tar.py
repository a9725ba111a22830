"""Members of a tar file, found by one pass over its headers and read in place."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Generator, Iterator
from typing import BinaryIO, cast

from featx.storage.inflating import Inflated
from featx.storage.members import (
    DAMAGES,
    FILE,
    FOLDER,
    LINKED,
    SPECIAL,
    ArchiveError,
    Entry,
    Extent,
    say_damage,
)

_MOST_BYTES = 1 << 62  # no file is larger
_MOST_HEADER_BYTES = 16 << 20  # what follows a header for the next one: a long name, pax's records


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


class _Header(tarfile.TarInfo):
    """A header; what says of itself that it is large is not read into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        named = self.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if (named or self.type in _PAX) and not 0 <= self.size <= _MOST_HEADER_BYTES:
            raise ArchiveError(f"{self.name} has no size that a header has")
        return cast(tarfile.TarInfo, super()._proc_member(tar))  # type: ignore[misc]


_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


def list_tar(file: BinaryIO) -> Generator[Entry, None, str]:
    """Entries of a tar file in order, as they are come by.

    Returns
    -------
    str
        Where and why the file ends before its end; "" where it does not.

    Raises
    ------
    ArchiveError
        It is no tar file.
    """
    try:
        tar = tarfile.TarFile(fileobj=file, tarinfo=_Header)
    except (*DAMAGES, OSError) as error:
        raise ArchiveError(f"it is no tar file ({_say(error)})") from error
    name, at = "its begin", 0
    while True:
        try:
            found = tar.next()
            if found is None:
                break
            # A size that leads back would be read for ever.
            if found.size < 0 or not at <= found.offset_data <= tar.offset < _MOST_BYTES:
                raise ArchiveError(f"{found.name} has no size that a file has")
        except (*DAMAGES, OSError) as error:
            said, place, size = _say(error), file.tell(), file.seek(0, os.SEEK_END)
            if isinstance(error, tarfile.ReadError) and place >= size:
                return f"the archive ends at byte {size:,}, within {name}"
            return f"the archive is damaged at byte {at:,}, after {name} ({said})"
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold every one
        name, at = found.name, tar.offset
        yield Entry(name, _name_kind(found), Extent(found.offset_data, found.size))
    file.seek(tar.offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE:
        size = tar.offset + len(end)
        return f"the archive ends at byte {size:,}, after {name}, without its end mark"
    if end.strip(b"\0"):
        return f"the archive has no tar's header at byte {tar.offset:,}, after {name}"
    return ""


def _say(error: BaseException) -> str:
    """What is wrong; an OSError that is no sign of damage is raised again."""
    if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOVERFLOW):
        raise error
    return say_damage(error)


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
    if start < 0:
        raise OSError(errno.EIO, "damaged in its archive (it lies before its begin)")
    parts: list[bytes] = []
    while size and (part := os.pread(file.fileno(), size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    if size:
        raise OSError(errno.EIO, f"its archive ends at byte {start:,}, within it")
    return parts[0] if len(parts) == 1 else b"".join(parts)
