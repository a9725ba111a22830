"""A database of the process's own: rows by the million, for which memory would be too small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from featx.errors import StorageError

_CACHE_KIB = 32 << 10  # in memory, before it goes to disk


class _Scratch(sqlite3.Connection):
    """A connection that says in featx's words where there is no room for the database."""

    def execute(self, *args: Any) -> sqlite3.Cursor:
        with _explain_full():
            return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        with _explain_full():
            return super().executemany(*args)

    def __del__(self) -> None:
        # With the last that refers to it; from 3.13 on Python warns of what nobody has closed.
        with suppress(sqlite3.ProgrammingError):  # in another thread: then it is merely let go
            self.close()


@contextmanager
def _explain_full() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        # An I/O error has more than one code: the lowest byte tells.
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise
        raise StorageError(
            f"no room for the list of images, some hundred bytes each ({error}): make room where "
            "temporary files go, or name another place by SQLITE_TMPDIR"
        ) from error


def open_scratch(*, shared: bool = False) -> sqlite3.Connection:
    """An empty database without a name, which goes to disk where it grows and ends with its user.

    Parameters
    ----------
    shared : bool
        Threads take turns at it, by a lock of theirs; else it is one thread's.
    """
    db = sqlite3.connect("", isolation_level=None, factory=_Scratch, check_same_thread=not shared)
    for setting in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "temp_store = FILE"):
        db.execute(f"PRAGMA {setting}").fetchall()
    db.execute("BEGIN")  # never ended: nothing is to survive
    return db
