"""Which bytes each file of a dataset has: identity is content; size and times are a short cut."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import joblib
import numpy as np

from featx.data.columns import Selection
from featx.data.dataset import Dataset, HashedRows, Skipped
from featx.data.inventory import Inventory, take_inventory
from featx.data.turns import order_reading
from featx.decoding.crops import find_picture, hash_box, split_path
from featx.errors import FeatureFileError, ImageError
from featx.machine import count_cores
from featx.storage.hdf5 import check_seal, open_sealed, write_sealed
from featx.storage.places import State, hash_place, state_of
from featx.storage.rows import Rows, StoredRows, iterate_slices
from featx.text import as_text, say_error
from featx.timing import Meter

log = logging.getLogger(__name__)

_KIND = "file index"
# A file that changed within two seconds of being read may change again without a later time of
# change, since file systems count in ticks as coarse as that (FAT). git calls such entries racy.
_RACY_NS = 2_000_000_000
_TRIES = 3  # to read a file that others are writing

# What the system says of a file. On file systems of Unix every write moves ctime, and nothing sets
# it back; elsewhere (FAT, some FUSE) it may be the time of modification again, or of creation.
_STATE = State._fields
_SEEN = ", ".join(f"seen.{name}" for name in _STATE)
_BLOCK = 4096  # files at a time


def index_path(path: Path) -> Path:
    """The file beside a feature file that says what the system said of the images."""
    return path.with_name(path.name + ".files")


def write_index(inventory: Inventory, path: Path) -> None:
    """Keep beside the feature file `path` what may be believed of its images the next time.

    Raises
    ------
    OSError
        It cannot be written.
    """
    settled = Selection(inventory, "SELECT position FROM images WHERE settled ORDER BY position")
    columns: dict[str, Rows] = {"names": settled.text("name")}
    columns |= {name: settled.numbers(name) for name in _STATE}
    columns["digests"] = settled.digests()
    write_sealed(index_path(path), _KIND, {}, columns)


def hash_images(
    inventory: Inventory,
    on_error: str,
    known_beside: Iterable[Path] = (),
    progress: bool = False,
) -> Inventory:
    """Hash every file of an inventory, in threads, but those that did not change since they were.

    Parameters
    ----------
    inventory : Inventory
        Is given the digests, and the files that cannot be read as `Inventory.unread`.
    on_error : {"skip", "fail"}
        List a file that cannot be read, or stop.
    known_beside : iterable of Path
        Feature files whose indexes are believed; of several entries for a name the first.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Inventory
        The same.

    Raises
    ------
    ImageError
        A file cannot be read and `on_error` is "fail".
    """
    if on_error == "fail" and inventory.unread:  # a folder
        first = min(inventory.unread)
        raise ImageError(str(inventory.root / first.path), first.reason, first.kind)
    _learn(inventory, known_beside)
    turn = "turn" if order_reading(inventory) else "position"
    n = len(inventory)
    with (
        joblib.Parallel(n_jobs=count_cores(), prefer="threads", batch_size=64) as reading,
        Meter("find", n, progress, leave=False) as meter,
    ):
        for some in iterate_slices(n, _BLOCK):
            _hash_block(inventory, turn, some, on_error, reading)
            meter.update(min(some.stop, n) - some.start)
    inventory.unread.sort()
    return inventory


def hash_rows(dataset: Dataset, on_error: str) -> HashedRows:
    """A dataset that is in memory, with the hashes of its files; raises as `hash_images` does."""
    return hash_images(take_inventory(dataset), on_error).load_read()


def _hash_block(
    inventory: Inventory, turn: str, some: slice, on_error: str, reading: joblib.Parallel
) -> None:
    """Hash the images whose column `turn` is in `some`."""
    db, folder = inventory.db, os.fsencode(inventory.root)
    rows = db.execute(
        f"SELECT position, name, {_SEEN}, seen.digest FROM images "
        f"LEFT JOIN seen USING (name) WHERE {turn} >= ? AND {turn} < ? ORDER BY {turn}",
        (some.start, some.stop),
    ).fetchall()
    known: list[tuple[bytes, int, int, int, int, bool, int]] = []
    todo: list[tuple[int, Path]] = []
    unread: list[tuple[Path, Skipped]] = []
    for position, name, *seen, digest in rows:
        path, text = Path(os.fsdecode(os.path.join(folder, name))), as_text(os.fsdecode(name))  # noqa: PTH118
        if text != os.fsdecode(name):
            unread.append((path, Skipped(text, "", "bad-name", "the file's name is not UTF-8")))
        elif digest is not None and _look(find_picture(path)) == tuple(seen):
            known.append((digest, *seen, True, position))
        else:
            todo.append((position, path))
    # A picture is read once, however many boxes of it are images.
    pictures = list(dict.fromkeys(find_picture(path) for _, path in todo))
    found = dict(
        zip(pictures, reading(joblib.delayed(_read)(one) for one in pictures), strict=True)
    )
    for position, path in todo:
        picture, box = split_path(path)
        result = found[picture]
        if isinstance(result, OSError):
            name = path.relative_to(inventory.root).as_posix()
            unread.append((path, Skipped(name, "", "unreadable", say_error(result))))
        else:
            state, digest, old = result
            if box is not None:
                digest = bytes.fromhex(hash_box(digest.hex(), box))
            known.append((digest, *state, old, position))
    if unread and on_error == "fail":
        path, first = min(unread)
        raise ImageError(str(path), first.reason, first.kind)
    inventory.read += len(pictures)
    inventory.unread += (one for _, one in unread)
    inventory.note_digests(known)


def _learn(inventory: Inventory, known_beside: Iterable[Path]) -> None:
    """Fill the table `seen` with what indexes say of files by name."""
    inventory.db.execute("DROP TABLE IF EXISTS seen")
    inventory.db.execute(
        f"CREATE TABLE seen (name BLOB PRIMARY KEY, {' INT, '.join(_STATE)} INT, digest BLOB) "
        "WITHOUT ROWID"
    )
    for path in map(index_path, known_beside):
        if not path.is_file():
            continue
        try:
            columns = _open_columns(path)
        except (FeatureFileError, KeyError, TypeError, ValueError) as error:
            said = error if isinstance(error, FeatureFileError) else f"{path}: damaged: {error}"
            log.warning("every image is read again: %s", said)
            continue
        for some in iterate_slices(len(columns["names"]), _BLOCK):
            parts = [columns[name][some].tolist() for name in ("names", *_STATE)]
            digests = map(bytes, columns["digests"][some])
            inventory.db.executemany(
                "INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, ?, ?)",
                zip(*parts, digests, strict=True),
            )


def _open_columns(path: Path) -> dict[str, StoredRows]:
    state = check_seal(path, _KIND).state
    with open_sealed(path) as sealed:
        columns = {
            name: sealed.store_rows(name, path, state) for name in ("names", *_STATE, "digests")
        }
    names, digests = columns["names"], columns["digests"]
    for name in _STATE:
        if columns[name].shape != names.shape or columns[name].dtype != np.int64:
            raise TypeError(f"its {name} is none")
    if names.dtype.kind != "S" or names.ndim != 1:
        raise TypeError("its names are none")
    if digests.dtype != np.uint8 or digests.shape != (len(names), 32):
        raise TypeError("its digests are none")
    return columns


def _look(path: Path) -> State:
    """A file's state; one that no file has where it cannot be told."""
    try:
        return state_of(path)
    except (OSError, ValueError):
        return State(-1, -1, -1, -1)


def _read(path: Path) -> tuple[State, bytes, bool] | OSError:
    """State, SHA-256, and whether that state will tell of any later change; or why not."""
    try:
        for _ in range(_TRIES):
            begun, before = time.time_ns(), state_of(path)
            digest = hash_place(path)
            if state_of(path) == before:
                old = begun - max(before.mtime, before.ctime) > _RACY_NS
                return before, bytes.fromhex(digest), old
    except OSError as error:
        return error
    return OSError(0, "is being written by another program")
