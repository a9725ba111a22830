"""What archives hold: each member by its name, as rows of a database and not as objects."""

from __future__ import annotations

import os
import sqlite3
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, Protocol

from featx.config import MAX_MEMBERS
from featx.storage.scratch import open_scratch

# What an entry of an archive is: a file, a folder,
FILE, FOLDER = "file", "folder"
# or what is left out, by kind.
LINKED = "links in archives"
OUTSIDE = "members whose names lead out of their archive"
SPECIAL = "devices, pipes and sparse files in archives"
REPLACED = "members that another of the same name follows, which counts"

# What reading something damaged raises, besides OSError: of the libraries their own kinds, and what
# numbers and names that were never checked lead to.
DAMAGES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)
# Of these what is raised by a number or a name, in Python's words, which tell people nothing.
_RAW = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, struct.error)

_BLOCK = 4096  # rows in memory at a time
_RECENT = 1024  # members
_REASON = 100  # characters of a reason that are kept


class Extent(NamedTuple):
    """Where a member's bytes lie in its archive, as the reader of its kind takes it.

    Attributes
    ----------
    start : int
        Of its bytes or its header, in bytes; of Parquet the row.
    size : int
        Bytes, unpacked; of Parquet 0, since none says.
    packed : int
        Bytes in the archive.
    method : int
        How they are packed.
    crc : int
        CRC-32 of its bytes, where the archive has one.
    """

    start: int
    size: int
    packed: int = 0
    method: int = 0
    crc: int = 0


class Entry(NamedTuple):
    """One entry of an archive: its name there, what it is, and where its bytes lie."""

    name: str
    kind: str = FILE
    extent: Extent = Extent(0, 0)


class Reader(Protocol):
    """What reads one kind of archive.

    Attributes
    ----------
    damage : str
        Once all is listed: where and why the archive ends before its end; "" where it does not.
    """

    damage: str

    def list(self, file: BinaryIO) -> Iterator[Entry]:
        """Its entries in their order; raises one of DAMAGES where this is no such archive."""

    def read(self, file: BinaryIO, extent: Extent) -> bytes:
        """A member's bytes, from any thread; raises OSError where they cannot be had."""

    def read_head(self, file: BinaryIO, extent: Extent, most: int) -> bytes:
        """The first of them, at most so many; what follows may be damaged."""


class ArchiveError(ValueError):
    """What an archive is or has, in words for people; all other kinds of ValueError are raw."""


def say_damage(error: BaseException) -> str:
    """What a library said of something damaged, short enough for the middle of a sentence."""
    if type(error) is ValueError or isinstance(error, (*_RAW, RecursionError)):
        return "a header in it makes no sense"
    said = " ".join(str(error).split())[:_REASON] or type(error).__name__
    return said if said[:2].isupper() else said[:1].lower() + said[1:]


