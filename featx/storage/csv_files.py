"""Tables as CSV: a file, whole or not at all, or its lines one by one."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from featx.storage.files import write_whole


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as UTF-8 CSV, whole or not at all; its first line is bare column names."""
    with write_whole(path) as temporary:
        fill_csv(temporary, columns, rows)


def fill_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the same to a file that someone else makes whole."""
    with open_csv(path, columns) as write_row:
        for row in rows:
            write_row(row)


@contextlib.contextmanager
def open_csv(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Begin the same, and give what writes a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _begin_csv(file, columns)


def iterate_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The same as text, a row at a time, without the line's end."""
    line = io.StringIO()

    def take() -> str:
        text = line.getvalue()
        line.seek(0)
        line.truncate()
        return text.removesuffix("\n")

    write_row = _begin_csv(line, columns)
    yield take()
    for row in rows:
        write_row(row)
        yield take()


def _begin_csv(file: TextIO, columns: Sequence[str]) -> Callable[[Sequence[Any]], None]:
    bare = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write_row(row: Sequence[Any]) -> None:
        # csv quotes what holds its own line's end; readers take a bare "\r" for one, too.
        writer = quoted if any("\r" in str(value) for value in row) else bare
        writer.writerow(row)

    bare.writerow(columns)
    return write_row
