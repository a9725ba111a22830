"""A CSV file as people's programs write it: its encoding, what parts its columns, its lines."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from featx.errors import DatasetError
from featx.storage.files import open_regular

_HEAD = 4096  # characters of a first line that are looked at
_SHOWN = 40  # characters of a cell


def find_encoding(path: Path) -> str:
    """UTF-8, with a mark at its beginning or without, or UTF-16, which needs the mark."""
    with open_regular(path) as file:  # so that nobody waits for a pipe
        return (
            "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        )


def find_delimiter(file: TextIO) -> tuple[str, int]:
    """What parts the columns, and how many lines before the columns' names say only that.

    Spreadsheets write semicolons or tabs where commas are decimal.
    """
    first = file.readline(_HEAD)
    if match := re.fullmatch(r"sep=(.)\s*", first):  # Excel's own word on it, a line by itself
        return match[1], 1
    file.seek(0)
    counts = {delimiter: first.count(delimiter) for delimiter in ",;\t"}
    return max(counts, key=counts.__getitem__), 0


class Table:
    """The lines of a CSV file whose first one names the columns.

    Parameters
    ----------
    file : text file
        Opened with ``newline=""``.
    path : Path
        Of it, for messages.

    Attributes
    ----------
    delimiter : str
    columns : list of str
        As they are written.
    named : dict of str to str
        The same by their plain names: without blanks around, in small letters.
    """

    def __init__(self, file: TextIO, path: Path) -> None:
        self._path = path
        self.delimiter, self._above = find_delimiter(file)
        self._reader = csv.DictReader(file, strict=True, delimiter=self.delimiter)
        self.columns = list(self._reader.fieldnames or [])
        plain = [(one.strip().casefold(), one) for one in self.columns if one]
        self.named = dict(plain)
        self._times = Counter(name for name, _ in plain)

    def check_single(self, *names: str) -> None:
        """Raise DatasetError where one of these plain names is that of two columns."""
        if double := [name for name in names if self._times[name] > 1]:
            raise DatasetError(
                f"{self._path}, line {self._above + 1}: two columns are called {double[0]}: which "
                "of them is meant? Rename the other, or leave it out"
            )

    def __iter__(self) -> Iterator[tuple[int, dict[str, str | None]]]:
        """Number and cells of each line; see `find_beyond` for cells without a column."""
        for row in self._reader:
            yield self._above + self._reader.line_num, row

    def read_whole(self) -> Iterator[tuple[int, dict[str, str | None]]]:
        """The same; raises DatasetError where a line has cells without a column."""
        for line, row in self:
            if beyond := find_beyond(row):
                raise DatasetError(f"{self._path}, line {line}: {beyond}")
            yield line, row


def find_beyond(row: Mapping[Any, Any]) -> str:
    """What is wrong with a line that has cells without a column, which moves others; else ""."""
    beyond = [cell for cell in row.get(None) or () if cell.strip()]
    if not beyond:
        return ""
    return (
        f"more cells than the first line names columns, such as {beyond[0][:_SHOWN]!r}: a cell "
        "that has what parts columns in it stands in quotes"
    )
