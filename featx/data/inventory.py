"""The images of a dataset in a scratch database: millions of them, without an object for each.

Its table `images` has a row for each image:

    position    from 0, in the dataset's order: by split, class and path
    name        path relative to the root, forward slashes, as the file system's bytes
    split       index into SPLITS; their number where the image is in none
    target      index into the classes; -1 where the image has no label
    team        what it belongs to with others, of `Dataset.groups`; null where nothing is known
    turn        when it is to be read, from 0, where they lie in archives; null elsewhere
    digest      SHA-256 of the file's bytes; null until it was read, and where it could not be
    inode, size, mtime, ctime, settled
                what the system said of the file then, and whether that will tell of any change

and its table `label_sets`, where images have any number of labels, the set of each by its name: a
byte for each class, 1 or 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.config import SPLITS
from featx.data.dataset import Dataset, Fingerprint, HashedRows, Leftovers, Skipped
from featx.data.splits import NO_LABEL, apportion_classes, check_first, parse_split
from featx.decoding.crops import END, split_name
from featx.storage.scratch import open_scratch
from featx.text import as_text

SPLIT_NAMES = (*SPLITS, "")  # by code
Found = tuple[str, str, str, int] | tuple[str, str, str, int, str]
_BLOCK = 4096  # rows in memory at a time
# An expression for the set of an image, which has its labels beside and no target.
SET_OF = "(SELECT labels FROM label_sets WHERE label_sets.name = images.name)"


class Image(NamedTuple):
    """One image that was read.

    Attributes
    ----------
    position : int
        In the dataset.
    path : str
        Relative to the root.
    digest : str
        SHA-256 of its bytes, in hex.
    target : int
    split : str
    """

    position: int
    path: str
    digest: str
    target: int
    split: str


class Inventory:
    """Images by name, with their classes and splits, and once they were read with their hashes.

    Parameters
    ----------
    root : Path
        The folder that names are relative to.
    rule : str
        Where the splits come from; see `Dataset`.
    name : str, optional
        Of the data; None: the folder's.

    Attributes
    ----------
    root, name, classes, split_rule
        See `Dataset`.
    source : str
        What was named to have it.
    db : sqlite3.Connection
        For modules above; one thread's.
    left_out : Leftovers
        The files that lie among the images and are none of them.
    empty : list of str
        Class folders without images.
    notes : list of str
        What one should know of the data besides.
    unread : list of Skipped
        The images that could not be read, which have no digest, and folders, which end in a slash.
    read : int
        How many files were read for their hashes.
    grouped : bool
        Whether it is known of every image what it belongs to.
    multilabel : bool
        Whether every image has a set of labels, and none a target.
    """

    def __init__(self, root: Path, rule: str, name: str | None = None) -> None:
        self.root = root
        self.name = as_text(name or root.resolve().name) or "images"
        self.source = str(root)
        self.split_rule = rule
        self.classes: tuple[str, ...] = ()
        self.left_out = Leftovers()
        self.empty: list[str] = []
        self.notes: list[str] = []
        self.unread: list[Skipped] = []
        self.read = 0
        self.grouped = False
        self.multilabel = False
        self.db = open_scratch()
        self.db.execute(
            "CREATE TABLE found (split INT, label TEXT, name BLOB, line INT, team TEXT)"
        )
        self.db.execute(
            "CREATE TABLE images (position INTEGER PRIMARY KEY, name BLOB, split INT, target INT, "
            "team TEXT, turn INT, digest BLOB, inode INT, size INT, mtime INT, ctime INT, "
            "settled INT)"
        )
        self.db.execute(
            "CREATE TABLE label_sets (name BLOB PRIMARY KEY, labels BLOB) WITHOUT ROWID"
        )

    def __len__(self) -> int:
        return self.count("SELECT count(*) FROM images")

    # -- how it is filled

    def add(self, rows: Iterable[Found]) -> int:
        """Put in images, in any order: split, label, path, the line that names it[, its group].

        Returns
        -------
        int
            How many they were.
        """
        before, code = self.db.total_changes, {name: k for k, name in enumerate(SPLIT_NAMES)}
        self.db.executemany(
            "INSERT INTO found VALUES (?, ?, ?, ?, ?)",
            (
                (code[split], as_text(label), os.fsencode(path), line, *(team or (None,)))
                for split, label, path, line, *team in rows
            ),
        )
        return self.db.total_changes - before

    def put(
        self,
        rows: Iterable[tuple[bytes, int, int, bytes | None, int | None]],
        groups: Iterable[str] | None = None,
    ) -> None:
        """Put in images in order: name, split, target, digest and size as `images` has them."""
        self.grouped = groups is not None
        teams = repeat(None) if groups is None else iter(groups)
        self.db.executemany(
            "INSERT INTO images (position, team, name, split, target, digest, size) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((position, next(teams), *row) for position, row in enumerate(rows, start=len(self))),
        )

    def put_label_sets(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Tell of each image, by its name, which of the classes it has: a byte each, 1 or 0."""
        self.multilabel = True
        self.db.executemany("INSERT OR IGNORE INTO label_sets VALUES (?, ?)", rows)

    def find_double(self) -> tuple[str, int, int] | None:
        """The first name that was added twice, with its first two lines."""
        found = self.db.execute(
            "SELECT name, min(line), max(line) FROM found GROUP BY name HAVING count(*) > 1 "
            "ORDER BY 3 LIMIT 1"
        ).fetchone()
        return None if found is None else (os.fsdecode(found[0]), found[1], found[2])

    def arrange(self) -> None:
        """Bring what was added into the order that everything else relies on."""
        self.classes = tuple(
            label
            for (label,) in self.db.execute(
                "SELECT DISTINCT label FROM found WHERE label <> '' ORDER BY label"
            )
        )
        self.db.execute("CREATE TABLE codes (label TEXT PRIMARY KEY, target INT) WITHOUT ROWID")
        self.db.executemany(
            "INSERT INTO codes VALUES (?, ?)", ((c, k) for k, c in enumerate(self.classes))
        )
        self.db.execute(
            "INSERT INTO images (position, name, split, target, team) "
            "SELECT row_number() OVER (ORDER BY split, label, name) - 1, name, split, "
            f"coalesce(target, {NO_LABEL}), team FROM found LEFT JOIN codes USING (label)"
        )
        self.db.execute("DROP TABLE found")

    def assign_splits(self, rule: str) -> None:
        """Split what has no splits by a rule; see `featx.read_dataset`.

        Raises
        ------
        DatasetError
            Classes with fewer images than the rule asks for, with their counts.
        """
        parsed = parse_split(rule)
        self.split_rule = rule
        # Once it has a label, an image is there to be learned from.
        self.db.execute(f"UPDATE images SET split = 0 WHERE target = {NO_LABEL}")
        by_target = dict(self.db.execute("SELECT target, count(*) FROM images GROUP BY target"))
        counts = [by_target.get(k, 0) for k in range(len(self.classes))]
        if isinstance(parsed[0], int):
            n_train, n_val = parsed
            check_first(rule, (n_train, n_val), self.classes, counts, self.empty)
            self.db.create_function("base", 1, os.path.basename, deterministic=True)
            # In the order of file names, whatever folder or order they came in.
            self.db.execute(
                "CREATE TABLE ranks AS SELECT position, row_number() OVER "
                "(PARTITION BY target ORDER BY base(name), position) AS place FROM images "
                "WHERE target >= 0"
            )
            self.db.execute(
                "UPDATE images SET split = CASE WHEN place <= :train THEN 0 "
                "WHEN place <= :train + :val THEN 1 ELSE 2 END FROM ranks "
                "WHERE ranks.position = images.position",
                {"train": n_train, "val": n_val},
            )
            self.db.execute("DROP TABLE ranks")
            return
        fractions, seed = parsed
        rng = np.random.default_rng(seed)
        shares, notes = apportion_classes(rule, self.classes, counts, fractions)
        self.notes += notes
        for k, sizes in enumerate(shares):
            rows = self.db.execute(
                "SELECT position FROM images WHERE target = ? ORDER BY position", (k,)
            )
            shuffled = rng.permutation(np.fromiter((p for (p,) in rows), np.int64, counts[k]))
            codes = np.repeat(np.arange(len(SPLITS)), sizes)
            self.db.executemany(
                "UPDATE images SET split = ? WHERE position = ?",
                zip(codes.tolist(), shuffled.tolist(), strict=True),
            )

    def set_all_train(self) -> None:
        """What has classes and no splits is train."""
        self.db.execute("UPDATE images SET split = 0")

    def note_digests(self, rows: Iterable[tuple[bytes, int, int, int, int, bool, int]]) -> None:
        """Record digest, inode, size, mtime, ctime and settled, each with its position."""
        self.db.executemany(
            "UPDATE images SET digest = ?, inode = ?, size = ?, mtime = ?, ctime = ?, settled = ? "
            "WHERE position = ?",
            rows,
        )

    # -- what it says

    def count(self, query: str, values: Sequence[Any] = ()) -> int:
        """The one number that a query gives."""
        (number,) = self.db.execute(query, values).fetchone()
        return int(number or 0)

    def targets_by_split(self) -> dict[str, set[int]]:
        """Which targets each split has images of."""
        have: dict[str, set[int]] = {name: set() for name in SPLIT_NAMES}
        for split, target in self.db.execute("SELECT DISTINCT split, target FROM images"):
            have[SPLIT_NAMES[split]].add(target)
        return have

    def has_boxes(self) -> bool:
        """Whether some of the images are boxes in pictures; see `decoding.crops`."""
        query = "SELECT name FROM images WHERE substr(name, -1) = ?"  # soon gone through
        ends = self.db.execute(query, (END.encode(),))
        return any(split_name(os.fsdecode(name))[1] is not None for (name,) in ends)

    def longest_name(self) -> int:
        """Bytes of the longest name; at least 1."""
        return max(1, self.count("SELECT max(length(name)) FROM images"))

    def index_digests(self) -> None:
        """Make looking for a digest fast, once the images were read."""
        self.db.execute("CREATE INDEX IF NOT EXISTS by_digest ON images (digest)")

    def index_names(self) -> None:
        """Make looking for a name fast."""
        self.db.execute("CREATE INDEX IF NOT EXISTS by_name ON images (name)")

    def iterate_names(self, where: str = "") -> Iterator[str]:
        """Paths relative to the root, in order."""
        for (name,) in self.db.execute(f"SELECT name FROM images {where} ORDER BY position"):
            yield os.fsdecode(name)

    def iterate_sizes(self) -> Iterator[tuple[str, int]]:
        """Path and size in bytes of every image that was read, in order."""
        for name, size in self.db.execute(
            "SELECT name, size FROM images WHERE digest IS NOT NULL ORDER BY position"
        ):
            yield os.fsdecode(name), size

    def iterate(self, rest: str, values: Sequence[Any] = ()) -> Iterator[Image]:
        """Images, by all of a query that follows FROM images."""
        query = f"SELECT position, name, digest, target, split FROM images {rest}"
        for position, name, digest, target, split in self.db.execute(query, values):
            yield Image(position, os.fsdecode(name), digest.hex(), target, SPLIT_NAMES[split])

    def first_images(self, most: int) -> list[Image]:
        """The first images that were read."""
        return list(self.iterate("WHERE digest IS NOT NULL ORDER BY position LIMIT ?", (most,)))

    def first_paths(self, most: int) -> list[Path]:
        """Where they lie."""
        return [self.root / image.path for image in self.first_images(most)]

    def iterate_paths(self) -> Iterator[Path]:
        """Where all images lie that were read, in the order in which they are read soonest."""
        where = "WHERE digest IS NOT NULL ORDER BY turn, position"
        return (self.root / image.path for image in self.iterate(where))

    def fingerprint(self) -> str:
        """`Features.fingerprint` of all images that were read."""
        return fingerprint_images(self.classes, self.iterate_read())

    def iterate_read(self) -> Iterator[Image]:
        """All images that were read, in order."""
        return self.iterate("WHERE digest IS NOT NULL ORDER BY position")

    def load(self) -> Dataset:
        """All of it in memory."""
        dataset, _ = self._load(
            f"SELECT name, target, split, team, {SET_OF}, NULL FROM images ORDER BY position"
        )
        return dataset

    def load_read(self) -> HashedRows:
        """The images that were read, in memory, with their hashes."""
        dataset, digests = self._load(
            f"SELECT name, target, split, team, {SET_OF}, digest FROM images "
            "WHERE digest IS NOT NULL ORDER BY position"
        )
        hashes = np.array([digest.hex() for digest in digests], dtype="<U64")
        return HashedRows(dataset, hashes, tuple(self.unread))

    def _load(self, query: str) -> tuple[Dataset, list[bytes]]:
        rows, left_out = self.db.execute(query).fetchall(), self.left_out.list()
        examples = (one.examples for one in left_out)
        dataset = Dataset(
            root=self.root,
            name=self.name,
            classes=self.classes,
            paths=tuple(os.fsdecode(name) for name, *_ in rows),
            targets=np.array([target for _, target, *_ in rows], dtype=np.int64),
            splits=np.array([SPLIT_NAMES[split] for _, _, split, *_ in rows], dtype="<U5"),
            split_rule=self.split_rule,
            ignored=(*chain.from_iterable(examples), *(f"{name}/" for name in self.empty)),
            groups=np.array([row[3] for row in rows], dtype=np.str_) if self.grouped else None,
            label_sets=join_sets((row[4] for row in rows), len(self.classes))
            if self.multilabel
            else None,
            left_out=left_out,
            unread=tuple(one for one in self.unread if one.path.endswith("/")),
            notes=tuple(self.notes),
        )
        return dataset, [row[5] for row in rows]


