"""Boxes in pictures that become images of their own: matched by name, cut, or listed."""

from __future__ import annotations

import functools
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import joblib

from featx.config import BOX_SHARES
from featx.data.dataset import Leftovers, Skipped
from featx.data.inventory import SPLIT_NAMES, Found, Inventory
from featx.data.turns import order_reading
from featx.decoding.crops import Box, measure_picture, name_box
from featx.errors import DatasetError, ImageError
from featx.machine import count_cores
from featx.sources.box_files import BoxReader, Entry
from featx.sources.folders import as_label
from featx.storage.files import take_path
from featx.storage.scratch import open_scratch
from featx.text import as_text, printable

WITHOUT = "images without a box"  # a kind of what is left out
_FAR = 1e12  # pixels: beyond any picture, however wide the padding
_BLOCK = 1024  # pictures at a time
_COLUMNS = "path, x, y, w, h, shares, label, place, fault, across, down"


@dataclass(frozen=True)
class Boxes:
    """Which parts of pictures are images, in the place of whole ones.

    Attributes
    ----------
    file : path
        CSV with the columns path,x,y,w,h[,label], pixels of the picture as it stands upright, or
        path,rel_x,rel_y,rel_w,rel_h in shares of it; a MegaDetector's JSON; COCO. Paths are
        relative to the data's root.
    pad : float
        Such a share of a box's width is added at its left and right, and of its height above and
        below, as far as the picture goes.
    min_confidence : float, optional
        Of detections, in [0, 1]; None: what the file calls typical of its detector, else 0.2.
    category : str, optional
        Number or name of the boxes wanted, or "all"; None: "animal" of detections, and all that
        were drawn.

    Raises
    ------
    DatasetError
        A share or a confidence that is none.
    """

    file: str | Path
    pad: float = 0.0
    min_confidence: float | None = None
    category: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.pad < math.inf:
            raise DatasetError(
                f"--pad {self.pad:g}: expected a share of the box's sides, 0 or more"
            )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise DatasetError(f"--min-confidence {self.min_confidence:g}: expected 0 to 1")

    def __str__(self) -> str:
        said = {
            "pad": self.pad or None,
            "min-confidence": self.min_confidence,
            "category": self.category,
        }
        chosen = (f" --{name} {value}" for name, value in said.items() if value is not None)
        return f"{self.file}{''.join(chosen)}"


def take_boxes(boxes: str | Path | Boxes | None) -> Boxes | None:
    """Boxes as they are, or those of a file, all usual."""
    if boxes is None or isinstance(boxes, Boxes):
        return boxes
    return Boxes(take_path(boxes, "boxes"))


@dataclass
class Tally:
    """What was noticed of boxes on the way.

    Attributes
    ----------
    clipped, double : int
        Boxes that reached out of their picture; that stood twice.
    example : str
        The first of those that reached out.
    """

    clipped: int = 0
    double: int = 0
    example: str = ""

    def describe(self) -> list[str]:
        """A sentence for each."""
        said = []
        if self.clipped:
            said.append(
                f"boxes that reach out of their picture are cut at its edge: {self.clipped} (such "
                f"as {self.example})"
            )
        if self.double:
            said.append(f"boxes that stand more than once are taken once: {self.double}")
        return said


