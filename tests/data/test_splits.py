from pathlib import Path

import numpy as np
import pytest

from featx.data.inventory import Inventory
from featx.data.splits import count_labels, find_untrainable, parse_split
from featx.errors import DatasetError

TARGETS = np.repeat([0, 1, 2], [20, 10, 3])
NAMES = [f"{i}.jpg" for i in range(33)]


def assign_splits(rule, classes, targets, names, empty=()):
    """Images whose paths are in the order of `targets`, whatever their names, in their splits."""
    found = Inventory(Path(), "none")
    found.classes, found.empty = tuple(classes), list(empty)
    paths = (f"{i:02d}/{name}".encode() for i, name in enumerate(names))
    found.put((path, 3, k, None, None) for path, k in zip(paths, targets.tolist(), strict=True))
    found.assign_splits(rule)
    return found.load()


def sizes(splits):
    return [
        [int(((k == TARGETS) & (splits == s)).sum()) for s in ("train", "val", "test")]
        for k in range(3)
    ]


def test_random_splits_are_stratified_and_seeded():
    made = assign_splits("0.7,0.1,0.2@3", "abc", TARGETS, NAMES)
    found = made.splits
    # 2.1, 0.3, 0.6 of three images: 2, 0, 0 and the one left to the largest remainder.
    assert sizes(found) == [[14, 2, 4], [7, 1, 2], [2, 0, 1]]
    assert made.notes == ("--split 0.7,0.1,0.2@3 leaves no val image of c",)
    assert (assign_splits("0.7,0.1,0.2@3", "abc", TARGETS, NAMES).splits == found).all()
    assert (assign_splits("0.7,0.1,0.2@4", "abc", TARGETS, NAMES).splits != found).any()
    # However few, one image of each class is train.
    assert all(row[0] for row in sizes(assign_splits("0.1,0.4,0.5", "abc", TARGETS, NAMES).splits))


def test_first_goes_by_file_name():
    names = [f"{i:02d}.jpg" for i in reversed(range(33))]
    found = assign_splits("first:2,1", "abc", TARGETS, names).splits
    assert sizes(found) == [[2, 1, 17], [2, 1, 7], [2, 1, 0]]
    assert found[20:30].tolist() == ["test"] * 7 + ["val", "train", "train"]
    with pytest.raises(DatasetError, match=r"= 4 images of each class, but d has 0, c has 3$"):
        assign_splits("first:3,1", "abc", TARGETS, names, empty=["d"])


def test_rules():
    assert parse_split("first:60,10") == (60, 10)
    assert parse_split("0.7,0.1,0.2@5") == ((0.7, 0.1, 0.2), 5)
    assert parse_split("0.8,0,0.2") == ((0.8, 0.0, 0.2), 0)
    for wrong in ("first:0,10", "first:6", "0.7,0.1", "0.7,0.1,0.3", "0,0.5,0.5", "-1,1,1", "x"):
        with pytest.raises(DatasetError, match="cannot read the split rule"):
            parse_split(wrong)


def test_what_cannot_be_learned_from():
    splits = np.array(["train", "train", "test"])
    assert find_untrainable("ab", np.array([0, 1, 1]), splits) is None
    assert find_untrainable("ab", np.array([0, 0, 1]), splits) == (
        "train has no image of b: nothing could learn it"
    )
    assert "no labels" in find_untrainable("", np.full(3, -1), splits)
    assert "no train images" in find_untrainable("ab", np.array([0, 1, 1]), np.full(3, "test"))


def test_labels_are_counted_by_split_and_class():
    splits = np.array(["train", "train", "", "test", "val", "train"])
    counts = count_labels(np.array([0, 1, 1, -1, 2, 1]), splits, 3)
    assert counts == {"train": [1, 2, 0], "val": [0, 0, 1], "": [0, 1, 0]}
    assert list(counts) == ["train", "val", ""]
