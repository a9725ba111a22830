"""What lies in the cache folder, how much room it takes, and clearing it up."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data.hashing import index_path
from featx.errors import FeatureFileError
from featx.features.cache import find_cache_dir
from featx.features.checkpoints import list_parts
from featx.features.file import cost_path, is_feature_file, parts_folder, peek_features
from featx.features.provenance import Provenance
from featx.features.row_cache import list_row_files, read_making
from featx.storage.files import is_temporary
from featx.storage.locks import hold_lock

_DAY = 86400.0  # seconds
# Whoever still writes a temporary file has touched it since.
_ABANDONED = _DAY


@dataclass(frozen=True)
class Entry:
    """Files of the cache folder that go together.

    Attributes
    ----------
    kind : {"features", "unfinished", "rows", "leftover"}
        A feature file with what lies beside it; shards of an extraction that did not end; rows of
        `ResNet50Features`; what a killed process left.
    path : Path
        Which the others belong to.
    files : tuple of Path
        All of them, and nothing that is not featx's.
    bytes : int
    written : float
        When the youngest of them was, in seconds since 1970.
    images : int or None
        None: not known.
    made_by : str
        Weights, engine and precision; "" where they are not known.
    useless : str
        Why nothing will ever be read from it; "" where something may.
    """

    kind: str
    path: Path
    files: tuple[Path, ...]
    bytes: int
    written: float
    images: int | None = None
    made_by: str = ""
    useless: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {**vars(self), "path": str(self.path), "files": [str(path) for path in self.files]}


def list_cache(cache_dir: str | Path | None = None) -> list[Entry]:
    """What featx keeps in the cache folder, by name; files that are not featx's are left out.

    Feature files are believed by their first lines and their length: `open_features`
    reads all bytes.

    Parameters
    ----------
    cache_dir : path, optional
        None: FEATX_CACHE, else ./cache.

    Returns
    -------
    list of Entry

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    home = find_cache_dir(cache_dir)
    if not home.is_dir():
        return []
    # What is a link was put there by somebody else.
    there = sorted(path for path in home.iterdir() if not path.is_symlink())
    found = [*_list_extractions(there), *_list_rows(home)]
    return found + [
        _enter("leftover", path, [path], useless="left by a process that was killed")
        for path in there
        if is_temporary(path) and _is_abandoned(path)
    ]


def choose_entries(
    entries: Iterable[Entry], older_than: float | None = None, everything: bool = False
) -> list[Entry]:
    """Those to be removed: the useless ones, and on demand others.

    Parameters
    ----------
    entries : iterable of Entry
    older_than : float, optional
        Also those that were last written more than so many days ago.
    everything : bool
        All of them.
    """
    limit = None if older_than is None else time.time() - older_than * _DAY
    return [
        one
        for one in entries
        if everything or one.useless or (limit is not None and one.written < limit)
    ]


def remove_entry(entry: Entry) -> None:
    """Remove the files of an entry, and its folder where nothing else is in it.

    Parameters
    ----------
    entry : Entry
        Of `list_cache`.

    Raises
    ------
    LockedError
        An extraction is at work on it.
    OSError
        A file cannot be removed; those before it are gone.
    """
    if entry.kind in ("features", "unfinished"):
        parts = parts_folder(entry.path)
        # Taking the lock makes the folder, and letting go of it removes it.
        with hold_lock(parts, entry.path):
            _remove(entry.files)
    else:
        _remove(entry.files)
        if entry.kind == "rows":
            for folder in (entry.path / "claimed", entry.path):
                with contextlib.suppress(OSError):  # it is not there, or something else is in it
                    folder.rmdir()


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED
    except FileNotFoundError:  # its writer has just given it its name
        return False


def _list_extractions(there: list[Path]) -> Iterator[Entry]:
    """Feature files and unfinished ones, each with all that lies beside it."""
    names = {path.name for path in there}
    roots = {_root_of(path) for path in there} - {None}
    for path in sorted(root for root in roots if root is not None):
        beside = [one for one in (cost_path(path), index_path(path)) if one.name in names]
        parts = list_parts(path)
        if path.name in names:
            if is_feature_file(path):
                yield _describe_file(path, [path, *beside, *parts])
        elif parts:
            yield _describe_shards(path, [*parts, *beside])
        elif beside:
            yield _enter("leftover", path, beside, useless="its feature file is gone")


def _root_of(path: Path) -> Path | None:
    """The feature file that a file or folder is, or lies beside."""
    name = re.sub(r"(?<=\.h5)\.(parts|files|cost\.json)$", "", path.name)
    return path.with_name(name) if name.endswith(".h5") else None


def _describe_file(path: Path, files: list[Path]) -> Entry:
    try:
        held = peek_features(path)
    except FeatureFileError as error:
        return _enter("features", path, files, useless=error.reason)
    return _enter("features", path, files, len(held), _say_making(held.provenance))


def _describe_shards(path: Path, files: list[Path]) -> Entry:
    held = []
    for one in files:
        with contextlib.suppress(FeatureFileError):  # the journal, or one cut short
            held.append(peek_features(one))
    made_by = _say_making(held[0].provenance) if held else ""
    return _enter("unfinished", path, files, sum(map(len, held)), made_by)


def _say_making(made: Provenance) -> str:
    return f"{made.backbone} {made.weights}, {made.engine} {made.precision}"


def _list_rows(home: Path) -> Iterator[Entry]:
    for folder, files in list_row_files(home).items():
        if files:
            made = read_making(folder)
            yield _enter("rows", folder, files, made_by="" if made is None else _say_making(made))


def _enter(
    kind: str,
    path: Path,
    files: list[Path],
    images: int | None = None,
    made_by: str = "",
    useless: str = "",
) -> Entry:
    states = []
    for one in list(files):
        try:
            states.append(one.lstat())
        except FileNotFoundError:  # just now
            files.remove(one)
    plain = [one for one in states if stat.S_ISREG(one.st_mode)]
    return Entry(
        kind,
        path,
        tuple(files),
        sum(one.st_size for one in plain),
        max((one.st_mtime for one in plain), default=time.time()),
        images,
        made_by,
        useless,
    )