class Members:
    """The members of all archives that this process has opened; any thread may ask.

    Archives go by numbers, members of one by theirs, from 0, in the archive's order.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # A member is asked for a few times on end: for its state, its bytes, its state again.
        self.find = lru_cache(_RECENT)(self._find)

    @cached_property
    def _db(self) -> sqlite3.Connection:
        """Made when the first archive is opened, by who has the lock."""
        db = open_scratch(shared=True)
        fields = ", ".join(f"{name} INT" for name in Extent._fields)
        for table in (
            f"members (archive INT, folder BLOB, name BLOB, number INT, {fields}, again INT, "
            "PRIMARY KEY (archive, folder, name)) WITHOUT ROWID",
            "folders (archive INT, folder BLOB, name BLOB, "
            "PRIMARY KEY (archive, folder, name)) WITHOUT ROWID",
            "strays (archive INT, kind TEXT, name BLOB)",
        ):
            db.execute(f"CREATE TABLE {table}")
        db.execute("CREATE UNIQUE INDEX by_number ON members (archive, number)")
        return db

    def fill(self, archive: int, entries: Iterable[Entry]) -> None:
        """Put in what a new archive has; raises what listing raises, and ArchiveError."""
        before, left = 0, iter(entries)
        while block := list(islice(left, _BLOCK)):
            self._put(archive, before, block)
            before += len(block)
            if before > MAX_MEMBERS:
                raise ArchiveError(f"it has more than {MAX_MEMBERS:,} members")

    def drop(self, archive: int) -> None:
        """Forget an archive's members."""
        self.find.cache_clear()
        with self._lock:
            for table in ("members", "folders", "strays"):
                self._db.execute(f"DELETE FROM {table} WHERE archive = ?", (archive,))

    def _put(self, archive: int, first: int, entries: list[Entry]) -> None:
        members: list[tuple[object, ...]] = []
        folders: set[bytes] = set()
        strays: list[tuple[int, str, bytes]] = []
        for number, (given, kind, extent) in enumerate(entries, start=first):
            name = tidy_name(given)
            if kind == FOLDER:
                folders.add(os.fsencode(name or ""))
            elif kind != FILE or name is None:
                strays.append((archive, kind if kind != FILE else OUTSIDE, os.fsencode(given)))
            else:
                folder, _, base = os.fsencode(name).rpartition(b"/")
                folders.add(folder)
                members.append((archive, folder, base, number, *extent))
        with self._lock:
            self._db.executemany(
                f"INSERT INTO members VALUES ({'?, ' * (4 + len(Extent._fields))}0) "
                "ON CONFLICT (archive, folder, name) DO UPDATE SET again = again + 1, "
                + ", ".join(f"{name} = excluded.{name}" for name in ("number", *Extent._fields)),
                members,
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO folders VALUES (?, ?, ?)",
                ((archive, *path) for folder in folders for path in _list_parents(folder)),
            )
            self._db.executemany("INSERT INTO strays VALUES (?, ?, ?)", strays)

    def _find(self, archive: int, name: str) -> tuple[int, Extent] | None:
        """A member's number, and where its bytes lie; None where there is none of that name."""
        folder, _, base = os.fsencode(name).rpartition(b"/")
        with self._lock:
            row = self._db.execute(
                f"SELECT number, {', '.join(Extent._fields)} FROM members "
                "WHERE archive = ? AND folder = ? AND name = ?",
                (archive, folder, base),
            ).fetchone()
        return None if row is None else (row[0], Extent(*row[1:]))

    def has_folder(self, archive: int, path: str) -> bool:
        """Whether an archive has a folder of that name; "" is itself."""
        folder, _, name = os.fsencode(path).rpartition(b"/")
        values = (archive, folder, name)
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM folders WHERE archive = ? AND folder = ? AND name = ?", values
            ).fetchone()
        return not path or found is not None

    def list_folder(self, archive: int, path: str) -> Iterator[tuple[str, bool]]:
        """What is directly in a folder, by name, and whether that is a folder itself."""
        for table in ("folders", "members"):
            last = b""
            while rows := self._fetch(
                f"SELECT name FROM {table} WHERE archive = ? AND folder = ? AND name > ? "
                "ORDER BY name",
                (archive, os.fsencode(path), last),
            ):
                for (last,) in rows:
                    yield os.fsdecode(last), table == "folders"

    def iterate(self, archive: int) -> Iterator[tuple[int, str]]:
        """Number and name of every member, in the archive's order."""
        last = -1
        while rows := self._fetch(
            "SELECT number, folder, name FROM members WHERE archive = ? AND number > ? "
            "ORDER BY number",
            (archive, last),
        ):
            for last, folder, name in rows:
                yield last, os.fsdecode(folder + b"/" + name if folder else name)

    def iterate_strays(self, archive: int) -> Iterator[tuple[str, str]]:
        """Kind and name of everything that is left out, by name."""
        with self._lock:
            rows = self._db.execute(
                "SELECT kind, name, 1 FROM strays WHERE archive = :archive UNION ALL "
                "SELECT :replaced, CASE folder WHEN x'' THEN name ELSE "
                "CAST(folder || x'2f' || name AS BLOB) END, again FROM members "
                "WHERE archive = :archive AND again > 0 ORDER BY 1, 2",
                {"archive": archive, "replaced": REPLACED},
            ).fetchall()
        return ((kind, os.fsdecode(name)) for kind, name, times in rows for _ in range(times))

    def _fetch(self, query: str, values: tuple[int | bytes, ...]) -> list[Any]:
        """The first rows, so that no thread waits for one that goes through them."""
        with self._lock:
            return self._db.execute(f"{query} LIMIT {_BLOCK}", values).fetchall()


def _list_parents(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A folder and those that it is in, each as the one around it and its name."""
    while path:
        folder, _, name = path.rpartition(b"/")
        yield folder, name
        path = folder


def tidy_name(name: str) -> str | None:
    """A member's name as a path relative to its archive; None where it leads elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        return None
    return "/".join(parts)
