"""How frequent the classes are in the field, as the user expects it."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.errors import DatasetError
from featx.sources.tables import Table, find_encoding
from featx.storage.csv_files import write_csv

PREVALENCE_COLUMNS = ("class", "share")
PREVALENCE_NAME = "prevalence.csv"  # in the comparison's folder
_EXACT = 1e-6  # off 1, within which shares are taken for rounded

log = logging.getLogger(__name__)


def read_prevalence(
    source: str | Path | Mapping[str, float], classes: Sequence[str]
) -> dict[str, float]:
    """The share of every class in the field, as fractions whose sum is 1.

    Parameters
    ----------
    source : path or mapping of str to float
        A CSV with the columns class,share, or the same as a mapping. Shares that do not sum to 1,
        such as per cent or counts, are divided by their sum, which a warning says.
    classes : sequence of str
        The dataset's: each must have a share, and nothing else may.

    Returns
    -------
    dict of str to float
        In the order of `classes`.

    Raises
    ------
    DatasetError
        It cannot be read, a class is unknown, missing or named twice, or a share is no number,
        negative, or all are 0.
    """
    where = "prevalence" if isinstance(source, Mapping) else str(source)
    pairs = (
        ((name, share, where) for name, share in source.items())
        if isinstance(source, Mapping)
        else _read_pairs(Path(source))
    )
    found: dict[str, float] = {}
    for name, told, place in pairs:
        if name not in classes:
            raise DatasetError(
                f"{place}: the dataset has no class {name!r}; its classes are {_list_some(classes)}"
            )
        if name in found:
            raise DatasetError(f"{place}: the class {name!r} has a share already")
        found[name] = _parse_share(told, name, place)
    if missing := [name for name in classes if name not in found]:
        raise DatasetError(
            f"{where}: no share for {_list_some(missing)}; every class needs one, 0 where it is "
            "not to be expected"
        )
    total = math.fsum(found.values())
    if total <= 0:
        raise DatasetError(f"{where}: all shares are 0; at least one class must be expected")
    if abs(total - 1) > _EXACT:
        log.warning("%s: the shares sum to %g and were divided by it", where, total)
    return {name: found[name] / total for name in classes}


def _read_pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """Class, share and place of every line."""
    try:
        with path.open(encoding=find_encoding(path), newline="") as file:
            table = Table(file, path)
            named = table.named
            if not set(PREVALENCE_COLUMNS) <= named.keys():
                raise DatasetError(
                    f"{path}: its first line must name the columns class,share; it reads "
                    f"{','.join(table.columns)[:80]!r}"
                )
            table.check_single(*PREVALENCE_COLUMNS)
            for line, row in table.read_whole():
                name, share = ((row[named[one]] or "").strip() for one in PREVALENCE_COLUMNS)
                if table.delimiter != ",":  # where semicolons part columns, commas are decimal
                    share = share.replace(",", ".")
                yield name, share, f"{path}, line {line}"
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV in UTF-8: {error}") from error


def _parse_share(told: str | float, name: str, where: str) -> float:
    try:
        share = float(told)
    except (TypeError, ValueError):
        share = math.nan
    if not 0 <= share < math.inf:
        raise DatasetError(f"{where}: the share of {name!r} is {told!r}; expected a number from 0")
    return share


def _list_some(names: Sequence[str]) -> str:
    some = ", ".join(map(repr, names[:5]))
    return f"{some} and {len(names) - 5} more" if len(names) > 5 else some


def order_shares(
    prevalence: Mapping[str, float], classes: Sequence[str], test: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Shares by a class's number; DatasetError where one is expected that test has no images of.

    Parameters
    ----------
    prevalence : mapping of str to float
        Of `read_prevalence`.
    classes : sequence of str
    test : ndarray of shape (n_samples,), int64
        Targets of the test images.
    """
    shares = np.array([prevalence[name] for name in classes])
    absent = np.flatnonzero((shares > 0) & ~np.isin(np.arange(len(classes)), test)).tolist()
    if absent:
        raise DatasetError(
            f"test has no images of {_list_some([classes[k] for k in absent])}, and the prevalence "
            "expects some: nothing says how well they are told; give a split that has them, or "
            "the share 0"
        )
    return shares


def write_prevalence(prevalence: Mapping[str, float], path: Path) -> None:
    """Keep the shares where the comparison's command finds them again."""
    write_csv(path, PREVALENCE_COLUMNS, prevalence.items())
