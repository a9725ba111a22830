"""Where bytes lie: in a file, or in an archive, whose path then stands for a folder.

`DATA.tar/cat/1.jpg` is the member cat/1.jpg of the file DATA.tar. No file can have such a path, so
that the system says of each whether it is one, and plain files cost nothing more.
Only paths travel: a process that is given one opens the archive for itself, once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import os
import re
import tarfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from featx.config import ARCHIVE_SUFFIXES, MAX_MEMBER_BYTES
from featx.errors import DatasetError
from featx.storage.files import open_regular
from featx.storage.members import DAMAGES, ArchiveError, Extent, Members, Reader, say_damage
from featx.storage.parquet import ParquetReader
from featx.storage.tar import GzipTarReader, TarReader
from featx.storage.zip import ZipReader
from featx.text import format_bytes, say_error

# How the system says that a path leads through a file, which no folder is.
_THROUGH_A_FILE = {errno.ENOTDIR, errno.ENAMETOOLONG}


# How files begin that other packers wrote, and what unpacks them.
_OTHER_PACKERS = {
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ\0": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}
_TAR_MARK = slice(257, 262)  # has "ustar" (POSIX.1-2001, pax, "ustar Interchange Format")

_INSIDE = re.compile(f"(?<=[^/])(?:{'|'.join(map(re.escape, ARCHIVE_SUFFIXES))})(/)", re.IGNORECASE)


class State(NamedTuple):
    """What the system says of a file, or of the archive that it lies in; its own size."""

    inode: int
    size: int
    mtime: int
    ctime: int


@dataclass(frozen=True)
class PlaceEntry:
    """What a folder in an archive has, as `os.DirEntry` says it of others."""

    name: str
    path: str
    folder: bool

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return self.folder

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True)
class _Archive:
    """One archive that was opened; its members go by its number."""

    path: str
    number: int
    state: State
    reader: Reader


_members = Members()
_archives: dict[str, _Archive] = {}
_numbers = itertools.count()
_opening = threading.RLock()


def open_place(path: Path) -> io.BufferedReader | io.BytesIO:
    """Open a regular file, or a member of an archive.

    Parameters
    ----------
    path : Path
        A member's is its archive's and its name there.

    Returns
    -------
    BufferedReader or BytesIO
        Of a member all its bytes, in memory.

    Raises
    ------
    OSError
        There is none, or it cannot be read; see `open_regular`.
    DatasetError
        It lies in something that is no archive by its contents.
    """
    try:
        return open_regular(path)
    except OSError as error:
        if error.errno not in _THROUGH_A_FILE:
            raise
        archive, _, extent = _find_member(path, error)
    if extent.size > MAX_MEMBER_BYTES:
        most = format_bytes(MAX_MEMBER_BYTES)
        raise OSError(errno.EFBIG, f"{format_bytes(extent.size)}: {most} is the most in archives")
    with open_regular(Path(archive.path)) as file, _as_os_error():
        return io.BytesIO(archive.reader.read(file, extent))


def read_head(path: Path, most: int) -> bytes:
    """The first bytes of a file or member, at most so many; raises as `open_place` does."""
    try:
        with open_regular(path) as file:
            return file.read(most)
    except OSError as error:
        if error.errno not in _THROUGH_A_FILE:
            raise
        archive, _, extent = _find_member(path, error)
    with open_regular(Path(archive.path)) as file, _as_os_error():
        return archive.reader.read_head(file, extent, most)


def hash_place(path: Path) -> str:
    """SHA-256 of a file's or member's bytes, in hex; raises OSError where it cannot be read."""
    with open_place(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path | bytes) -> State:
    """What tells a change of a file or member; raises OSError where there is none.

    A member changes with its archive.
    """
    try:
        return take_state(os.stat(path))  # noqa: PTH116 (a few of them an image)
    except OSError as error:
        if error.errno not in _THROUGH_A_FILE:
            raise
        archive, _, extent = _find_member(path, error)
        return archive.state._replace(size=extent.size)


def take_state(found: os.stat_result) -> State:
    """The same of what the system said."""
    # Inode numbers of 64 bits are put into int64, which wraps alike every time.
    inode = (found.st_ino + 2**63) % 2**64 - 2**63
    return State(inode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def is_archive(path: Path) -> bool:
    """Whether a path is that of an archive, by its name, and a regular file."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file()


def say_packer(head: bytes, path: Path) -> str | None:
    """What to do with a file that another packer wrote, by how it begins; None of any other."""
    for begin, (packer, unpack) in _OTHER_PACKERS.items():
        if head.startswith(begin):
            return (
                f"it was packed by {packer}, which is not read: unpack it ({unpack} {path.name}) "
                f"and name what comes of that, a folder or one of {', '.join(ARCHIVE_SUFFIXES)}"
            )
    return None


def is_table(archive: Path) -> bool:
    """Whether an archive is a table: its members have no folders, and names that tell nothing."""
    return isinstance(_open(str(archive)).reader, ParquetReader)


