"""What images belong to that are no independent samples: an animal, a patient, a site, a burst."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from featx.config import IMAGE_FORMATS, SPLITS
from featx.data.inventory import Inventory
from featx.decoding.crops import find_picture, split_name
from featx.errors import DatasetError
from featx.sources.archives import count_above
from featx.storage.places import open_place, split_place, state_of
from featx.text import as_text

_OPTIONS = {"column": "group", "pattern": "group-pattern", "time": "group-time"}
_ALONE = {"folder": "--group-folder", "picture": "--boxes"}
_SINCE = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Grouping:
    """How it is told which images belong together.

    Attributes
    ----------
    by : {"column", "pattern", "time", "folder", "picture"}
        A column of the manifest; the first group of a regular expression that is searched in the
        path; photographs of one camera model of which each was taken at most so many seconds after
        the one before; the folder in the class folder; the picture that boxes are of.
    value : str
        That column or expression, or these seconds; "" with folders and pictures.
    """

    by: str
    value: str = ""

    def __str__(self) -> str:
        if self.by in _ALONE:
            return _ALONE[self.by]
        return f"--{_OPTIONS[self.by]} {self.value}"


class Shot(NamedTuple):
    """When a photograph was taken, in seconds by the camera's clock, and the camera's model."""

    camera: str
    seconds: float


def choose_grouping(
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
) -> Grouping | None:
    """The one way of grouping that is asked for; None where none is.

    Raises
    ------
    DatasetError
        More than one is, an expression is none or has no group, or seconds are negative.
    """
    asked = [
        *([] if group is None else [Grouping("column", group)]),
        *([] if group_pattern is None else [Grouping("pattern", group_pattern)]),
        *([] if group_time is None else [Grouping("time", f"{group_time:g}")]),
        *([Grouping("folder")] if group_folder else []),
    ]
    if len(asked) > 1:
        raise DatasetError(f"{' and '.join(map(str, asked))}: say one of them")
    if group_pattern is not None:
        try:
            n_groups = re.compile(group_pattern).groups
        except re.error as error:
            raise DatasetError(
                f"--group-pattern {group_pattern!r} is no regular expression: {error}"
            ) from error
        if not n_groups:
            raise DatasetError(
                f"--group-pattern {group_pattern!r} has no group: put what names the group in "
                "parentheses, as in '(site[0-9]+)'"
            )
    if group_time is not None and not 0 <= group_time < float("inf"):
        raise DatasetError(f"--group-time {group_time:g}: expected seconds, 0 or more")
    return asked[0] if asked else None


def tidy_group(name: str) -> str:
    """A group's name without blanks around it, in the Unicode form in which names are compared."""
    return unicodedata.normalize("NFC", as_text(name)).strip()


def note_groups(found: Inventory, grouping: Grouping) -> None:
    """Tell an inventory what each of its images belongs to.

    Raises
    ------
    DatasetError
        Of some images it cannot be told, or all belong to the same.
    """
    if grouping.by == "time":
        _note_bursts(found, grouping)
    elif grouping.by != "column":  # which the manifest's reader has put in
        find = _choose_finder(found, grouping)
        found.db.create_function(
            "find_group", 1, lambda name: find(split_name(os.fsdecode(name))[0]), deterministic=True
        )
        found.db.execute("UPDATE images SET team = find_group(name)")
    lacking = found.count("SELECT count(*) FROM images WHERE coalesce(team, '') = ''")
    if lacking:
        first = next(found.iterate_names("WHERE coalesce(team, '') = ''"))
        raise DatasetError(
            f"{found.source}: {grouping} gives {lacking} of {len(found)} images no group, such as "
            f"{first}; {_ADVICE[grouping.by]}"
        )
    found.grouped = True
    if grouping.by == "picture":  # the data's own, and not a claim of the user's
        return
    n_groups = found.count("SELECT count(DISTINCT team) FROM images")
    if n_groups == 1:
        (name,) = found.db.execute("SELECT team FROM images LIMIT 1").fetchone()
        raise DatasetError(
            f"{found.source}: {grouping} puts all {len(found)} images into one group ({name}): "
            "nothing could be learned from some groups and tested on others; name what divides "
            "them more finely, or leave groups out"
        )
    if n_groups == len(found):
        found.notes.append(f"{grouping} makes each image a group of its own")


