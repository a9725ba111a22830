"""Whose features lie where: from files to a dataset's order, and what is left to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_features import make_features
from shared import PROVENANCE

from featx.data.inventory import Inventory
from featx.errors import ExtractionError, ImageError
from featx.features.file import open_features, write_features
from featx.features.ledger import Ledger, count_held, holds

DIGESTS = [bytes([k]) * 32 for k in range(6)]


def make_inventory(digests=DIGESTS):
    made = Inventory(Path("photos"), "none")
    made.classes = ("a", "b")
    made.put((f"{i}.jpg".encode(), 0, i % 2, digest, 9) for i, digest in enumerate(digests))
    return made


@pytest.fixture
def write(tmp_path):
    """`write(name, digests, shift)`: a file of features of those contents, each `shift` plus k."""

    def make(name, digests, shift=0.0):
        n = len(digests)
        base = make_features(PROVENANCE, n_per=n, classes=("a",), dim=3)
        X = np.repeat(np.array([[d[0] + shift] for d in digests], np.float32), 3, axis=1)
        made = replace(base, X=X, hashes=np.array([d.hex() for d in digests]))
        write_features(made, tmp_path / name)
        return open_features(tmp_path / name)

    return make


def test_features_come_in_the_datasets_order_from_whatever_file(write):
    inventory = make_inventory()
    ledger = Ledger(inventory)
    assert ledger.take(write("a.h5", [DIGESTS[4], DIGESTS[0]])) == 2
    # What an earlier file has is not taken again, and what is no image of ours never.
    assert ledger.take(write("b.h5", [DIGESTS[0], DIGESTS[2], b"\xff" * 32], shift=100)) == 1
    assert ledger.list_todo() == 3
    assert [image.path for image in ledger.iterate_todo()] == ["1.jpg", "3.jpg", "5.jpg"]
    ledger.start()
    assert ledger.take(write("c.h5", [DIGESTS[5], DIGESTS[1], DIGESTS[3]])) == 3
    assert ledger.list_todo() == 0
    gathered = ledger.gather({"features": 3}, "float32")
    assert gathered.columns["features"][:][:, 0].tolist() == [0, 1, 102, 3, 4, 5]
    assert gathered.columns["features"][slice(2, 4)][:, 0].tolist() == [102, 3]
    assert gathered.count_new() == 3
    assert gathered.skipped == ()


def test_identical_files_are_one_thing_to_do(write):
    inventory = make_inventory([DIGESTS[1], DIGESTS[0], DIGESTS[1]])
    ledger = Ledger(inventory)
    assert ledger.list_todo() == 2
    assert [image.path for image in ledger.iterate_todo()] == ["0.jpg", "1.jpg"]
    ledger.take(write("a.h5", DIGESTS[:2]))
    features = ledger.gather({"features": 3}, "float32").columns["features"]
    assert features[:][:, 0].tolist() == [1, 0, 1]


def test_a_twin_is_tried_where_a_file_could_not_be_read(write):
    ledger = Ledger(make_inventory([DIGESTS[1], DIGESTS[0], DIGESTS[1]]))
    ledger.list_todo()
    first = next(iter(ledger.iterate_todo()))
    ledger.fail(first, ImageError("0.jpg", "no permission", "unreadable"))
    assert ledger.list_twins() == 1
    assert [image.path for image in ledger.iterate_todo()] == ["2.jpg"]
    ledger.take(write("a.h5", DIGESTS[:2]))
    # Its twin's features are its own: nothing is skipped.
    assert ledger.gather({"features": 3}, "float32").skipped == ()


def test_a_fault_of_the_content_is_every_copys(write):
    ledger = Ledger(make_inventory([DIGESTS[1], DIGESTS[0], DIGESTS[1]]))
    ledger.list_todo()
    first = next(iter(ledger.iterate_todo()))
    ledger.fail(first, ImageError("0.jpg", "cut short", "damaged"))
    assert ledger.list_twins() == 0
    assert ledger.find_failure().kind == "damaged"
    ledger.take(write("a.h5", [DIGESTS[0]]))
    gathered = ledger.gather({"features": 3}, "float32")
    assert len(gathered) == 1
    assert [(one.path, one.kind, one.digest) for one in gathered.skipped] == [
        ("0.jpg", "damaged", DIGESTS[1].hex()), ("2.jpg", "damaged", DIGESTS[1].hex())
    ]  # fmt: skip


def test_nothing_at_all_is_an_error_that_shows_why():
    ledger = Ledger(make_inventory(DIGESTS[:1]))
    ledger.list_todo()
    ledger.fail(next(iter(ledger.iterate_todo())), ImageError("0.jpg", "cut short", "damaged"))
    with pytest.raises(ExtractionError, match=r"none of 1 images .*0\.jpg: cut short"):
        ledger.gather({"features": 3}, "float32")
    assert len(ledger.gather({"features": 3}, "float32", empty_ok=True)) == 0


def test_a_file_holds_an_inventory_or_some_of_it(write):
    there = write("a.h5", DIGESTS[:4])
    assert count_held([there], make_inventory(DIGESTS[2:])) == (4, 2)
    assert not holds(there, make_inventory(DIGESTS[2:]))


def test_a_ledgers_fingerprint_is_the_features_own(write, tmp_path):
    ledger = Ledger(make_inventory())
    ledger.take(write("a.h5", DIGESTS))
    gathered = ledger.gather({"features": 3}, "float16")
    assert gathered.columns["features"][:].dtype == np.float16
    assert gathered.fingerprint() == ledger.inventory.fingerprint()
