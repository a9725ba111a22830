"""What an extraction has done so far, kept so that a killed one goes on where it was.

Beside F.h5 lies F.h5.parts: finished shards, each a feature file of some of the images, and a
journal with a line and a SHA-256 for each. A shard counts once its line is on the disk, and is
believed only while its bytes are those of its line.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.contents import index_path
from featx.errors import FeatureFileError, OutputExistsError
from featx.files import append_line, fsync_folder, hash_file, remove_leftovers, write_text
from featx.locks import hold_lock
from featx.store import (
    Features,
    Provenance,
    cost_path,
    parts_folder,
    read_features,
    write_features,
)

log = logging.getLogger(__name__)


class Checkpoints:
    """The shards beside one feature file; only the process that holds the lock makes one.

    Parameters
    ----------
    path : Path
        The feature file that is to be.

    Attributes
    ----------
    shards : list of (Features, dict)
        Those believed, in the order they were kept, each with what it cost.
    """

    def __init__(self, path: Path) -> None:
        self.folder = parts_folder(path)
        self.shards: list[tuple[Features, dict[str, Any]]] = []
        self._journal = self.folder / "journal"
        self._next = 0

    def resume(self, provenance: Provenance, overwrite: bool) -> None:
        """Take up what an earlier run left; drop what is damaged or was not finished.

        Raises
        ------
        OutputExistsError
            The shards are of another making and `overwrite` is False.
        """
        lines = []
        for entry in self._read_journal():
            features = self._read_shard(entry)
            if features is None:
                continue
            if features.provenance != provenance:
                if overwrite:
                    continue
                raise OutputExistsError(self.folder, features.provenance.differences(provenance))
            self.shards.append((features, entry["cost"]))
            lines.append(json.dumps(entry))
            self._next = max(self._next, int(Path(entry["shard"]).stem) + 1)
        believed = {json.loads(line)["shard"] for line in lines}
        # Written anew: a line that was cut short must not run into the next one.
        self.folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(self.folder.parent)
        write_text(self._journal, "".join(f"{line}\n" for line in lines))
        for path in self.folder.iterdir():
            if path.name not in believed | {"lock", self._journal.name}:
                path.unlink()

    def keep(self, features: Features, cost: dict[str, Any]) -> None:
        """Have a shard on the disk, whole and in the journal, before returning.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        path = self.folder / f"{self._next:06d}.h5"
        write_features(features, path)
        entry = {"shard": path.name, "sha256": hash_file(path), "cost": cost}
        append_line(self._journal, json.dumps(entry))
        self._next += 1

    @property
    def empty(self) -> bool:
        """Whether there is nothing to go on with."""
        return self._next == 0

    def discard(self) -> None:
        """Remove everything but the lock: the feature file is there."""
        self._next = 0
        # The journal first: shards without their lines are never believed.
        self._journal.unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the lock is in it, where there is one
            self.folder.rmdir()

    def _read_journal(self) -> list[dict[str, Any]]:
        entries = []
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_bytes().splitlines():
                try:
                    entry = json.loads(line)
                    named = {"shard", "sha256", "cost"} <= entry.keys()
                    if named and Path(entry["shard"]).name == f"{int(entry['shard'][:-3]):06d}.h5":
                        entries.append(entry)
                except (ValueError, TypeError, AttributeError):
                    log.info("%s: a line that was cut short is left out", self._journal)
        return entries

    def _read_shard(self, entry: dict[str, Any]) -> Features | None:
        path = self.folder / entry["shard"]
        try:
            if hash_file(path) != entry["sha256"]:
                raise FeatureFileError(path, "its bytes are not those that were kept")
            return read_features(path)
        except (FeatureFileError, OSError) as error:
            log.warning("computed again: %s", error)
            return None


@contextlib.contextmanager
def open_checkpoints(
    path: Path, provenance: Provenance, *, overwrite: bool = False, lock: bool = True
) -> Iterator[Checkpoints]:
    """Be the one process that makes the feature file `path`, with what is there of it.

    Parameters
    ----------
    path : Path
    provenance : Provenance
        Of the features to be.
    overwrite : bool
        Drop shards of another making instead of refusing.
    lock : bool
        False where the caller sees to it that there is no other.

    Raises
    ------
    LockedError
        Another process is at it.
    OutputExistsError
        See `Checkpoints.resume`.
    """
    found = Checkpoints(path)
    with hold_lock(found.folder, path) if lock else contextlib.nullcontext():
        _remove_leftovers(path)
        found.resume(provenance, overwrite)
        try:
            yield found
        finally:
            if found.empty:
                with contextlib.suppress(OSError):  # the first error is the one to hear of
                    found.discard()


def clear_finished(path: Path) -> None:
    """Remove what a run left that was killed between its last two steps."""
    if not parts_folder(path).is_dir():
        return
    with contextlib.suppress(OSError), hold_lock(parts_folder(path), path):
        _remove_leftovers(path)
        Checkpoints(path).discard()


def _remove_leftovers(path: Path) -> None:
    for each in (path, cost_path(path), index_path(path)):
        remove_leftovers(each)
