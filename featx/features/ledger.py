"""Which images' features are there and where they lie, and which cannot be had."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import numpy as np

from featx.config import SPLITS
from featx.data.columns import Selection, SourceRows
from featx.data.dataset import Fingerprint, Skipped
from featx.data.inventory import SET_OF, Image, Inventory, fingerprint_images
from featx.data.turns import order_reading
from featx.decoding.file_kinds import is_mended
from featx.errors import CONTENT_FAULTS, ExtractionError, ImageError
from featx.features.content import GROUPS, LABEL_SETS, FeatureFile
from featx.storage.rows import Rows, StoredRows, decode_text, iterate_slices

_BLOCK = 4096  # rows in memory at a time
_SPLIT_NAMES = "CASE split {} ELSE '' END".format(
    " ".join(f"WHEN {k} THEN '{name}'" for k, name in enumerate(SPLITS))
)


class Ledger:
    """What is known of an inventory's contents; every image was read.

    Parameters
    ----------
    inventory : Inventory

    Attributes
    ----------
    n_taken : int
        How many files there were before the first of now.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.n_taken = 0
        self._sources: list[Mapping[str, StoredRows]] = []
        self._db = inventory.db
        for table in (
            # Where a content's features lie: which source, which of its rows.
            "known (digest BLOB PRIMARY KEY, source INT, place INT) WITHOUT ROWID",
            # Contents that cannot be decoded.
            "bad (digest BLOB PRIMARY KEY, kind TEXT, reason TEXT) WITHOUT ROWID",
            # Images that could not be read, whatever is in them.
            "failed (position INTEGER PRIMARY KEY, kind TEXT, reason TEXT)",
        ):
            self._db.execute(f"DROP TABLE IF EXISTS {table.partition(' ')[0]}")
            self._db.execute(f"CREATE TABLE {table}")
        inventory.index_digests()

    # -- what is put in

    def take(self, file: FeatureFile) -> int:
        """Note the features in a file of those contents that have none yet; how many they are."""
        before = self._db.total_changes
        source = len(self._sources)
        self._db.executemany(
            "INSERT OR IGNORE INTO known SELECT :digest, :source, :place "
            "WHERE EXISTS (SELECT 1 FROM images WHERE digest = :digest)",
            (
                {"digest": digest, "source": source, "place": place}
                for place, digest in enumerate(iterate_digests(file.columns["hashes"]))
            ),
        )
        new = self._db.total_changes - before
        self._sources.append(file.columns)
        for one in file.heading.skipped:
            if one.digest and not is_mended(one.reason):
                self._note_bad(bytes.fromhex(one.digest), one.kind, one.reason)
        return new

    def fail(self, image: Image, error: ImageError) -> None:
        """Note that an image could not be had."""
        if error.kind in CONTENT_FAULTS:
            self._note_bad(bytes.fromhex(image.digest), error.kind, error.reason)
        self._db.execute(
            "INSERT OR REPLACE INTO failed VALUES (?, ?, ?)",
            (image.position, error.kind, error.reason),
        )

    def skip(self, one: Skipped) -> None:
        """Note an image that was skipped elsewhere for a fault that is not its content's."""
        self.inventory.index_names()
        self._db.execute(
            "INSERT OR REPLACE INTO failed SELECT position, ?, ? FROM images WHERE name = ?",
            (one.kind, one.reason, one.path.encode()),
        )

    def start(self) -> None:
        """What is taken from here on was computed now."""
        self.n_taken = len(self._sources)

    def _note_bad(self, digest: bytes, kind: str, reason: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO bad SELECT :digest, :kind, :reason "
            "WHERE EXISTS (SELECT 1 FROM images WHERE digest = :digest)",
            {"digest": digest, "kind": kind, "reason": reason},
        )

    # -- what is left to do

    def list_todo(self) -> int:
        """Find what has to be computed, of identical files the first; how many they are."""
        order_reading(self.inventory)
        return self._list(
            "SELECT min(position) AS position FROM images WHERE digest IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM known WHERE known.digest = images.digest) "
            "AND NOT EXISTS (SELECT 1 FROM bad WHERE bad.digest = images.digest) "
            "GROUP BY digest"
        )

    def list_twins(self) -> int:
        """Find what to try instead: files with the contents of one that could not be read."""
        return self._list(
            "SELECT min(twin.position) AS position FROM images AS twin "
            "WHERE twin.digest IN (SELECT digest FROM failed JOIN images USING (position)) "
            "AND NOT EXISTS (SELECT 1 FROM known WHERE known.digest = twin.digest) "
            "AND NOT EXISTS (SELECT 1 FROM bad WHERE bad.digest = twin.digest) "
            "AND NOT EXISTS (SELECT 1 FROM failed WHERE failed.position = twin.position) "
            "GROUP BY twin.digest"
        )

    def iterate_todo(self) -> Iterator[Image]:
        """What was found to do, in the order in which it is read soonest, some at a time."""
        last = 0
        while block := list(
            self.inventory.iterate(
                "JOIN todo USING (position) WHERE place > ? ORDER BY place LIMIT ?",
                (last, _BLOCK),
            )
        ):
            yield from block
            last += len(block)

    def find_failure(self) -> ImageError | None:
        """The first image whose content is known to be at fault, of those without features."""
        row = self._db.execute(
            "SELECT name, kind, reason FROM images JOIN bad USING (digest) "
            "WHERE NOT EXISTS (SELECT 1 FROM known WHERE known.digest = images.digest) "
            "ORDER BY position LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        name, kind, reason = row
        return ImageError(str(self.inventory.root / name.decode()), reason, kind)

    def _list(self, query: str) -> int:
        self._db.execute("DROP TABLE IF EXISTS todo")
        self._db.execute("CREATE TABLE todo (place INTEGER PRIMARY KEY, position INT UNIQUE)")
        self._db.execute(
            f"INSERT INTO todo (position) SELECT position FROM ({query}) JOIN images "
            "USING (position) ORDER BY turn, position"
        )
        return self.inventory.count("SELECT count(*) FROM todo")

    # -- what comes out

    def gather(
        self, widths: Mapping[str, int], storage: str, empty_ok: bool = False
    ) -> GatheredColumns:
        """The columns of all images that have features, in the dataset's order.

        Parameters
        ----------
        widths : mapping of str to int
            Numbers of an image: of "features", and where they are kept of "layers".
        storage : {"float32", "float16"}
        empty_ok : bool

        Raises
        ------
        ExtractionError
            There is no image that has, and `empty_ok` is False.
        """
        found = Selection(
            self.inventory,
            "SELECT position, source, place FROM images JOIN known USING (digest) "
            "ORDER BY position",
        )
        skipped = self._list_skipped()
        if not len(found) and not empty_ok:
            shown = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
            raise ExtractionError(f"none of {len(skipped)} images could be decoded ({shown})")
        return GatheredColumns(self, found, self._sources, skipped, widths, storage)

    def _list_skipped(self) -> tuple[Skipped, ...]:
        rows = self._db.execute(
            "SELECT name, digest, coalesce(failed.kind, bad.kind), "
            "coalesce(failed.reason, bad.reason) FROM images "
            "LEFT JOIN failed USING (position) LEFT JOIN bad USING (digest) "
            "WHERE digest IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM known WHERE known.digest = images.digest)"
        )
        # Without its hash a failure is not remembered: the next run tries again.
        found = [
            Skipped(name.decode(), digest.hex() if kind in CONTENT_FAULTS else "", kind, reason)
            for name, digest, kind, reason in rows
        ]
        return tuple(sorted([*self.inventory.unread, *found]))


class GatheredColumns:
    """The rows of a feature file, wherever they lie, as columns that can be written.

    Attributes
    ----------
    columns : dict of str to Rows
        See `FeatureFile`.
    skipped : tuple of Skipped
    """

    def __init__(
        self,
        ledger: Ledger,
        found: Selection,
        sources: list[Mapping[str, StoredRows]],
        skipped: tuple[Skipped, ...],
        widths: Mapping[str, int],
        storage: str,
    ) -> None:
        self.skipped = skipped
        self._ledger, self._found = ledger, found
        self.columns: dict[str, Rows] = {
            **{
                name: SourceRows(found, [one[name] for one in sources], width, np.dtype(storage))
                for name, width in widths.items()
            },
            "targets": found.numbers("target"),
            "splits": found.text(_SPLIT_NAMES),
            "paths": found.text("name"),
            "hashes": found.text("lower(hex(digest))"),
        }
        beside = list_beside(ledger.inventory)
        if GROUPS in beside:
            self.columns[GROUPS] = found.text(beside[GROUPS])
        if LABEL_SETS in beside:
            width = len(ledger.inventory.classes)
            self.columns[LABEL_SETS] = found.bytes_of(beside[LABEL_SETS], width)

    def __len__(self) -> int:
        return len(self._found)

    def count_new(self) -> int:
        """Rows whose features were computed now."""
        return self._ledger.inventory.count(
            f"SELECT count(*) FROM {self._found.table} WHERE source >= ?", (self._ledger.n_taken,)
        )

    def fingerprint(self) -> str:
        """See `featx.Features.fingerprint`."""
        made = Fingerprint(self._ledger.inventory.classes)
        for some in iterate_slices(len(self), _BLOCK):
            targets, *texts = (
                self.columns[n][some] for n in ("targets", "paths", "hashes", "splits")
            )
            paths, hashes, splits = map(decode_text, texts)
            made.add(paths, hashes, targets, splits)
        return made.hexdigest()


def holds(file: FeatureFile, inventory: Inventory, retry: bool = True) -> bool:
    """Whether a file has these images, all of them and no others, but for those it had to skip.

    Parameters
    ----------
    file : FeatureFile
    inventory : Inventory
    retry : bool
        An image that was skipped for a fault that is not its content's is to be tried again.
    """
    listed = {one.path: "" if is_mended(one.reason) else one.digest for one in file.heading.skipped}
    left_out = {one.path for one in inventory.unread}

    def iterate_held() -> Iterator[Image]:
        for image in inventory.iterate_read():
            digest = listed.get(image.path)
            if digest == image.digest or (digest == "" and not retry):
                left_out.add(image.path)
            else:
                yield image

    found = fingerprint_images(inventory.classes, iterate_held())
    return file.fingerprint == found and left_out == listed.keys()


def list_beside(inventory: Inventory) -> dict[str, str]:
    """What is known of images that decides no feature: columns of a file, as SQL has them."""
    groups = {GROUPS: "CAST(team AS BLOB)"} if inventory.grouped else {}
    return groups | ({LABEL_SETS: SET_OF} if inventory.multilabel else {})


def has_beside(file: FeatureFile, inventory: Inventory) -> bool:
    """Whether a file of just these images has their groups and sets of labels; see `holds`."""
    beside = list_beside(inventory)
    if file.columns.keys() & {GROUPS, LABEL_SETS} != beside.keys():
        return False
    left_out = {one.path for one in file.heading.skipped}
    for column, expression in beside.items():
        wanted = (
            value
            for name, value in inventory.db.execute(
                f"SELECT name, {expression} FROM images WHERE digest IS NOT NULL ORDER BY position"
            )
            if os.fsdecode(name) not in left_out
        )
        found = chain.from_iterable(
            rows.tolist() if rows.ndim == 1 else (row.tobytes() for row in rows)
            for rows in (file.columns[column][s] for s in iterate_slices(len(file), _BLOCK))
        )
        if any(mine != theirs for mine, theirs in zip(wanted, found, strict=True)):
            return False
    return True


def count_held(files: Iterable[FeatureFile], inventory: Inventory) -> tuple[int, int]:
    """How many contents some files hold together, and how many of them are in an inventory."""
    db = inventory.db
    inventory.index_digests()
    db.execute("DROP TABLE IF EXISTS held")
    db.execute("CREATE TABLE held (digest BLOB PRIMARY KEY) WITHOUT ROWID")
    for file in files:
        digests = iterate_digests(file.columns["hashes"])
        db.executemany("INSERT OR IGNORE INTO held VALUES (?)", ((one,) for one in digests))
    kept = "WHERE EXISTS (SELECT 1 FROM images WHERE images.digest = held.digest)"
    n_held, n_kept = (inventory.count(f"SELECT count(*) FROM held {x}") for x in ("", kept))
    return n_held, n_kept


def count_removed(before: FeatureFile, inventory: Inventory) -> int:
    """Images that a feature file holds and that are gone: neither their names nor their contents.

    A renamed file and one with new contents are not; of two identical files, one that went is.
    """
    names = chain.from_iterable(
        before.columns["paths"][some].tolist() for some in iterate_slices(len(before), _BLOCK)
    )
    digests = iterate_digests(before.columns["hashes"])
    _load_former(inventory, zip(names, digests, strict=True))
    return inventory.count(
        "SELECT sum(max(gone.n - coalesce(come.n, 0), 0)) FROM "
        f"(SELECT digest, count(*) AS n FROM former WHERE {_GONE} GROUP BY digest) AS gone "
        "LEFT JOIN (SELECT digest, count(*) AS n FROM images WHERE digest IS NOT NULL AND "
        f"{_NEW} GROUP BY digest) AS come USING (digest)"
    )


def find_changes(former: Inventory, inventory: Inventory) -> tuple[str, ...]:
    """What has become of the images of an inventory since, in a few clauses.

    Where the later one was not read, only names are compared.
    """
    read = ((os.fsencode(i.path), bytes.fromhex(i.digest)) for i in former.iterate_read())
    _load_former(inventory, chain(read, ((one.path.encode(), b"") for one in former.unread)))
    other = "EXISTS (SELECT 1 FROM former WHERE former.name = images.name AND {})".format(
        "former.digest <> images.digest"
    )
    said = []
    for one, many, table, where in (
        ("image is new", "images are new", "images", _NEW),
        ("image is gone", "images are gone", "former", _GONE),
        ("image has other bytes", "images have other bytes", "images", other),
    ):
        n, first = inventory.db.execute(
            f"SELECT count(*), min(name) FROM {table} WHERE {where}"
        ).fetchone()
        if n:
            shown = os.fsdecode(first) + ", …" * (n > 1)
            said.append(f"{n} {one if n == 1 else many} ({shown})")
    return tuple(said)


def iterate_digests(hashes: Rows) -> Iterator[bytes]:
    """The digests in a file's column of hashes."""
    for some in iterate_slices(hashes.shape[0], _BLOCK):
        yield from map(bytes.fromhex, decode_text(hashes[some]).tolist())


_GONE = "NOT EXISTS (SELECT 1 FROM images WHERE images.name = former.name)"
_NEW = "NOT EXISTS (SELECT 1 FROM former WHERE former.name = images.name)"


def _load_former(inventory: Inventory, rows: Iterable[tuple[bytes, bytes]]) -> None:
    db = inventory.db
    db.execute("DROP TABLE IF EXISTS former")
    db.execute("CREATE TABLE former (name BLOB PRIMARY KEY, digest BLOB) WITHOUT ROWID")
    db.executemany("INSERT OR IGNORE INTO former VALUES (?, ?)", rows)
    inventory.index_names()