_ADVICE = {
    "column": "write one into every line; what has no relatives is a group of its own, by its path "
    "for instance",
    "pattern": "widen the expression (it is searched in the path, with / between folders), or name "
    "groups in a column of a manifest (--group)",
    "folder": "it takes DIR/<class>/<group>/*: put every image into a folder of its group, or use "
    "--group-pattern",
}


def _choose_finder(found: Inventory, grouping: Grouping) -> Callable[[str], str]:
    """From the name of a file to its group."""
    if grouping.by == "pattern":
        return _find_by_pattern(grouping.value)
    return _find_by_folder(found) if grouping.by == "folder" else tidy_group


def _find_by_pattern(pattern: str) -> Callable[[str], str]:
    search = re.compile(pattern).search

    def find(name: str) -> str:
        found = search(unicodedata.normalize("NFC", name))
        return tidy_group(found[1] or "") if found else ""

    return find


def _find_by_folder(inventory: Inventory) -> Callable[[str], str]:
    root, rule = inventory.root, inventory.split_rule
    # Of split/class/group/…, or class/group/…; of several archives, below each.
    usual = 2 if rule == "folders" else 1

    @functools.cache
    def find_place(shard: str) -> int:
        return 1 + count_above(root, Path(shard), rule == "archives")

    def find(name: str) -> str:
        folders = name.split("/")[:-1]
        archive, _ = split_place(root / name) or ("", "")
        place = find_place(archive) if len(archive) > len(str(root)) else usual
        return tidy_group(folders[place]) if len(folders) > place else ""

    return find


def _note_bursts(found: Inventory, grouping: Grouping) -> None:
    """Group photographs of one camera that were taken shortly one after the other."""
    db = found.db
    db.execute("CREATE TABLE shots (position INTEGER PRIMARY KEY, camera TEXT, seconds REAL)")
    names = db.execute("SELECT position, name FROM images ORDER BY position")
    db.executemany(
        "INSERT INTO shots VALUES (?, ?, ?)",
        (
            (position, *(read_shot(found.root / os.fsdecode(name)) or (None, None)))
            for position, name in names
        ),
    )
    timeless = found.count("SELECT count(*) FROM shots WHERE seconds IS NULL")
    if timeless == len(found):
        raise DatasetError(
            f"{found.source}: {grouping} needs the times that cameras write (EXIF "
            f"DateTimeOriginal), and none of {timeless} images has one; programs that edit or send "
            "pictures drop it: --group and --group-pattern go by other marks"
        )
    if timeless:
        found.notes.append(
            f"{timeless} of {len(found)} images do not say when they were taken (EXIF "
            "DateTimeOriginal); each of these is a group of its own"
        )
        for position, name in db.execute(
            "SELECT position, name FROM images JOIN shots USING (position) WHERE seconds IS NULL"
        ).fetchall():
            own = tidy_group(split_name(os.fsdecode(name))[0])
            db.execute("UPDATE images SET team = ? WHERE position = ?", (own, position))
    db.executemany(
        "UPDATE images SET team = ? WHERE position = ?",
        _iterate_bursts(
            db.execute(
                "SELECT position, camera, seconds FROM shots WHERE seconds IS NOT NULL "
                "ORDER BY camera, seconds, position"
            ),
            float(grouping.value),
        ),
    )
    db.execute("DROP TABLE shots")


def _iterate_bursts(
    shots: Iterator[tuple[int, str, float]], gap: float
) -> Iterator[tuple[str, int]]:
    """The burst of each shot, and its position; shots come by camera and time."""
    burst, before = "", ("", 0.0)
    for position, camera, seconds in shots:
        if not burst or camera != before[0] or seconds - before[1] > gap:
            since = np.datetime64(_SINCE) + np.timedelta64(round(1e6 * seconds), "us")
            burst = f"{camera} {since}".strip()
        before = camera, seconds
        yield burst, position