def is_folder(path: Path) -> bool:
    """Whether images can lie below a path: a folder, an archive, or a folder in one."""
    if path.is_dir() or is_archive(path):
        return True
    found = split_place(path)
    return found is not None and _members.has_folder(_open(found[0]).number, found[1])


def is_place(path: Path) -> bool:
    """Whether a path is a regular file's or a member's."""
    return path.is_file() or locate(path) is not None


def split_place(path: Path | bytes) -> tuple[str, str] | None:
    """The archive that a path leads into, and the name there; None where it leads into none."""
    text = os.fsdecode(path)
    for found in _INSIDE.finditer(text):
        archive = text[: found.start(1)]
        if archive in _archives or os.path.isfile(archive):  # noqa: PTH113 (a Path each is slow)
            return archive, text[found.end() :]
    return None


def locate(path: Path | bytes) -> tuple[int, int] | None:
    """The numbers of a member's archive and of the member in it; None of a file, or of nothing.

    Numbers of archives are those of this process. In their order members are read soonest.
    """
    found = split_place(path)
    if found is None:
        return None
    try:
        archive = _open(found[0])
    except OSError:  # it was there
        return None
    member = _members.find(archive.number, found[1])
    return None if member is None else (archive.number, member[0])


@contextlib.contextmanager
def scan_place(folder: Path) -> Iterator[Iterable[os.DirEntry[str] | PlaceEntry]]:
    """`os.scandir`, of folders in archives, too."""
    try:
        entries = os.scandir(folder)
    except NotADirectoryError as error:
        archive, inner = (str(folder), "") if is_archive(folder) else _split(folder, error)
        number = _open(archive).number
        if not _members.has_folder(number, inner):
            raise
        yield (
            PlaceEntry(name, str(folder / name), below)
            for name, below in _members.list_folder(number, inner)
        )
    else:
        with entries:
            yield entries


def iterate_members(archive: Path) -> Iterator[tuple[int, str]]:
    """Number and name of all members, in the archive's order."""
    return _members.iterate(_open(str(archive)).number)


def iterate_strays(archive: Path) -> Iterator[tuple[str, str]]:
    """Kind and name of what an archive has besides members and folders, by name."""
    return _members.iterate_strays(_open(str(archive)).number)


def find_damage(archive: Path) -> str:
    """Where and why an archive ends before its end; "" where it does not."""
    return _open(str(archive)).reader.damage


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Have whatever a damaged member leads to as OSError, as a damaged file is."""
    try:
        yield
    except DAMAGES as error:
        raise OSError(errno.EIO, f"damaged in its archive ({say_damage(error)})") from error


def _split(path: Path | bytes, error: OSError) -> tuple[str, str]:
    found = split_place(path)
    if found is None:
        raise error
    return found


def _find_member(path: Path | bytes, error: OSError) -> tuple[_Archive, int, Extent]:
    """A member; the error where there is none."""
    archive, name = _split(path, error)
    opened = _open(archive)
    found = _members.find(opened.number, name)
    if found is None:
        raise FileNotFoundError(
            errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path)
        ) from error
    return opened, *found


def _open(path: str) -> _Archive:
    """An archive with its members listed, anew where it has changed."""
    state = take_state(os.stat(path))  # noqa: PTH116
    found = _archives.get(path)
    if found is not None and found.state == state:
        return found
    with _opening:
        found = _archives.get(path)
        if found is None or found.state != state:
            if found is not None:
                _members.drop(found.number)
            found = _archives[path] = _list(path, next(_numbers), state)
    return found


def _choose_reader(path: str, file: BinaryIO) -> Reader:
    """By how the file begins, whatever it is called; before a zip file anything may come."""
    begins, name = file.read(tarfile.BLOCKSIZE), path.lower()
    file.seek(0)
    if begins.startswith(b"PAR1"):
        return ParquetReader(path)
    if begins.startswith(b"\x1f\x8b"):
        return GzipTarReader()
    if begins[_TAR_MARK] == b"ustar":
        return TarReader()
    if begins.startswith(b"PK") or name.endswith(".zip"):
        return ZipReader()
    if other := say_packer(begins, Path(path)):
        raise ArchiveError(other)
    if name.endswith(".parquet"):
        raise ArchiveError(f"it is no Parquet file ({'another begin' if begins else 'empty file'})")
    return TarReader()


def _list(path: str, number: int, state: State) -> _Archive:
    try:
        with open_regular(Path(path)) as file:
            reader = _choose_reader(path, file)
            _members.fill(number, reader.list(file))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {say_error(error)}") from error
    except ArchiveError as error:
        raise DatasetError(f"{path}: {error}") from error
    except DAMAGES as error:
        raise DatasetError(f"{path}: it is damaged ({say_damage(error)})") from error
    return _Archive(path, number, state, reader)