def take_inventory(dataset: Dataset) -> Inventory:
    """The inventory of a dataset that is in memory, in its own order."""
    made = Inventory(dataset.root, dataset.split_rule, dataset.name)
    made.classes = dataset.classes
    made.left_out, made.notes = Leftovers(dataset.left_out), list(dataset.notes)
    made.unread = list(dataset.unread)
    names = (os.fsencode(path) for path in dataset.paths)
    splits = (SPLIT_NAMES.index(split) for split in dataset.splits.tolist())
    rows = zip(names, splits, dataset.targets.tolist(), strict=True)
    groups = None if dataset.groups is None else dataset.groups.tolist()
    made.put(((*row, None, None) for row in rows), groups)
    if dataset.label_sets is not None:
        sets = (row.tobytes() for row in dataset.label_sets.astype(np.uint8))
        made.put_label_sets(zip(map(os.fsencode, dataset.paths), sets, strict=True))
    return made


def join_sets(sets: Iterable[bytes], n_labels: int) -> npt.NDArray[np.bool_]:
    """Sets as the table has them, shape (n_samples, n_labels)."""
    return np.frombuffer(b"".join(sets), np.uint8).reshape(-1, n_labels).astype(bool)


def fingerprint_images(classes: Sequence[str], images: Iterator[Image]) -> str:
    """`Features.fingerprint` of these images."""
    made = Fingerprint(classes)
    while block := list(islice(images, _BLOCK)):
        _, paths, hashes, targets, splits = zip(*block, strict=True)
        made.add(paths, hashes, targets, splits)
    return made.hexdigest()
