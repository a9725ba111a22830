"""In which order images are read: as they lie in their archives, whatever their dataset's order."""

from __future__ import annotations

import os

from featx.data.inventory import Inventory
from featx.storage.places import locate


def order_reading(inventory: Inventory) -> bool:
    """Note when each image is to be read, where the first of them lies in an archive.

    A compressed archive is then gone through once, and any other from its beginning to its end.

    Returns
    -------
    bool
        Whether `turn` is known of every image.
    """
    db, root = inventory.db, os.fsencode(inventory.root)
    first = next(inventory.iterate_names(), None)
    if first is None or locate(inventory.root / first) is None:
        return False
    if not inventory.count("SELECT count(*) FROM images WHERE turn IS NULL"):
        return True
    db.execute("CREATE TABLE lies (position INTEGER PRIMARY KEY, archive INT, number INT)")
    db.executemany(
        "INSERT INTO lies VALUES (?, ?, ?)",
        (
            (position, *(locate(os.path.join(root, name)) or (None, None)))  # noqa: PTH118 (see above)
            for position, name in db.execute("SELECT position, name FROM images")
        ),
    )
    db.execute(
        "UPDATE images SET turn = found.turn FROM (SELECT position, row_number() OVER "
        "(ORDER BY archive, number, position) - 1 AS turn FROM lies) AS found "
        "WHERE found.position = images.position"
    )
    db.execute("DROP TABLE lies")
    db.execute("CREATE INDEX IF NOT EXISTS by_turn ON images (turn)")
    return True
