"""What is done where a feature file goes: one table, and what is said where nothing is."""

import itertools

import pytest
from shared import CountingEngine, draw_photo

from featx.data.hashing import hash_images
from featx.errors import OutputExistsError
from featx.extraction.extract import extract_inventory
from featx.extraction.place import choose_action, examine_place
from featx.extraction.request import Request
from featx.features.file import open_features, parts_folder
from featx.sources.reading import read_inventory

FILES = ("none", "damaged", "other", "alike", "fitting", "finished")
PARTS = ("none", "other", "alike", "fitting")


@pytest.mark.parametrize(
    ("file", "guarded", "actions"),  # of the parts, in their order
    [
        ("none", False, "make make resume resume"),
        ("damaged", False, "make make resume resume"),
        ("other", False, "make make resume resume"),
        ("alike", False, "extend extend resume resume"),
        ("fitting", False, "extend extend resume resume"),
        ("finished", False, "reuse reuse reuse reuse"),
        ("none", True, "make refuse refuse resume"),
        ("damaged", True, "refuse refuse refuse refuse"),
        ("other", True, "refuse refuse refuse refuse"),
        ("alike", True, "refuse refuse refuse refuse"),
        ("fitting", True, "extend refuse refuse resume"),
        ("finished", True, "reuse reuse reuse reuse"),
    ],
)
def test_every_case(file, guarded, actions):
    found = [choose_action(file, parts, guarded=guarded) for parts in PARTS]
    assert found == actions.split()


def test_the_table_is_whole():
    told = {
        (row[0], row[1]) for mark in test_every_case.pytestmark for row in mark.args[1]
    }  # fmt: skip
    assert told == set(itertools.product(FILES, (False, True)))


@pytest.fixture
def made(photos, provenance, tmp_path):
    """A feature file of the photographs, and the photographs."""
    inventory = hash_images(read_inventory(photos, "first:4,2"), "skip")
    path = tmp_path / "F.h5"
    request = Request(data=photos, output=path, num_workers=1)
    extract_inventory(inventory, CountingEngine(), provenance, request)
    return path, inventory


def test_what_lies_there_is_told_apart(made, photos, provenance, tmp_path):
    path, inventory = made
    assert examine_place(path, inventory, provenance, guarded=True).action == "reuse"
    assert examine_place(path, inventory, provenance, guarded=False).action == "reuse"
    draw_photo(photos / "cat" / "new.png", 0, 50)
    grown = hash_images(read_inventory(photos, "first:4,2"), "skip")
    assert examine_place(path, grown, provenance, guarded=True).action == "extend"
    nothing = examine_place(tmp_path / "G.h5", inventory, provenance, guarded=True)
    assert (nothing.action, nothing.before) == ("make", None)
    parts = [open_features(path)]
    assert examine_place(nothing.path, inventory, provenance, guarded=True, parts=parts).action == (
        "resume"
    )
    other = type(provenance)(**{**vars(provenance), "precision": "bf16"})
    with pytest.raises(OutputExistsError, match="precision: fp32 → bf16"):
        examine_place(path, inventory, other, guarded=True)
    assert examine_place(path, inventory, other, guarded=False).action == "make"
    with pytest.raises(OutputExistsError, match="precision") as refused:
        examine_place(nothing.path, inventory, other, guarded=True, parts=parts)
    assert refused.value.path == parts_folder(nothing.path)
    # Another split rule is another file, and the same images for what was interrupted.
    split = hash_images(read_inventory(photos, "first:3,3"), "skip")
    with pytest.raises(OutputExistsError, match="split: first:4,2 → first:3,3"):
        examine_place(path, split, provenance, guarded=True)
    assert examine_place(nothing.path, split, provenance, guarded=True, parts=parts).action == (
        "resume"
    )
    assert examine_place(path, split, provenance, guarded=False).action == "extend"


def test_a_file_of_images_that_are_gone_is_something_else(made, photos, provenance):
    path, _ = made
    for one in sorted(photos.glob("*/*")):
        draw_photo(one, 2, 77 + int(one.stem))
    inventory = hash_images(read_inventory(photos, "first:4,2"), "skip")
    with pytest.raises(OutputExistsError, match="images: only 0 of its 27 are in"):
        examine_place(path, inventory, provenance, guarded=True)


def test_damage_is_refused_or_said(made, provenance, caplog):
    path, inventory = made
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OutputExistsError):
        examine_place(path, inventory, provenance, guarded=True)
    place = examine_place(path, inventory, provenance, guarded=False)
    assert (place.action, place.before) == ("make", None)
    assert caplog.messages[-1].startswith(f"not reused: {path}")
