"""Writing a file whole or not at all, and hashing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.errors import OutputExistsError


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
        Where the folder cannot be written.
    """
    temporary = _make_beside(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise OSError now where `path` could not be written later, after the work."""
    _make_beside(path).unlink()


def check_replaceable(path: Path, first_line: str) -> None:
    """Raise OutputExistsError where `path` is a text that does not begin as ours does."""
    if not path.exists():
        return
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.readline(len(first_line) + 2)
    if start.strip() != first_line.encode():
        raise OutputExistsError(path, ("not a file that featx wrote",))


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
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_beside(path: Path) -> Path:
    """Make an empty file with a name of its own in the folder of `path`, which is made, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.tmp")
    temporary.open("xb").close()
    return temporary