class BoxTable:
    """The boxes of a file by their pictures, in a scratch database.

    Parameters
    ----------
    boxes : Boxes
    root : Path
        What its paths are relative to.

    Raises
    ------
    DatasetError
        It is no file of boxes, or has none.
    """

    def __init__(self, boxes: Boxes, root: Path) -> None:
        self.boxes, self.path = boxes, take_path(boxes.file, "boxes")
        homes = root.absolute().as_posix(), root.resolve().as_posix()
        # The boxes of a picture mostly stand together.
        self._find_key = functools.lru_cache(1)(functools.partial(_spell, homes))
        self._db = open_scratch()
        self._db.execute(
            "CREATE TABLE boxes (key TEXT, path TEXT, x REAL, y REAL, w REAL, h REAL, shares INT, "
            "label TEXT, place TEXT, fault TEXT, across INT, down INT, met INT DEFAULT 0)"
        )
        reader = BoxReader(self.path, boxes.min_confidence, boxes.category)
        self._db.executemany(
            f"INSERT INTO boxes (key, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (self._find_key(one.path), as_text(one.path), *one.numbers, *_tidy(one))
                for one in reader
            ),
        )
        self._db.execute("CREATE INDEX by_key ON boxes (key)")
        self.notes = [
            f"left out of {self.path}: {n} {what}" for what, n in reader.passed_over.items()
        ]
        if not self._count(""):
            said = "".join(f"; {note}" for note in self.notes)
            raise DatasetError(f"{self.path} has no boxes{said}")

    def find(self, *names: str) -> list[Entry]:
        """The boxes of a picture that goes by these names: of the first that has any."""
        for key in map(self._find_key, names):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM boxes WHERE key = ? ORDER BY rowid", (key,)
            ).fetchall()
            if found:
                self._db.execute("UPDATE boxes SET met = 1 WHERE key = ?", (key,))
                return [_read_row(row) for row in found]
        return []

    def describe_unmet(self, where: str) -> list[str]:
        """A sentence about boxes of pictures that nobody has asked for, if there are any."""
        n = self._count("WHERE NOT met")
        if not n:
            return []
        first = self.first_unmet()
        return [
            f"boxes of pictures that are not in {where}: {n} (such as {printable(first.path)!r}, "
            f"{self.path}, {first.place})"
        ]

    def first_unmet(self) -> Entry:
        """The first of them."""
        query = f"SELECT {_COLUMNS} FROM boxes WHERE NOT met ORDER BY rowid LIMIT 1"
        return _read_row(self._db.execute(query).fetchone())

    def list_nameless(self) -> list[Skipped]:
        """The boxes that name no picture."""
        query = f"SELECT {_COLUMNS} FROM boxes WHERE key = '' ORDER BY rowid"
        found = [_read_row(row) for row in self._db.execute(query)]
        self._db.execute("UPDATE boxes SET met = 1 WHERE key = ''")
        return [self.skip("", one, one.fault) for one in found]

    def cut(
        self, name: str, entries: Iterable[Entry], size: tuple[int, int], tally: Tally
    ) -> Iterator[tuple[str, Entry] | Skipped]:
        """Names of a picture's boxes, each with its entry; or why one is none.

        `size` is the picture's width and height.
        """
        met: dict[Box, Entry] = {}
        for entry in entries:
            placed = entry.fault or place_box(entry, size, self.boxes.pad)
            if isinstance(placed, str):
                yield self.skip(name, entry, placed)
                continue
            box, clipped = placed
            if (other := met.setdefault(box, entry)) is not entry:
                if other.label == entry.label:
                    tally.double += 1
                else:
                    labels = " and ".join(repr(one.label or "no label") for one in (other, entry))
                    told = f"{other.place} has the same one, and another label: {labels}"
                    yield self.skip(name, entry, told)
                continue
            if clipped:
                tally.clipped += 1
                tally.example = tally.example or f"{name}, {entry.place}"
            yield name_box(name, box), entry

    def skip(self, name: str, entry: Entry, reason: str) -> Skipped:
        """A box that is none; as of a folder that cannot be read, its path ends in a slash."""
        path = "/".join(filter(None, (name, f"{self.path.name}, {entry.place}/")))
        return Skipped(as_text(path), "", "bad-box", f"the box is none: {printable(reason)}")

    def _count(self, where: str) -> int:
        (number,) = self._db.execute(f"SELECT count(*) FROM boxes {where}").fetchone()
        return int(number)


def _spell(homes: tuple[str, ...], name: str) -> str:
    """One spelling of a path: relative to a home, with forward slashes, composed."""
    path = PurePosixPath(name.replace("\\", "/"))
    for home in homes:
        if path.is_absolute() and path.is_relative_to(home):
            path = path.relative_to(home)
    text = path.as_posix()
    return "" if text == "." else unicodedata.normalize("NFC", as_text(text))


def place_box(entry: Entry, size: tuple[int, int], pad: float) -> tuple[Box, bool] | str:
    """A box in whole pixels of its picture, and whether it reached out of it; or why it is none.

    Edges go to the nearest pixel, those between two to the right and down.
    """
    width, height = size
    if entry.drawn not in ((0, 0), size):
        told = " x ".join(map(str, entry.drawn))
        return (
            f"it was drawn in a picture of {told} pixels, and this one has {width} x {height}: "
            "scale the boxes, or take the pictures that they were drawn in"
        )
    left, top, across, down = entry.numbers
    if entry.shares:
        left, top, across, down = left * width, top * height, across * width, down * height
    edges = [_round(one) for one in (left, top, left + across, top + down)]
    if edges[0] == edges[2] or edges[1] == edges[3]:
        told = "" if entry.shares else f"; of shares the columns are {','.join(BOX_SHARES)}"
        return f"it is less than a pixel{told}"
    if edges[0] >= width or edges[1] >= height or edges[2] <= 0 or edges[3] <= 0:
        return f"it lies outside the picture, {width} x {height} pixels"
    clipped = edges[0] < 0 or edges[1] < 0 or edges[2] > width or edges[3] > height
    begin_x, end_x = (_round(one) for one in (left - pad * across, left + (1 + pad) * across))
    begin_y, end_y = (_round(one) for one in (top - pad * down, top + (1 + pad) * down))
    begin_x, begin_y = max(begin_x, 0), max(begin_y, 0)
    box = Box(begin_x, begin_y, min(end_x, width) - begin_x, min(end_y, height) - begin_y)
    return box, clipped


