"""Images in a scratch database: as a list in memory would have them, in memory that stays."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared import PROVENANCE, CountingEngine, draw_photo

from featx.data.hashing import hash_images
from featx.data.inventory import Inventory, take_inventory
from featx.errors import StorageError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.sources.reading import read_dataset, read_inventory


def test_an_inventory_is_the_dataset(photos):
    dataset = read_dataset(photos, "0.5,0.2,0.3@7")
    taken = take_inventory(dataset)
    assert taken.load().paths == dataset.paths
    assert len(taken) == 27
    assert taken.load().counts() == dataset.counts()
    hashed, scanned = hash_images(taken, "skip"), hash_images(
        read_inventory(photos, "0.5,0.2,0.3@7"), "skip"
    )  # fmt: skip
    assert hashed.fingerprint() == scanned.fingerprint() == hashed.load_read().fingerprint
    first, *_ = hashed.first_images(3)
    assert (first.position, first.path, first.target) == (0, "cat/00.jpg", 0)


def test_order_is_that_of_split_class_and_name():
    made = Inventory(Path(), "manifest")
    rows = [
        ("test", "b", "x/1.png", 2), ("", "b", "a/0.png", 3), ("train", "Z", "b/2.png", 4),
        ("train", "b", "b/é.png", 5), ("train", "b", "b/z.png", 6), ("train", "", "b/1.png", 7),
    ]  # fmt: skip
    assert made.add(iter(rows)) == 6
    made.arrange()
    assert made.classes == ("Z", "b")
    assert list(made.iterate_names()) == [
        "b/1.png", "b/2.png", "b/z.png", "b/é.png", "x/1.png", "a/0.png"
    ]  # fmt: skip
    assert made.load().targets.tolist() == [-1, 0, 1, 1, 1, 1]
    assert made.targets_by_split()["train"] == {-1, 0, 1}


def test_a_name_that_stands_twice():
    made = Inventory(Path(), "manifest")
    made.add([("", "a", "x.png", 2), ("", "a", "y.png", 3), ("", "b", "x.png", 9)])
    assert made.find_double() == ("x.png", 2, 9)


def test_no_room_for_the_list_is_said(photos):
    made = Inventory(Path(), "none")
    made.db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(StorageError, match=r"no room for the list of images, .*SQLITE_TMPDIR"):
        made.add(("", "a", f"{i:0100d}.png", 0) for i in range(10_000))


class Wide(CountingEngine):
    """As many numbers as the real network gives."""

    width = 2048

    def run(self, pixels):
        return np.tile(super().run(pixels), (1, 171))[:, :2048]


def test_memory_does_not_grow_with_images(tmp_path, monkeypatch):
    """Ten times the images, 7 MB more of features: not a tenth of that more memory.

    Neither where all are extracted nor where they are found again.
    """
    # What is in memory at a time, made small, so that what is left over shows.
    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 16)
    monkeypatch.setattr("featx.storage.hdf5.SLICE", 1 << 17)
    for module in ("data.inventory", "features.ledger", "data.hashing", "features.file"):
        name = "_CHECKED" if module == "features.file" else "_BLOCK"
        monkeypatch.setattr(f"featx.{module}.{name}", 32)
    peaks = []
    for n in (100, 1000):
        root, output = tmp_path / f"{n}", tmp_path / f"{n}.h5"
        for k in "ab":
            (root / k).mkdir(parents=True)
        for i in range(n):
            grey = Image.fromarray(np.full((8, 8), i % 251, np.uint8))
            grey.putpixel((0, 0), i // 251)
            grey.save(root / "ab"[i % 2] / f"{i}.png")
        tracemalloc.start()
        for _ in range(2):
            tracemalloc.reset_peak()
            inventory = hash_images(read_inventory(root, "first:5,5"), "skip", [output])
            extract_inventory(
                inventory,
                Wide(),
                PROVENANCE,
                Request(data=inventory, output=output, num_workers=0),
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    few, few_again, many, many_again = peaks
    assert many < few + 700_000
    assert many_again < few_again + 700_000


def test_class_folders_with_many_names_are_scanned_as_they_come(tmp_path):
    root = tmp_path / "root"
    for i, name in enumerate("ab"):
        draw_photo(root / name / "1.png", 0, i)
    for i in range(5000):
        (root / "a" / f"{i}.txt").touch()
    found = read_inventory(root)
    (left_out,) = found.left_out.list()
    assert (len(found), left_out.count) == (2, 5000)
    assert left_out.examples == ("a/0.txt", "a/1.txt", "a/10.txt")
