"""Corrected labels of the images of an extraction, before their features are looked for."""

from __future__ import annotations

import logging
from collections import Counter

from featx.data.inventory import Inventory
from featx.data.splits import NO_LABEL
from featx.errors import DatasetError
from featx.features.corrections import Corrections, Row, index_contents, settle
from featx.text import say_one_label

log = logging.getLogger(__name__)


def correct_inventory(inventory: Inventory, corrections: Corrections) -> None:
    """`correct_labels` of the images of an extraction, once they were read.

    What they are split by then names the corrections, so that a feature file with the labels of the
    files themselves is another one, and stays.
    """
    if inventory.multilabel:
        raise DatasetError(f"{inventory.source}: {say_one_label('--labels')}")
    inventory.index_digests()
    row_of, db = index_contents(corrections), inventory.db
    for digest, rows in row_of.items():
        for one in inventory.iterate("WHERE digest = ? ORDER BY position", [bytes.fromhex(digest)]):
            label = inventory.classes[one.target] if one.target >= 0 else ""
            rows.append(Row(one.position, one.path, one.split, label))
    counts = dict(db.execute("SELECT target, count(*) FROM images GROUP BY target"))
    held = Counter({name: counts.get(k, 0) for k, name in enumerate(inventory.classes)})
    settled = settle(corrections, row_of, held, inventory.source)
    before = [*inventory.classes, *settled.new]
    code = {name: k for k, name in enumerate(before)}
    db.executemany(
        "UPDATE images SET target = ? WHERE position = ?",
        ((code[label], row) for row, label in settled.moved.items()),
    )
    db.executemany("DELETE FROM images WHERE position = ?", ((row,) for row in settled.dropped))
    place = {name: k for k, name in enumerate(settled.classes)}
    db.execute("CREATE TABLE recoded (target INTEGER PRIMARY KEY, code INT)")
    db.executemany(
        "INSERT INTO recoded VALUES (?, ?)",
        ((k, place[name]) for name, k in code.items() if name in place),
    )
    code_now = f"coalesce(code, {NO_LABEL})"
    # The order of an inventory: by split, class and path; all else of an image stays.
    new = {
        "position": f"row_number() OVER (ORDER BY split, {code_now}, name) - 1",
        "target": code_now,
    }
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(images)")]
    db.execute(
        f"CREATE TABLE arranged AS SELECT {', '.join(new.get(name, name) for name in columns)} "
        "FROM images LEFT JOIN recoded USING (target)"
    )
    db.execute("DELETE FROM images")
    db.execute("INSERT INTO images SELECT * FROM arranged")
    for table in ("arranged", "recoded"):
        db.execute(f"DROP TABLE {table}")
    inventory.classes = settled.classes
    inventory.split_rule += f"; labels corrected by {corrections.sha256[:16]}"
    said = settled.describe("").notes[0]
    inventory.notes.append(said)
    log.info("%s", said)