def cut_inventory(found: Inventory, boxes: Boxes) -> Inventory:
    """The inventory of the boxes in the images of another, in their classes and splits.

    A box's class is its own where it has one, else that of the picture. Boxes that are none are
    among what could not be read; of pictures without a box it is counted how many they are.

    Raises
    ------
    DatasetError
        It is no file of boxes, or none of them is of these images.
    """
    table, tally = BoxTable(boxes, found.root), Tally()
    made = Inventory(found.root, found.split_rule, f"{found.name}-{table.path.stem}")
    made.source, made.notes, made.empty = found.source, list(found.notes), list(found.empty)
    made.unread = [*found.unread, *table.list_nameless()]
    made.left_out = Leftovers(found.left_out.list())
    made.add(_iterate_boxes(found, table, tally, made))
    made.arrange()
    if not len(made):
        wrong = made.unread[len(found.unread) :]
        if wrong:
            why = f"can be used, such as {wrong[0].path} ({wrong[0].reason})"
        else:
            first = printable(table.first_unmet().path)
            why = f"is of an image in {found.source}: paths are relative to {found.root}, and its "
            why += f"first is {first!r}; of the images one is {_name_first(found)!r}"
        raise DatasetError(f"none of the boxes of {table.path} {why}")
    made.notes += [*table.notes, *tally.describe(), *table.describe_unmet(found.source)]
    return made


def _iterate_boxes(
    found: Inventory, table: BoxTable, tally: Tally, made: Inventory
) -> Iterator[Found]:
    """What an inventory is told of each box; of the others it is told here."""
    turn = "turn" if order_reading(found) else "position"
    images = found.db.execute(
        f"SELECT name, split, target, coalesce(team, '') FROM images ORDER BY {turn}"
    )
    work = joblib.Parallel(n_jobs=count_cores(), prefer="threads", batch_size=16)
    while block := list(islice(images, _BLOCK)):
        wanted = []
        for name, split, target, team in block:
            name = os.fsdecode(name)
            if entries := table.find(name):
                wanted.append((name, SPLIT_NAMES[split], target, team, entries))
            else:
                made.left_out.add(WITHOUT, name)
        sizes = work(joblib.delayed(_measure)(found.root / name) for name, *_ in wanted)
        for (name, split, target, team, entries), size in zip(wanted, sizes, strict=True):
            if isinstance(size, ImageError):
                made.unread.append(Skipped(as_text(f"{name}/"), "", size.kind, size.reason))
                continue
            label = found.classes[target] if target >= 0 else ""
            for one in table.cut(name, entries, size, tally):
                if isinstance(one, Skipped):
                    made.unread.append(one)
                else:
                    yield split, one[1].label or label, one[0], 0, team


def _name_first(found: Inventory) -> str:
    name = found.db.execute("SELECT name FROM images ORDER BY position LIMIT 1").fetchone()
    return printable(as_text(os.fsdecode(name[0]))) if name else ""


def _measure(path: Path) -> tuple[int, int] | ImageError:
    try:
        return measure_picture(path)
    except ImageError as error:
        return error


def _tidy(one: Entry) -> tuple[int, str, str, str, int, int]:
    return int(one.shares), as_label(one.label), one.place, one.fault, *one.drawn


def _read_row(row: tuple[Any, ...]) -> Entry:
    path, left, top, width, height, shares, label, place, fault, *drawn = row
    # SQLite keeps no NaN: it gives None.
    numbers = left or 0.0, top or 0.0, width or 0.0, height or 0.0
    return Entry(path, numbers, bool(shares), label, place, fault, (drawn[0], drawn[1]))


def _round(value: float) -> int:
    return math.floor(min(max(value, -_FAR), _FAR) + 0.5)
