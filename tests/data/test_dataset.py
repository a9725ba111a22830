"""What a dataset is in memory: its fingerprint, its rows, and whether anything can learn it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from featx.data.dataset import (
    Dataset,
    Fingerprint,
    HashedRows,
    Skipped,
    check_trainable,
    fingerprint_rows,
)
from featx.errors import DatasetError


def make(targets, splits, classes=("a", "b")):
    return Dataset(
        root=Path("photos"),
        name="photos",
        classes=classes,
        paths=tuple(f"{i}.jpg" for i in range(len(targets))),
        targets=np.array(targets, dtype=np.int64),
        splits=np.array(splits, dtype="<U5"),
        split_rule="folders",
    )


def hash_all(dataset):
    return HashedRows(dataset, np.array([f"{i:064x}" for i in range(len(dataset.paths))]))


def test_a_fingerprint_is_the_hash_of_what_it_says():
    # Spelled out: the number of classes, their names, then each row's parts, each ended by a NUL.
    text = "2\0a\0b\0" + "".join(f"{i}.jpg\0{i:064x}\0{k}\0{s}\0" for i, k, s in (
        (0, 0, "train"), (1, 1, "test"))
    )  # fmt: skip
    rows = hash_all(make([0, 1], ["train", "test"]))
    assert rows.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_a_fingerprint_does_not_know_how_it_was_fed():
    rows = hash_all(make([0, 1, 1, -1], ["train", "test", "", "val"]))
    made = Fingerprint(rows.dataset.classes)
    for one in range(4):
        part = slice(one, one + 1)
        made.add(
            rows.dataset.paths[part], rows.hashes[part].tolist(),
            rows.dataset.targets[part].tolist(), rows.dataset.splits[part].tolist(),
        )  # fmt: skip
    assert made.hexdigest() == rows.fingerprint


def test_classes_and_paths_do_not_run_into_each_other():
    there = {"hashes": np.array([]), "targets": np.array([], int), "splits": np.array([], "<U5")}
    assert fingerprint_rows(("ab",), (), **there) != fingerprint_rows(("a", "b"), (), **there)
    assert fingerprint_rows(("a", "b"), (), **there) != fingerprint_rows(("b", "a"), (), **there)


def test_rows_are_chosen_with_their_hashes():
    rows = hash_all(make([0, 1, 0], ["train", "train", "test"]))
    some = rows.select(np.array([True, False, True]))
    assert some.dataset.paths == ("0.jpg", "2.jpg")
    assert some.hashes.tolist() == [f"{i:064x}" for i in (0, 2)]
    assert some.locate(1) == Path("photos/2.jpg")
    assert some.dataset.counts() == {"train": 1, "test": 1}
    assert some.fingerprint != rows.fingerprint


@pytest.mark.parametrize(
    ("targets", "splits", "classes"),
    [
        ([-1, -1], ["train", "train"], ()),
        ([0, 1], ["test", "val"], ("a", "b")),
        ([0, 0, 1], ["train", "train", "test"], ("a", "b")),
    ],
)
def test_what_nothing_can_learn_is_said(targets, splits, classes):
    with pytest.raises(DatasetError, match="photos: "):
        check_trainable(make(targets, splits, classes))


def test_what_can_be_learned_passes():
    check_trainable(make([0, 1, -1], ["train", "train", "test"]))


def test_skipped_images_are_in_order_and_say_no_hash():
    b, a = Skipped("b.jpg", "f" * 64, "damaged", "cut"), Skipped("a.jpg", "", "unreadable", "no")
    assert sorted([b, a]) == [a, b]
    assert b.to_dict() == {"path": "b.jpg", "kind": "damaged", "reason": "cut"}
