"""Reading and writing files so that nothing is torn: whole or not at all, and hashed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.errors import ArgumentError, FeatxError, OutputExistsError, StorageError
from featx.text import as_text, format_bytes, say_error

_TEMPORARY = re.compile(r"(\..*)\.[0-9a-f]{32}\.tmp", re.DOTALL)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A folder that may not be read or written, or that a file is in the place of.
_DENIED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}  # of some network and FUSE file systems
_NAME_BYTES = 200  # of a temporary name; file systems take 255, and ours adds a number


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well.

    A reader sees the old file or the new one, never a part. On an error, Ctrl-C included, the
    temporary file is removed and `path` is as it was.

    Parameters
    ----------
    path : Path
        The file to write. Its folder is made.

    Yields
    ------
    Path
        An existing empty file in the same folder, to write to.

    Raises
    ------
    OSError
        Where the folder cannot be written, or `path` is there and no regular file.
    """
    temporary = _make_beside(path)
    try:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        with temporary.open("rb+") as file:
            # Who writes by name may have put a file there that others cannot read: safetensors.
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:
                os.fchmod(file.fileno(), mode)
            sync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to hear of
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)  # what one has heard of
        raise


def remove_leftovers(*paths: Path) -> None:
    """Remove temporary files that killed writers of `paths` left; all are in one folder."""
    stems = {_temporary_stem(path) for path in paths}
    for entry in list(os.scandir(paths[0].parent)):
        found = _TEMPORARY.fullmatch(entry.name)
        if found and found[1] in stems:
            Path(entry).unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file has a name that `write_whole` gives."""
    return _TEMPORARY.fullmatch(path.name) is not None


def append_line(path: Path, line: str) -> None:
    """Append one line to a file that exists, and have it on the disk before returning."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
    try:
        write_bytes(handle, f"{line}\n".encode())
        sync(handle)
    finally:
        os.close(handle)


def sync(handle: int) -> None:
    """Have an open file's bytes on the disk before returning."""
    os.fsync(handle)
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # fsync there stops at the drive's cache


def begin_sync(handle: int, n: int) -> None:
    """Have the disk begin with the last `n` bytes written, of many, so that `sync` waits less."""
    if n and hasattr(os, "posix_fadvise"):
        # On Linux this starts writing what is dirty, and what is being written stays in memory.
        start = os.lseek(handle, 0, os.SEEK_CUR) - n
        os.posix_fadvise(handle, start, n, os.POSIX_FADV_DONTNEED)


def write_bytes(handle: int, data: bytes | memoryview) -> None:
    """Write all of `data` to an open file; a system may take a part at a time."""
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(handle, left) :]


def write_bytes_at(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data` to an open file at `offset`."""
    while len(data):
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def check_space(path: Path, needed: int, largest: int) -> None:
    """Raise StorageError where what is to be written would not fit.

    Parameters
    ----------
    path : Path
        The file that is to be; all goes into its folder.
    needed : int
        Bytes in all.
    largest : int
        Bytes of the largest single file.
    """
    folder = existing_folder(path.parent)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{path}: about {format_bytes(needed)} are needed and {format_bytes(free)} are free "
            f"in {folder}; make room, or name another place"
        )
    limit = _file_size_limit()
    if limit is not None and largest > limit:
        raise StorageError(
            f"{path}: about {format_bytes(largest)} are needed, and this process may write files "
            f"of {format_bytes(limit)} at most (ulimit -f)"
        )


@contextlib.contextmanager
def explain_full(path: Path, needed: int, kept: str) -> Iterator[None]:
    """Turn "disk full", "quota" and "file too large" into a StorageError with the sizes.

    Parameters
    ----------
    path : Path
        What is being written.
    needed : int
        Its size in bytes.
    kept : str
        What is not lost and how to go on, as a clause.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(existing_folder(path.parent)).free
        raise StorageError(
            f"{path}: {say_error(error)}: about {format_bytes(needed)} are "
            f"needed and {format_bytes(free)} are free; {kept}"
        ) from error


def is_full(error: OSError) -> bool:
    """Whether a write failed for lack of room: of a disk, a quota or a limit on files."""
    return error.errno in _FULL


@contextlib.contextmanager
def explain_denied(folder: Path, kept: str) -> Iterator[None]:
    """Turn a refusal of a folder into a StorageError that says how to name another.

    Parameters
    ----------
    folder : Path
    kept : str
        What is kept there, and what names another, as a clause.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FeatxError) or error.errno not in _DENIED:
            raise
        raise StorageError(f"{folder}: {say_error(error)}: {kept}") from error


def check_writable(path: Path) -> None:
    """Raise OSError now where `path` could not be written later, after the work."""
    _make_beside(path).unlink(missing_ok=True)  # another writer may clear up what it sees


def check_replaceable(path: Path, *first_lines: str) -> None:
    """Raise OutputExistsError where `path` is a text that begins with none of our first lines."""
    if not path.exists():
        return
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.readline(max(map(len, first_lines)) + 2)
    if start.strip() not in [line.encode() for line in first_lines]:
        raise OutputExistsError(path, ("not a file that featx wrote",))


def resolve_output(path: Path) -> Path:
    """Where a named output really is: a link is written through.

    Raises
    ------
    OutputExistsError
        It is a folder, a device, a pipe, or a link to itself.
    """
    try:
        real = path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:
        raise OutputExistsError(path, ("a link to itself",)) from error
    if real.exists() and not real.is_file():
        raise OutputExistsError(path, ("no regular file",))
    return real


def check_own_folder(folder: Path, mark: str) -> None:
    """Raise OutputExistsError where `folder` holds files, but not the one that ours all have."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).exists():
        raise OutputExistsError(folder, ("a folder with other files",))


def fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can open folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all."""
    write_text(path, format_json(value))


def format_json(value: Any) -> str:
    """The text that `write_json` writes."""
    # A byte of a name that is no UTF-8 is escaped as JSON itself has it.
    return as_text(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def hash_json(value: Any) -> str:
    """SHA-256, in hex, of the one JSON text that `value` has with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; raises OSError where it cannot be read."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def take_path(value: Any, name: str) -> Path:
    """The path that an argument is; raises ArgumentError, which names it, for anything else."""
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    raise ArgumentError(f"{name} is a {type(value).__name__} ({value!r:.60}): expected a path")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading, but neither a folder nor a pipe or device that may never end.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _make_beside(path: Path) -> Path:
    """Make an empty file with a name of its own in the folder of `path`, which is made, too."""
    if path.exists() and not path.is_file():
        # A rename would put a file in the place of /dev/null, which all programs share.
        raise StorageError(
            f"{path} is a folder, a device or a pipe, which no output replaces: name a file"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_temporary_stem(path)}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.open("xb").close()
    except OSError as error:
        error.filename = str(path)  # of the hidden name nobody has heard
        raise
    return temporary


def as_path(path: str | Path | None) -> Path | None:
    """The same as a Path, where there is one."""
    return None if path is None else Path(path)


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _temporary_stem(path: Path) -> str:
    long = len(os.fsencode(path.name)) > _NAME_BYTES
    return f".{hash_json(ascii(path.name)) if long else path.name}"


def _file_size_limit() -> int | None:
    """The largest file that this process may write, in bytes; None: any."""
    try:
        import resource
    except ImportError:  # not POSIX
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft
