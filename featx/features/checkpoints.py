"""What an extraction has done so far, kept so that a killed one goes on where it was.

Beside F.h5 lies F.h5.parts: finished parts, each a feature file of some of the images, and a
journal with a line and a SHA-256 for each. A part counts once its line is on the disk, and is
believed only while its bytes are those of its line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.data.hashing import index_path
from featx.errors import FeatureFileError, OutputExistsError
from featx.features.content import FeatureFile, Features
from featx.features.file import cost_path, open_features, parts_folder, write_features
from featx.storage.files import (
    append_line,
    fsync_folder,
    open_regular,
    remove_leftovers,
    write_text,
)
from featx.storage.locks import do_without_lock, hold_lock

log = logging.getLogger(__name__)

_JOURNAL = "journal"
_NAME = re.compile(r"\d{6}\.h5")
_LEFTOVER = re.compile(r"\.(\d{6}\.h5|journal)\.[0-9a-f]{32}\.tmp")


class Checkpoints:
    """The parts beside one feature file; only the process that holds the lock makes one.

    Parameters
    ----------
    path : Path
        The feature file that is to be.

    Attributes
    ----------
    folder : Path
    parts : list of (FeatureFile, dict)
        Those that an earlier run kept and that are believed, each with what it cost.
    """

    def __init__(self, path: Path) -> None:
        self.folder = parts_folder(path)
        self.parts: list[tuple[FeatureFile, dict[str, Any]]] = []
        self._journal = self.folder / _JOURNAL
        self._next = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to go on with."""
        return self._next == 0

    def resume(self) -> None:
        """Take up what an earlier run left; drop what is damaged or was not finished."""
        entries = []
        for entry in self._read_journal():
            part = self._open_part(entry)
            if part is not None:
                entries.append(entry)
                self.parts.append((part, entry["cost"]))
                self._next = max(self._next, int(entry["shard"][:6]) + 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(self.folder.parent)
        # Written anew: a line that was cut short must not run into the next one.
        write_text(self._journal, "".join(f"{json.dumps(entry)}\n" for entry in entries))
        self._clear(keep={entry["shard"] for entry in entries})

    def keep(self, features: Features, cost: dict[str, Any]) -> FeatureFile:
        """Have a part on the disk, whole and in the journal, before returning.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        part = write_features(features, self.folder / f"{self._next:06d}.h5")
        entry = {"shard": part.path.name, "sha256": part.sha256, "cost": cost}
        append_line(self._journal, json.dumps(entry))
        self._next += 1
        return part

    def discard(self) -> None:
        """Remove all parts: the feature file is there, or they are not wanted."""
        self.parts, self._next = [], 0
        # The journal first: parts without their lines are never believed.
        self._journal.unlink(missing_ok=True)
        self._clear(keep=set())

    def _clear(self, keep: set[str]) -> None:
        """Remove parts but those to keep, and what killed writers left of any."""
        for path in list(self.folder.iterdir()):
            if _NAME.fullmatch(path.name) and path.name not in keep:
                path.unlink()
            elif _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _read_journal(self) -> list[dict[str, Any]]:
        entries = []
        with contextlib.suppress(FileNotFoundError):
            with open_regular(self._journal) as file:
                lines = file.read().splitlines()
            for line in dict.fromkeys(lines):
                try:
                    entries.append(_check_entry(json.loads(line)))
                except (ValueError, TypeError, KeyError, RecursionError):
                    log.info("%s: a line that is damaged or cut short is left out", self._journal)
        return entries

    def _open_part(self, entry: dict[str, Any]) -> FeatureFile | None:
        path = self.folder / entry["shard"]
        try:
            part = open_features(path)
            if part.sha256 != entry["sha256"]:
                raise FeatureFileError(path, "it is not the part that was kept")
        except (FeatureFileError, OSError) as error:
            log.warning("computed again: %s", error)
            return None
        return part


def list_parts(path: Path) -> list[Path]:
    """The files in a feature file's parts folder that an extraction makes, in the order in which
    they are removed; its lock is not one of them.
    """
    folder = parts_folder(path)
    found = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    # The journal first: parts without their lines are never believed.
    return [one for one in found if one.name == _JOURNAL] + [
        one for one in found if _NAME.fullmatch(one.name) or _LEFTOVER.fullmatch(one.name)
    ]


def _check_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """A journal's line as it was written; raises where it is none."""
    if not _NAME.fullmatch(entry["shard"]):
        raise ValueError(entry["shard"])
    cost = entry["cost"]
    return {
        "shard": entry["shard"],
        "sha256": str(entry["sha256"]),
        "cost": {
            "seconds": float(cost["seconds"]),
            "images": int(cost["images"]),
            "device": str(cost["device"]),
            "machine": str(cost["machine"]),
        },
    }


@contextlib.contextmanager
def open_checkpoints(path: Path, *, lock: bool = True) -> Iterator[Checkpoints]:
    """Be the one process that makes the feature file `path`, with what is there of it.

    Parameters
    ----------
    path : Path
    lock : bool
        False where the caller sees to it that there is no other.

    Raises
    ------
    LockedError
        Another process is at it.
    OutputExistsError
        Something else has the name of the parts folder.
    """
    found = Checkpoints(path)
    if found.folder.is_symlink() or (found.folder.exists() and not found.folder.is_dir()):
        raise OutputExistsError(found.folder, ("no folder of ours; move it away",))
    with hold_lock(found.folder, path) if lock else do_without_lock(found.folder):
        remove_leftovers(path, cost_path(path), index_path(path))
        found.resume()
        try:
            yield found
        finally:
            if found.empty:
                with contextlib.suppress(OSError):  # the first error is the one to hear of
                    found.discard()
