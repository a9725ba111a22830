"""Some images of an inventory, in order, as columns that can be written to a file."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.inventory import Inventory
from featx.storage.rows import Rows, StoredRows
from featx.timing import Meter

_numbers = itertools.count()


class Selection:
    """Some images of an inventory, in order, as columns that can be written to a file.

    Parameters
    ----------
    inventory : Inventory
    query : str
        For positions, ascending, and if more columns are to be had then for those.
    """

    def __init__(self, inventory: Inventory, query: str) -> None:
        self._db = inventory.db
        self.table = f"selection{next(_numbers)}"
        # Rowids count from 1 in the order of the query.
        self._db.execute(f"CREATE TABLE {self.table} AS {query}")
        self._n = inventory.count(f"SELECT count(*) FROM {self.table}")

    def __len__(self) -> int:
        return self._n

    def fetch(self, expression: str, some: slice) -> list[Any]:
        """What an SQL expression gives for each of some rows."""
        query = (
            f"SELECT {expression} FROM {self.table} JOIN images USING (position) "
            f"WHERE {self.table}.rowid > ? AND {self.table}.rowid <= ? "
            f"ORDER BY {self.table}.rowid"
        )
        return self._db.execute(query, (some.start, some.stop)).fetchall()

    def numbers(self, expression: str) -> Rows:
        """A column of int64."""
        return _Column(self, expression, (self._n,), np.dtype(np.int64), np.array)

    def text(self, expression: str) -> Rows:
        """A column of bytes that are UTF-8, as long as the longest, at least 1."""
        longest = f"SELECT max(length({expression})) FROM {self.table} JOIN images USING (position)"
        (width,) = self._db.execute(longest).fetchone()
        width = max(1, width or 1)
        return _Column(self, expression, (self._n,), np.dtype(f"S{width}"), np.array)

    def digests(self) -> Rows:
        """SHA-256 of the images, shape (n, 32), uint8."""
        return self.bytes_of("digest", 32)

    def bytes_of(self, expression: str, width: int) -> Rows:
        """A column of so many bytes each, shape (n, width), uint8."""

        def join(found: list[bytes]) -> npt.NDArray[np.uint8]:
            return np.frombuffer(b"".join(found), np.uint8).reshape(-1, width)

        return _Column(self, expression, (self._n, width), np.dtype(np.uint8), join)


class _Column:
    """Rows of a selection, fetched as they are asked for."""

    def __init__(
        self,
        selection: Selection,
        expression: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        make: Callable[[list[Any]], npt.NDArray[Any]],
    ) -> None:
        self.shape, self.dtype = shape, dtype
        self._selection, self._expression, self._make = selection, expression, make

    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]:
        some = slice(*rows.indices(self.shape[0]))
        found = [value for (value,) in self._selection.fetch(self._expression, some)]
        return self._make(found).astype(self.dtype, copy=False)


class SourceRows:
    """Rows that lie in several sources, read from there as they are asked for.

    Parameters
    ----------
    found : Selection
        Of a table with the columns "source" and "place".
    sources : list of StoredRows
    width : int
        Numbers of a row.
    dtype : dtype
    """

    def __init__(
        self, found: Selection, sources: list[StoredRows], width: int, dtype: np.dtype[Any]
    ) -> None:
        self.shape, self.dtype = (len(found), width), dtype
        self._found, self._sources = found, sources
        self._meter = Meter("write", len(found), False)

    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]:
        some = slice(*rows.indices(self.shape[0]))
        places = np.array(self._found.fetch("source, place", some), dtype=np.int64).reshape(-1, 2)
        X = np.empty((len(places), self.shape[1]), self.dtype)
        for source in np.unique(places[:, 0]).tolist():
            here = places[:, 0] == source
            X[here] = self._sources[source][places[here, 1]]
        self._meter.update(len(places))
        return X