def find_shared(found: Inventory) -> list[tuple[str, str, str, str]]:
    """Pairs of groups that share a file of the same bytes, each with a file that shows it.

    Files of the same bytes have the same size: only where groups meet in one are files read.
    """
    db = found.db
    db.execute("CREATE TABLE sizes (position INTEGER PRIMARY KEY, bytes INT)")
    db.executemany(
        "INSERT INTO sizes VALUES (?, ?)",
        (
            (position, _measure(found.root / split_name(os.fsdecode(name))[0]))
            for position, name in db.execute("SELECT position, name FROM images")
        ),
    )
    alike = db.execute(
        "SELECT name, team, bytes FROM images JOIN sizes USING (position) WHERE bytes IN "
        "(SELECT bytes FROM sizes JOIN images USING (position) WHERE bytes > 0 GROUP BY bytes "
        "HAVING count(DISTINCT team) > 1) ORDER BY bytes, position"
    )
    pairs: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    seen: dict[bytes, tuple[str, str]] = {}
    before = None
    for name, team, size in alike:
        if size != before:
            seen, before = {}, size
        path = os.fsdecode(name)
        digest = _hash(find_picture(found.root / path))
        other, there = seen.setdefault(digest, (team, path)) if digest else (team, path)
        if other != team:
            pairs.setdefault((other, team), (other, team, there, path))
    db.execute("DROP TABLE sizes")
    return list(pairs.values())


def _measure(path: Path) -> int:
    try:
        return state_of(path).size
    except (OSError, ValueError):
        return 0


def _hash(path: Path) -> bytes:
    try:
        with open_place(path) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # named, with the reason, by whoever needs its pixels
        return b""


def hash_groups(found: Inventory) -> str:
    """SHA-256, in hex, of what each image belongs to; "" where that is not known."""
    if not found.grouped:
        return ""
    digest = hashlib.sha256()
    for name, team in found.db.execute("SELECT name, team FROM images ORDER BY position"):
        digest.update(name + b"\0" + team.encode() + b"\0")
    return digest.hexdigest()


def note_divided(found: Inventory) -> None:
    """Note which groups the splits that the data have put on more than one side."""
    divided = (
        "SELECT team FROM images WHERE split < 3 GROUP BY team HAVING count(DISTINCT split) > 1"
    )
    n_divided = found.count(f"SELECT count(*) FROM ({divided})")
    if not n_divided:
        return
    (first,) = found.db.execute(f"{divided} ORDER BY count(*) DESC, team LIMIT 1").fetchone()
    where = ", ".join(
        f"{n} {SPLITS[split]}"
        for split, n in found.db.execute(
            "SELECT split, count(*) FROM images WHERE team = ? AND split < 3 GROUP BY split",
            (first,),
        )
    )
    tested = found.count(
        "SELECT count(*) FROM images WHERE split = 2 AND team IN "
        "(SELECT team FROM images WHERE split < 2)"
    )
    n_groups = found.count("SELECT count(DISTINCT team) FROM images")
    n_test = found.count("SELECT count(*) FROM images WHERE split = 2")
    found.notes.append(
        f"{n_divided} of {n_groups} groups are in more than one split (such as {first}: {where}), "
        f"and {tested} of {n_test} test images have relatives in train or val: test does not tell "
        "what to expect of new groups; a --split of fractions keeps groups whole"
    )


def read_shot(path: Path) -> Shot | None:
    """What a file's EXIF says of when it was taken and by what; None where it has no time."""
    try:
        picture = find_picture(path)
        with open_place(picture) as file, Image.open(file, formats=IMAGE_FORMATS) as opened:
            exif = opened.getexif()
            inner = exif.get_ifd(ExifTags.IFD.Exif)
            taken = str(inner.get(ExifTags.Base.DateTimeOriginal, "")).strip("\0 ")
            part = str(inner.get(ExifTags.Base.SubsecTimeOriginal, "")).strip("\0 ")
            camera = tidy_group(str(exif.get(ExifTags.Base.Model, "")).strip("\0 "))
        seconds = (datetime.strptime(taken, "%Y:%m:%d %H:%M:%S") - _SINCE).total_seconds()
        return Shot(camera, seconds + (float(f"0.{part}") if part.isdecimal() else 0.0))
    except Exception:  # no picture, no EXIF, no time: Pillow raises nearly every kind
        return None
