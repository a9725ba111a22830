"""Which bytes each file of a dataset has: identity is content; size and times are a short cut."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt

from featx.container import Sealed, check_seal, open_sealed, write_sealed
from featx.dataset import Dataset, Skipped, fingerprint_rows
from featx.errors import FeatureFileError, ImageError
from featx.files import open_regular
from featx.machine import count_cores
from featx.text import as_text, say_error

log = logging.getLogger(__name__)

_KIND = "file index"
# A file that changed within two seconds of being read may change again without a later time of
# change, since file systems count in ticks as coarse as that (FAT). git calls such entries racy.
_RACY_NS = 2_000_000_000
_TRIES = 3  # to read a file that others are writing

# What the system says of a file. On file systems of Unix every write moves ctime, and nothing sets
# it back; elsewhere (FAT, some FUSE) it may be the time of modification again, or of creation.
_STATE = np.dtype([("inode", "<i8"), ("size", "<i8"), ("mtime", "<i8"), ("ctime", "<i8")])


@dataclass(frozen=True)
class FileIndex:
    """Content hashes by a file's name and what the system says of it.

    Attributes
    ----------
    names : ndarray of shape (n,), bytes
        Paths relative to the data's root.
    states : ndarray of shape (n,), of _STATE
    digests : ndarray of shape (n, 32), uint8
        SHA-256.
    """

    names: npt.NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, "S1"))
    states: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, _STATE))
    digests: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 32), np.uint8))

    def find(
        self, names: npt.NDArray[np.bytes_], states: npt.NDArray[np.void]
    ) -> npt.NDArray[np.int64]:
        """Row of each file that is as it was, -1 where there is none."""
        if not len(self.names):
            return np.full(len(names), -1)
        order = np.argsort(self.names, kind="stable")
        at = np.searchsorted(self.names[order], names)
        rows = order[np.minimum(at, len(order) - 1)]
        return np.where((self.names[rows] == names) & (self.states[rows] == states), rows, -1)


def index_path(path: Path) -> Path:
    """The file beside a feature file that says what the system said of the images."""
    return path.with_name(path.name + ".files")


def read_indexes(paths: Iterable[Path]) -> FileIndex:
    """The indexes beside these feature files as one; of several entries for a name the first."""
    found = [FileIndex()]
    for path in map(index_path, paths):
        if not path.is_file():
            continue
        try:
            check_seal(path, _KIND)
            with open_sealed(path) as sealed:
                found.append(_read_columns(sealed))
        except (FeatureFileError, KeyError, TypeError, ValueError) as error:
            said = error if isinstance(error, FeatureFileError) else f"{path}: damaged: {error}"
            log.warning("every image is read again: %s", said)
    names = np.concatenate([one.names for one in found])
    _, first = np.unique(names, return_index=True)
    states = np.concatenate([one.states for one in found])
    digests = np.concatenate([one.digests for one in found])
    return FileIndex(names[first], states[first], digests[first])


def _read_columns(sealed: Sealed) -> FileIndex:
    names, digests = sealed.arrays["names"][:], sealed.arrays["digests"][:]
    states = np.empty(len(names), _STATE)
    for name in _STATE.names or ():
        column = sealed.arrays[name]
        if column.shape != names.shape or column.dtype != np.int64:
            raise TypeError(f"its {name} is none")
        states[name] = column[:]
    if names.dtype.kind != "S" or names.ndim != 1:
        raise TypeError("its names are none")
    if digests.dtype != np.uint8 or digests.shape != (len(names), 32):
        raise TypeError("its digests are none")
    return FileIndex(names, states, digests)


def write_index(index: FileIndex, path: Path) -> None:
    """Keep an index beside the feature file `path`; raises OSError where that cannot be."""
    columns = {name: np.ascontiguousarray(index.states[name]) for name in _STATE.names or ()}
    arrays = {"names": index.names, **columns, "digests": index.digests}
    write_sealed(index_path(path), _KIND, {}, arrays)


@dataclass(frozen=True)
class HashedRows:
    """A dataset with the SHA-256 of every file.

    Attributes
    ----------
    dataset : Dataset
        Without the files that could not be read.
    hashes : ndarray of shape (n_samples,), str
    unread : tuple of Skipped
        Those files.
    index : FileIndex
        What may be believed of them next time.
    read : int
        How many files were read for it.
    """

    dataset: Dataset
    hashes: npt.NDArray[np.str_]
    unread: tuple[Skipped, ...] = ()
    index: FileIndex = field(default_factory=FileIndex)
    read: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """See `featx.store.Features.fingerprint`."""
        data = self.dataset
        return fingerprint_rows(data.classes, data.paths, self.hashes, data.targets, data.splits)

    def locate(self, position: int) -> Path:
        """Where the file of a row is."""
        return self.dataset.root / self.dataset.paths[position]

    def select(self, keep: npt.NDArray[np.bool_]) -> HashedRows:
        """The same with only the rows of the mask `keep`."""
        return replace(self, dataset=self.dataset.select(keep), hashes=self.hashes[keep])


def hash_rows(dataset: Dataset, on_error: str, known: FileIndex | None = None) -> HashedRows:
    """Hash every file of a dataset, in threads, but those that did not change since they were.

    Parameters
    ----------
    dataset : Dataset
    on_error : {"skip", "fail"}
        List a file that cannot be read in `HashedRows.unread`, or stop.
    known : FileIndex, optional

    Raises
    ------
    ImageError
        A file cannot be read and `on_error` is "fail".
    """
    known = known or FileIndex()
    n = len(dataset)
    paths = [dataset.root / name for name in dataset.paths]
    states = np.array([_look(path) for path in paths], dtype=_STATE).reshape(n)
    names = np.array([os.fsencode(name) for name in dataset.paths], dtype=np.bytes_)
    rows = known.find(names, states)
    digests = np.zeros((n, 32), np.uint8)
    digests[rows >= 0] = known.digests[rows[rows >= 0]]
    todo = np.flatnonzero(rows < 0).tolist()
    settled = rows >= 0  # what the index may say of it next time
    unread: dict[int, Skipped] = {}
    reading = joblib.Parallel(n_jobs=count_cores(), prefer="threads", batch_size=64)
    results = reading(joblib.delayed(_read)(paths[i]) for i in todo)
    for i, result in zip(todo, results, strict=True):
        if isinstance(result, OSError):
            name = as_text(dataset.paths[i])
            unread[i] = Skipped(name, "", "unreadable", say_error(result))
        else:
            states[i], digests[i], settled[i] = result
    for i in (i for i, name in enumerate(dataset.paths) if as_text(name) != name):
        reason = "the file's name is not UTF-8"
        unread[i] = Skipped(as_text(dataset.paths[i]), "", "bad-name", reason)
    if unread and on_error == "fail":
        i, first = min(unread.items())
        raise ImageError(str(paths[i]), first.reason, first.kind)
    keep = np.ones(n, dtype=bool)
    keep[list(unread)] = False
    settled &= keep
    hashes = np.array([d.tobytes().hex() for d in digests[keep]], dtype="<U64")
    index = FileIndex(names[settled], states[settled], digests[settled])
    return HashedRows(
        dataset.select(keep), hashes, tuple(sorted(unread.values())), index, len(todo)
    )


def _look(path: Path) -> tuple[int, int, int, int]:
    """A file's state; one that no file has where it cannot be told."""
    try:
        return _state(path.stat())
    except (OSError, ValueError):
        return (-1, -1, -1, -1)


def _read(
    path: Path,
) -> tuple[tuple[int, int, int, int], npt.NDArray[np.uint8], bool] | OSError:
    """State, SHA-256, and whether that state will tell of any later change; or why not."""
    try:
        for _ in range(_TRIES):
            begun = time.time_ns()
            with open_regular(path) as file:
                before = os.fstat(file.fileno())
                digest = hashlib.file_digest(file, "sha256").digest()
                after = os.fstat(file.fileno())
            if _state(before) == _state(after):
                old = begun - max(before.st_mtime_ns, before.st_ctime_ns) > _RACY_NS
                return _state(before), np.frombuffer(digest, np.uint8), old
    except OSError as error:
        return error
    return OSError(0, "is being written by another program")


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    # Inode numbers of 64 bits are put into int64, which wraps alike every time.
    inode = (found.st_ino + 2**63) % 2**64 - 2**63
    return inode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
