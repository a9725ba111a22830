"""In which order images are read: as they lie in archives and pictures, not in the dataset."""

from __future__ import annotations

import os

from featx.data.inventory import Inventory
from featx.decoding.crops import END, find_picture, split_name
from featx.storage.places import locate

_END = END.encode()


def order_reading(inventory: Inventory) -> bool:
    """Note when each image is to be read, where the first lies in an archive, or some are boxes.

    A compressed archive is then gone through once, and any other from its beginning to its end; and
    the boxes of a picture, which may be of several classes, come one after the other.

    Returns
    -------
    bool
        Whether `turn` is known of every image.
    """
    db, root = inventory.db, os.fsencode(inventory.root)
    first = next(inventory.iterate_names(), None)
    if first is None:
        return False
    if locate(find_picture(inventory.root / first)) is None and not inventory.has_boxes():
        return False
    if not inventory.count("SELECT count(*) FROM images WHERE turn IS NULL"):
        return True
    db.execute("CREATE TABLE lies (position INTEGER PRIMARY KEY, archive INT, number INT)")
    db.executemany(
        "INSERT INTO lies VALUES (?, ?, ?)",
        (
            (position, *(_locate(os.path.join(root, name)) or (None, None)))  # noqa: PTH118 (see above)
            for position, name in db.execute("SELECT position, name FROM images")
        ),
    )
    db.execute(
        "UPDATE images SET turn = found.turn FROM (SELECT position, row_number() OVER "
        "(ORDER BY archive, number, name, position) - 1 AS turn FROM lies "
        "JOIN images USING (position)) AS found "
        "WHERE found.position = images.position"
    )
    db.execute("DROP TABLE lies")
    db.execute("CREATE INDEX IF NOT EXISTS by_turn ON images (turn)")
    return True


def _locate(path: bytes) -> tuple[int, int] | None:
    if path.endswith(_END):  # else without a Path, which is slow
        path = os.fsencode(split_name(os.fsdecode(path))[0])
    return locate(path)
